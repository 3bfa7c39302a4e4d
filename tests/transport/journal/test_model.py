"""Whatever is asked in whatever order and however batched, every store answers as the one in memory does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.speech.journal import MemoryStore
from actors.speech.journal.port import (
    Append,
    Claim,
    Claimed,
    Confirm,
    Finish,
    Forget,
    Open,
    Opened,
    Operation,
    Outcome,
    Renew,
    Sweep,
)
from tests.speech.journal.conformance import CONFIG, RETENTION, entries
from tests.transport.journal.conftest import Postgres
from transport.journal.database import Database
from transport.journal.postgres import PostgresDatabase
from transport.journal.sqlite import SqliteDatabase

ids = st.sampled_from(["a", "b"])
tokens = st.integers(1, 4).map(lambda number: bytes([number]) * 32)
epochs = st.integers(0, 3)  # how many before the newest one given
seqs = st.integers(0, 6)
spans = st.tuples(st.integers(1, 5), st.integers(0, 3)).map(lambda span: entries(*range(span[0], sum(span))))
operations = st.one_of(
    st.builds(Open, ids, st.just(CONFIG), tokens),
    st.builds(Claim, ids, tokens, tokens, seqs, st.booleans()),
    st.builds(Append, ids, epochs, spans),
    st.builds(Renew, ids, epochs, st.booleans(), seqs),
    st.builds(Confirm, ids, epochs),
    st.builds(Finish, ids, epochs, st.integers(0, 1000)),
    st.builds(Forget, ids, epochs),
    st.just(Sweep()),
)
# Seconds that pass before a batch: around every bound of the retention, and never exactly at one.
pauses = st.sampled_from([0, 0, 0, 0, 10, 24, 27, 59, 62, 84, 87, 3580, 3700])
steps = st.lists(st.tuples(pauses, st.booleans(), st.lists(operations, min_size=1, max_size=6)), max_size=15)
Step = tuple[int, bool, list[Operation]]


class Model:
    """The store in memory, called as a database is."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self._store = MemoryStore(RETENTION, clock=lambda: self.now)

    def commit(self, batch: list[Operation]) -> list[Outcome]:
        return asyncio.run(self._store.commit(batch))


class Side:
    """One of the two that are compared. Epochs rise, but not by one: they are compared by their order."""

    def __init__(self) -> None:
        self._epochs = [0]

    def asked(self, operation: Operation) -> Operation:
        """The operation with an epoch of this side."""
        if isinstance(operation, Append | Renew | Confirm | Finish | Forget):
            return msgspec.structs.replace(
                operation, epoch=self._epochs[max(0, len(self._epochs) - 1 - operation.epoch)]
            )
        return operation

    def answered(self, outcome: Outcome) -> Outcome:
        """The outcome with the epoch's place in their order."""
        if not isinstance(outcome, Opened | Claimed):
            return outcome
        if outcome.epoch not in self._epochs:
            assert outcome.epoch > self._epochs[-1]
            self._epochs.append(outcome.epoch)
        return msgspec.structs.replace(outcome, epoch=self._epochs.index(outcome.epoch))


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
