"""The journal's file is locked, cannot be written, has no room. Finals wait for it, and nothing is said too early."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from bench.faults.players import Voxtree
from bench.faults.rows.backends import EARLY
from bench.faults.stage import Stage, Unplayable
from bench.faults.talk import Talk
from bench.processes import Process
from transport.client import Ack

AWAY = 5.0  # seconds
DISK = 16 * 2**20  # bytes; SQLite's log alone takes four before it is written over
_HOLD = """\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


async def locked(stage: Stage) -> None:
    """Another process holds the lock."""
    path = stage.folder / "journal.db"
    _, _, voxtree = await stage.usual(settings={"journal.path": str(path)})
    async with _audited(stage, voxtree, path), Process("-c", _HOLD, str(path)) as holder:
        await holder.line()
        await asyncio.sleep(AWAY)
        holder.say("")
        await holder.ended()


async def failing(stage: Stage) -> None:
    """The operating system refuses to let any file grow (RLIMIT_FSIZE), which SQLite takes for a failing disk."""
    path = stage.folder / "journal.db"
    _, _, voxtree = await stage.usual(settings={"journal.path": str(path)})
    async with _audited(stage, voxtree, path):
        usual = resource.prlimit(voxtree.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(voxtree.process.pid, resource.RLIMIT_FSIZE, (1, usual[1]))
        await asyncio.sleep(AWAY)
        resource.prlimit(voxtree.process.pid, resource.RLIMIT_FSIZE, usual)


async def full(stage: Stage) -> None:
    """The journal has a small disk of its own, which something else fills."""
    disk = stage.folder / "disk"
    disk.mkdir()
    if not await _ran("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)):
        raise Unplayable("needs root, to mount a small disk")
    try:
        async with stage.apart() as inner:
            _, _, voxtree = await inner.usual(settings={"journal.path": str(disk / "journal.db")})
            async with _audited(stage, voxtree, disk / "journal.db"):
                _fill(disk / "rubbish")
                await asyncio.sleep(AWAY)
                (disk / "rubbish").unlink()
    finally:
        await _ran("umount", "--lazy", str(disk))


async def _ran(*command: str) -> bool:
    """Whether a program did what it was told."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@asynccontextmanager
async def _audited(stage: Stage, voxtree: Voxtree, path: Path) -> AsyncGenerator[None, None]:
    """Everybody speaks, and each ack is held against the store; the body is the fault."""
    ahead = looked = 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.1)) as journal:

        def look(talk: Talk, ack: Ack) -> None:
            nonlocal ahead, looked
            row = journal.execute(
                "SELECT last_end FROM voxtree_sessions WHERE session_id = ?", (talk.core.session_id,)
            ).fetchone()
            looked += 1
            ahead += row is not None and ack.durable > row[0]

        async with stage.speech(voxtree.url) as clock:
            for talk in stage.talks:
                talk.on_ack = look
            await clock.at(EARLY)
            stage.struck()
            yield
            since = stage.strike.at if stage.strike else 0.0
            stage.struck(since)
    stage.facts["acks looked at"] = looked
    stage.check("acks ahead of the store", ahead, 0)
    told = sum(any(heard.code == "delayed" for heard in talk.heard) for talk in stage.talks)
    stage.facts["clients told of the delay"] = told
    stage.facts["troubles in the log"] = sum(line.code.startswith("JOURNAL_") for line in voxtree.log)
    stage.check("finals and gaps that do not tile", sum(talk.holes for talk in stage.talks), 0)
