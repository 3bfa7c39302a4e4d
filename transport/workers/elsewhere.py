"""What callers have at other workers: a limit of one caller holds for the server, not for each of its processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus

from transport.limits import Key
from transport.workers.process import WorkerProcess
from transport.workers.pulse import BEAT_SECONDS
from transport.workers.wire import Elsewhere, Usage

_T = TypeVar("_T")


class Exchange:
    """Tells each process what callers have at the others, as those said with their last signs of life.

    What is told is half a second old, so a caller that comes everywhere at the same moment may have a few more.

    Args:
        processes: all that there are.
    """

    def __init__(self, processes: Callable[[], Iterable[WorkerProcess]]) -> None:
        self._processes = processes
        self._told: dict[WorkerProcess, Usage] = {}

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A supervised child."""
        task_status.started()
        while True:
            await anyio.sleep(BEAT_SECONDS)
            await self.tell()

    async def tell(self) -> None:
        """Tell those for whom it has changed."""
        processes = list(self._processes())
        for process, usage in elsewhere({each: each.usage for each in processes}).items():
            if self._told.get(process, ()) != usage:
                await process.order(Elsewhere(usage))
                self._told[process] = usage
        for gone in self._told.keys() - set(processes):
            del self._told[gone]


def elsewhere(usages: dict[_T, Usage]) -> dict[_T, Usage]:
    """For each what all others use, added up."""
    total: Counter[Key] = Counter()
    for usage in usages.values():
        total.update(_counts(usage))
    rest = {each: total - _counts(usage) for each, usage in usages.items()}  # without what is zero
    return {each: tuple((*key, count) for key, count in sorted(found.items())) for each, found in rest.items()}


def _counts(usage: Usage) -> Counter[Key]:
    return Counter({Key(kind, name): count for kind, name, count in usage})
