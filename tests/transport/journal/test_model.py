"""Whatever is asked in whatever order and however batched, every store answers as the one in memory does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.speech.journal.memory import MemoryStore
from actors.speech.journal.port import Operation, Outcome
from bench.postgres import Postgres
from tests.speech.journal.conformance import RETENTION
from tests.speech.journal.operations import Side, batches, pauses
from transport.journal.database import Database
from transport.journal.postgres import PostgresDatabase
from transport.journal.sqlite import SqliteDatabase

steps = st.lists(st.tuples(pauses, st.booleans(), batches), max_size=15)
Step = tuple[int, bool, list[Operation]]


class Model:
    """The store in memory, called as a database is."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self._store = MemoryStore(RETENTION, clock=lambda: self.now)

    def commit(self, batch: list[Operation]) -> list[Outcome]:
        return asyncio.run(self._store.commit(batch))


def compare(databases: list[Database], pass_time: Callable[[float], None], taken: list[Step]) -> None:
    """Two owners take turns."""
    model = Model()
    expects, gives = Side(), Side()
    for pause, which, batch in taken:
        model.now += pause
        if pause:
            pass_time(pause)
        expected = model.commit([expects.asked(operation) for operation in batch])
        given = databases[which].commit([gives.asked(operation) for operation in batch])
        assert [gives.answered(each) for each in given] == [expects.answered(each) for each in expected]


@contextmanager
def opened(*databases: Database) -> Iterator[list[Database]]:
    for database in databases:
        database.open()
    try:
        yield list(databases)
    finally:
        for database in databases:
            database.close()


number = count()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=steps)
def test_sqlite_answers_as_memory_does(tmp_path: Path, taken: list[Step]) -> None:
    now = 1_700_000_000.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    path = tmp_path / f"{next(number)}.db"
    one, two = (SqliteDatabase(path, retention=RETENTION, clock=lambda: now) for _ in range(2))
    with opened(one, two) as databases:
        compare(databases, pass_time, taken)
    path.unlink()


def test_postgres_answers_as_memory_does(postgres: Postgres) -> None:
    dsn = postgres.database()
    one, two = (PostgresDatabase(dsn, retention=RETENTION) for _ in range(2))
    with opened(one, two) as databases, psycopg.connect(dsn, autocommit=True) as clock:

        def pass_time(seconds: float) -> None:
            clock.execute("UPDATE voxtree_sessions SET since = since - %s", (seconds,))

        @settings(max_examples=40, deadline=None)
        @given(taken=steps)
        def compare_from_the_start(taken: list[Step]) -> None:
            clock.execute("TRUNCATE voxtree_sessions, voxtree_entries")
            compare(databases, pass_time, taken)

        compare_from_the_start()
