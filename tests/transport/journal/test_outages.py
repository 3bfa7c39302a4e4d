"""The whole of it, queue, thread and store, while the store is away for a while."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from actors.speech.errors import JournalUnavailable, ServerBusy
from actors.speech.journal.journal import Journal
from actors.speech.journal.port import Append, Claim, Claimed, Open, Opened, Outcome, Written
from actors.speech.policies import SERVER_POLICIES
from bench.postgres import Postgres
from supervisor.reports import ErrorSurvived, Event
from supervisor.testing import Recorder
from supervisor.tree import Supervisor
from tests.speech.journal.conformance import CONFIG, FIRST, SECOND, entries
from transport.journal.database import ThreadedStore
from transport.journal.postgres import PostgresDatabase
from transport.journal.sqlite import SqliteDatabase


class Told(Recorder):
    """A recorder that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.of_trouble = anyio.Event()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if isinstance(event, ErrorSurvived):
            self.of_trouble.set()


@asynccontextmanager
async def running(journal: Journal) -> AsyncGenerator[Told, None]:
    recorder = Told()
    tree = Supervisor([journal.child()], name="root", policies=SERVER_POLICIES, on_event=recorder)
    async with tree:
        yield recorder


async def survives(journal: Journal, outage: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]) -> None:
    """Finals that fall into an outage are committed after it, in order and once, and it is told once."""
    async with running(journal) as recorder:
        opened = await journal.perform(Open("s1", CONFIG, FIRST))
        assert isinstance(opened, Opened)
        assert await journal.perform(Append("s1", opened.epoch, entries(1))) == Written()
        await outage()
        answers: list[Outcome] = []
        for seq in (2, 3, 4):
            journal.submit(Append("s1", opened.epoch, entries(seq)), answers.append)
        with anyio.fail_after(30):
            await recorder.of_trouble.wait()
        assert isinstance(journal.trouble, JournalUnavailable)
        assert answers == []
        with pytest.raises(ServerBusy):
            await journal.perform(Open("s2", CONFIG, FIRST))
        await end()
        with anyio.fail_after(30):
            assert await journal.perform(Append("s1", opened.epoch, entries(5))) == Written()
        assert answers == [Written()] * 3
        claimed = await journal.perform(Claim("s1", FIRST, SECOND, 0))
        assert isinstance(claimed, Claimed)
        assert claimed.entries == entries(1, 2, 3, 4, 5)
        assert [type(event.error) for event in recorder.of(ErrorSurvived)] == [JournalUnavailable]


async def test_finals_outlast_a_file_that_is_kept_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.journal.sqlite.LOCK_SECONDS", 0.1)
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        async def lock() -> None:
            other.execute("BEGIN IMMEDIATE")

        async def unlock() -> None:
            other.execute("ROLLBACK")

        await survives(Journal(ThreadedStore(SqliteDatabase(path))), lock, unlock)


async def test_finals_outlast_a_database_server_that_is_killed(postgres: Postgres) -> None:
    async def kill() -> None:
        await anyio.to_thread.run_sync(postgres.stop, "immediate")

    async def start() -> None:
        await anyio.to_thread.run_sync(postgres.start)

    await survives(Journal(ThreadedStore(PostgresDatabase(postgres.database()))), kill, start)
