"""What a load is put on: voxtree and a stand-in for Riva, and which part of the machine they have."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType

from bench.faults.players import COMMAND_LINE, Voxtree, backend, toml
from bench.parts import fix, parts
from bench.processes import Process

NOTHING: Mapping[str, object] = MappingProxyType({})


@asynccontextmanager
async def stand_in(*arguments: str) -> AsyncGenerator[tuple[int, Process], None]:
    """A Riva that costs next to nothing (`bench.relay.backend`): its port."""
    async with Process("-m", "bench.relay.backend", *arguments) as riva:
        yield int((await riva.line()).rpartition(":")[2]), riva


@asynccontextmanager
async def server(
    riva: int, room: int, settings: Mapping[str, object] = NOTHING, options: Sequence[str] = ()
) -> AsyncGenerator[Voxtree, None]:
    """One process of voxtree before Riva at a port, with room for so many sessions.

    Args:
        settings: further ones by path; `options`: of the command line.
    """
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        path = Path(folder) / "voxtree.toml"
        usual = {"session.max_sessions": room, "journal.path": str(path.with_suffix(".db"))}
        path.write_text(toml([backend("primary", riva)], {**usual, **settings}, room))
        arguments = ("serve", "--config", str(path), "--workers", "1", *options)
        async with Voxtree(*arguments, module=COMMAND_LINE, environment={}) as voxtree:
            yield voxtree


@contextmanager
def confined(server: int, others: Sequence[int], quota: float) -> Iterator[None]:
    """Let a server have such a part of a core; with 1, a whole core, and the others what is left.

    Raises:
        Unplayable: the machine does not allow it.
    """
    if quota < 1:
        with parts([server], quota):
            yield
        return
    fix(server, others)
    yield


def method(quota: float) -> str:
    """The same in words."""
    if quota < 1:
        return f"the server has {quota:g} of a core (cgroup quota), load and Riva what is left of the machine"
    return "the server has one core to itself, load and Riva the others"
