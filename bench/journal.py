"""`journal`: what each store of the journal takes: finals a second, how long each waits to be committed, and resumes.

Each session appends one final after the other, as sessions do; what piles up while the store is busy is one commit.
Then each is claimed again and again, as by clients who come back, with ten finals that they have not got yet. The
journal runs as a server runs it, in a supervision tree on one event loop. SQLite's file is in --folder, which should be
on the disk that is meant; PostgreSQL is measured when --dsn names one (its tables are made there, and left empty).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import anyio
import msgspec

from actors.speech.journal.body import Bodies
from actors.speech.journal.journal import Journal
from actors.speech.journal.memory import MemoryStore
from actors.speech.journal.port import (
    Append,
    Claim,
    Claimed,
    Forget,
    JournalStore,
    Open,
    Opened,
    Operation,
    Outcome,
    Written,
)
from actors.speech.messages import Transcript
from actors.speech.ports import Word
from bench import results
from bench.results import Figure
from supervisor.tree import Supervisor
from transport.journal.database import ThreadedStore
from transport.journal.sqlite import SqliteDatabase

RATE = 16000
MISSED = 10  # finals, of half a minute: what a client who was cut lacks at most, as a rule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10, 100, 1000], metavar="N")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="for each store and number of sessions (%(default)s)"
    )
    parser.add_argument("--folder", type=Path, help="for SQLite's file (the system's for temporary files)")
    parser.add_argument("--dsn", help="PostgreSQL's connection string")
    parser.add_argument("--quick", action="store_true", help="half a second for 1 and 100 sessions: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A store under so many sessions. Waits are milliseconds; what is counted is counted a second."""

    store: str
    sessions: int
    finals: float
    wait_p50: float
    wait_p99: float
    finals_a_commit: float
    claims: float

    def __str__(self) -> str:
        return (
            f"{self.store:<14} {self.sessions:>10,} {self.finals:>11,.0f} {self.wait_p50:>9.2f} {self.wait_p99:>9.2f}"
            f" {self.finals_a_commit:>14.1f} {self.claims:>11,.0f}"
        )


def run(args: argparse.Namespace) -> int:
    """Measure."""
    circumstances = results.circumstances("journal", args)
    counts, seconds = ((1, 100), 0.5) if args.quick else (args.sessions, args.seconds)
    lines: list[Line] = []
    print("store            sessions    finals/s    p50 ms    p99 ms  finals/commit    claims/s")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name, store in stores(Path(folder), args.dsn):
            for sessions in counts:
                lines.append(anyio.run(measure, name, store, sessions, seconds))
                print(lines[-1], flush=True)
    if args.json:
        results.write(args.json, results.Result(**circumstances, figures=figures_of(lines)), {"lines": lines})
    return 0


def figures_of(lines: Sequence[Line]) -> dict[str, Figure]:
    """By `store.sessions.figure`."""
    found: dict[str, Figure] = {}
    for line in lines:
        name = f"{line.store}.{line.sessions}"
        found[f"{name}.finals"] = Figure.of([line.finals], "finals/s", "higher")
        found[f"{name}.wait_p50"] = Figure.of([line.wait_p50], "ms", "lower")
        found[f"{name}.wait_p99"] = Figure.of([line.wait_p99], "ms", "lower")
        found[f"{name}.claims"] = Figure.of([line.claims], "claims/s", "higher")
    return found


def stores(folder: Path, dsn: str | None) -> Iterator[tuple[str, JournalStore]]:
    yield "memory", MemoryStore()
    yield "sqlite normal", ThreadedStore(SqliteDatabase(folder / "normal.db"))
    yield "sqlite full", ThreadedStore(SqliteDatabase(folder / "full.db", full=True))
    if dsn:
        from transport.journal.postgres import PostgresDatabase

        yield "postgres", ThreadedStore(PostgresDatabase(dsn))


async def measure(name: str, store: JournalStore, sessions: int, seconds: float) -> Line:
    """One store under so many sessions. A final's wait is the whole way: queue, thread, commit, and back."""
    counted = Counted(store)
    journal = Journal(counted)
    waits: list[float] = []
    claims: list[int] = []
    async with Supervisor([journal.child()], name="bench"):
        for work in (partial(talk, waits=waits), partial(come_back, claims=claims)):
            deadline = time.perf_counter() + seconds
            async with anyio.create_task_group() as tasks:
                for number in range(sessions):
                    tasks.start_soon(work, journal, f"bench-{number}", deadline)
    waits.sort()
    return Line(
        store=name,
        sessions=sessions,
        finals=len(waits) / seconds,
        wait_p50=1000 * median(waits),
        wait_p99=1000 * waits[len(waits) * 99 // 100],
        finals_a_commit=counted.finals / counted.commits,
        claims=sum(claims) / seconds,
    )


class Counted:
    """A store that counts commits with finals in them."""

    def __init__(self, store: JournalStore) -> None:
        self.name, self.durability = store.name, store.durability
        self.open, self.close = store.open, store.close
        self._store = store
        self.commits = self.finals = 0

    async def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        appends = sum(isinstance(each, Append) for each in operations)
        self.commits += appends > 0
        self.finals += appends
        return await self._store.commit(operations)


async def talk(journal: Journal, session_id: str, deadline: float, waits: list[float]) -> None:
    """One session: a final of five words after the other, until the time is over."""
    opened = await journal.perform(Open(session_id, b"", os.urandom(32)))
    assert isinstance(opened, Opened)
    bodies, seq = Bodies(), 0
    while (begun := time.perf_counter()) < deadline:
        seq += 1
        append = Append(session_id, opened.epoch, (bodies.entry(session_id, final(seq)),))
        assert await journal.perform(append) == Written()
        waits.append(time.perf_counter() - begun)
    await journal.perform(Forget(session_id, opened.epoch))


async def come_back(journal: Journal, session_id: str, deadline: float, claims: list[int]) -> None:
    """One client: it has its session again and again, and is told what it lacks, until the time is over."""
    token, bodies, count = os.urandom(32), Bodies(), 0
    opened = await journal.perform(Open(session_id, b"", token))
    assert isinstance(opened, Opened)
    missed = tuple(bodies.entry(session_id, final(seq)) for seq in range(1, MISSED + 1))
    assert await journal.perform(Append(session_id, opened.epoch, missed)) == Written()
    epoch = opened.epoch
    while time.perf_counter() < deadline:
        next_token = os.urandom(32)
        claimed = await journal.perform(Claim(session_id, token, next_token, 0))
        assert isinstance(claimed, Claimed)
        assert len(claimed.entries) == MISSED
        token, epoch, count = next_token, claimed.epoch, count + 1
    claims.append(count)
    await journal.perform(Forget(session_id, epoch))


def final(seq: int) -> Transcript:
    start = (seq - 1) * 2 * RATE
    words = tuple(
        Word(text, start + number * RATE // 4, start + (number + 1) * RATE // 4, 0.9)
        for number, text in enumerate(["five", "words", "in", "each", "final"])
    )
    return Transcript(
        is_final=True,
        seq=seq,
        start=start,
        end=start + 2 * RATE,
        text=" ".join(word.text for word in words),
        words=words,
    )
