"""What `voxtree doctor` says of the worker processes."""

from __future__ import annotations

import os
from pathlib import Path

from transport.cli.findings import Finding, Level
from transport.settings import Settings
from transport.workers.ports import BALANCED, worker_count

MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req")


def examine_workers(settings: Settings) -> Finding:
    """Whether there are as many as they are of use, and what the kernel does with connections that one leaves."""
    count = worker_count(settings)
    cores = len(os.sched_getaffinity(0)) if BALANCED else os.cpu_count() or 1
    what = f"{count} for {cores} core{'s' * (cores > 1)}"
    if count > 1 and not BALANCED:
        return Finding(Level.WARN, "workers", f"{what}; this system gives new clients to one of them", "--workers 1")
    if count > 2 * cores:
        return Finding(Level.WARN, "workers", f"{what}: they take turns", f"--workers {cores}")
    if count == 1 and cores > 1 and settings.journal.store == "memory":
        other = 'journal.store = "sqlite" lets others take its sessions over'
        return Finding(Level.OK, "workers", f"{what}: a journal in memory is that of one process ({other})")
    if count > 1 and _is_off(MIGRATES):
        migrates = "clients that connect in the moment in which a worker ends have to try again (tcp_migrate_req is 0)"
        return Finding(Level.OK, "workers", f"{what}; {migrates}")
    return Finding(Level.OK, "workers", what)


def _is_off(setting: Path) -> bool:
    try:
        return setting.read_text().strip() == "0"
    except OSError:  # an older kernel, or another system
        return False
