"""What `voxtree doctor` says of the worker processes."""

from __future__ import annotations

from pathlib import Path

from transport.cli.findings import Finding, Level
from transport.settings import Settings
from transport.workers import ports

MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req")


def examine_workers(settings: Settings) -> Finding:
    """Whether there are as many as they are of use, and what the kernel does with connections that one leaves."""
    count, cores = ports.worker_count(settings), ports.cores()
    speaks_grpc = settings.dialects.riva_port is not None
    what = f"{count} for {cores} core{'s' * (cores > 1)}"
    if count > 1 and speaks_grpc and not ports.BALANCED:
        one = "this system gives all clients of dialects.riva_port to one of them"
        return Finding(Level.WARN, "workers", f"{what}; {one}", "--workers 1")
    if count > 2 * cores:
        return Finding(Level.WARN, "workers", f"{what}: they take turns", f"--workers {cores}")
    if count == 1 and cores > 1 and settings.journal.store == "memory":
        other = 'journal.store = "sqlite" lets others take its sessions over'
        return Finding(Level.OK, "workers", f"{what}: a journal in memory is that of one process ({other})")
    if count > 1 and speaks_grpc and _is_off(MIGRATES):
        migrates = "gRPC clients that connect in the moment in which one ends must try again (tcp_migrate_req is 0)"
        return Finding(Level.OK, "workers", f"{what}; {migrates}")
    return Finding(Level.OK, "workers", what)


def _is_off(setting: Path) -> bool:
    try:
        return setting.read_text().strip() == "0"
    except OSError:  # an older kernel, or another system
        return False
