"""The SQLite store does what every store must, survives kill -9, and says clearly what is wrong with its file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from actors.speech.journal.port import Durability
from tests.speech.journal.conformance import RETENTION, Conformance
from transport.journal.database import ThreadedStore
from transport.journal.sqlite import SqliteDatabase


class OnDisk:
    """Each store has a connection and a thread of its own."""

    def __init__(self, path: Path, *, full: bool) -> None:
        self._path = path
        self._full = full
        self._now = 1_700_000_000.0
        self._stores: list[ThreadedStore] = []

    async def store(self) -> ThreadedStore:
        database = SqliteDatabase(self._path, full=self._full, retention=RETENTION, clock=lambda: self._now)
        store = ThreadedStore(database)
        self._stores.append(store)
        await store.open()
        return store

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


class TestSqlite(Conformance):
    @pytest.fixture(params=[False, True], ids=["normal", "full"])
    async def stand(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[OnDisk, None]:
        stand = OnDisk(tmp_path / "journal.db", full=request.param)
        yield stand
        await stand.close()
