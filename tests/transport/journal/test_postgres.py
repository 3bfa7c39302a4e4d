"""The PostgreSQL store does what every store must, against a real server that is restarted, broken off and full."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import psycopg
import pytest

from actors.speech.journal.port import Durability
from tests.speech.journal.conformance import RETENTION, Conformance
from tests.transport.journal.conftest import Postgres
from transport.journal.database import ThreadedStore
from transport.journal.postgres import PostgresDatabase


class InPostgres:
    """Each store has a connection and a thread of its own. Time passes by making what has happened older."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._stores: list[ThreadedStore] = []

    async def store(self) -> ThreadedStore:
        store = ThreadedStore(PostgresDatabase(self.dsn, retention=RETENTION))
        self._stores.append(store)
        await store.open()
        return store

    async def pass_time(self, seconds: float) -> None:
        self.execute(f"UPDATE voxtree_sessions SET since = since - {seconds}")

    def execute(self, query: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(query.encode())

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


@pytest.fixture
async def stand(postgres: Postgres) -> AsyncGenerator[InPostgres, None]:
    stand = InPostgres(postgres.database())
    yield stand
    await stand.close()


class TestPostgres(Conformance):
    def test_it_promises_the_disk(self) -> None:
        assert PostgresDatabase.durability is Durability.DISK
