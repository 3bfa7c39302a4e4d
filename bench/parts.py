"""Which part of the machine a process may use, so that what is measured is full before what measures it. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.faults.command import progress
from bench.faults.stage import Unplayable

PERIOD = 0.01  # seconds in which a part of a core may be used up: the shorter, the more evenly


@contextmanager
def parts(processes: Sequence[int], quota: float) -> Iterator[None]:
    """Let each of these processes have such a part of a core, by a control group of the kernel (cgroup v1 or v2).

    Raises:
        Unplayable: this kernel, or who we are, does not allow it.
    """
    groups: list[Path] = []
    try:
        for number, process in enumerate(processes):
            groups.append(_group(f"voxtree-bench-{os.getpid()}-{number}", quota))
            (groups[-1] / "cgroup.procs").write_text(str(process))
        yield
    except OSError as error:
        raise Unplayable(f"no part of a core can be set: {error}; that takes root, and cgroups with `cpu`") from error
    finally:
        for group, process in zip(groups, processes, strict=False):
            _leave(group, process)


def fix(process: int, others: Sequence[int]) -> None:
    """Let a process have one core, and the others all but that.

    Raises:
        Unplayable: there is but one core.
    """
    first, *rest = sorted(os.sched_getaffinity(0))
    if not rest:
        raise Unplayable("there is but one core, and the load needs another: give the server a part of it")
    for each, cores in ((process, [first]), *((other, rest) for other in others)):
        for thread in os.listdir(f"/proc/{each}/task"):
            with suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(thread), cores)


def _group(name: str, quota: float) -> Path:
    of_cpu = Path("/sys/fs/cgroup/cpu")
    if of_cpu.is_dir():
        group = of_cpu / name
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(round(1e6 * PERIOD)))
        (group / "cpu.cfs_quota_us").write_text(str(round(1e6 * PERIOD * quota)))
    else:
        group = Path("/sys/fs/cgroup") / name
        group.mkdir()
        (group / "cpu.max").write_text(f"{round(1e6 * PERIOD * quota)} {round(1e6 * PERIOD)}")
    return group


def _leave(group: Path, process: int) -> None:
    """Put the process back, and remove its group."""
    with suppress(OSError):  # it has ended
        (group.parent / "cgroup.procs").write_text(str(process))
    try:
        group.rmdir()
    except OSError as error:
        progress(f"{group} is left behind: {error}")
