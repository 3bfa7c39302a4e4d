"""The PostgreSQL store does what every store must, against a real server that is restarted, broken off and full."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from actors.speech.errors import JournalDamaged, JournalFull, JournalUnavailable
from actors.speech.journal.port import Append, Claim, Claimed, Durability, Open, Opened, Operation, Outcome, Written
from bench.postgres import Postgres
from tests.docs.examples import ROOT
from tests.speech.journal.conformance import CONFIG, FIRST, RETENTION, SECOND, Conformance, entries
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


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def database(dsn: str) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(dsn, retention=RETENTION)
    database.open()
    yield database
    database.close()


@pytest.fixture
def by_hand(dsn: str) -> Iterator[psycopg.Connection]:
    """Somebody else in the same database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def opened(database: PostgresDatabase, session_id: str = "s1") -> int:
    (outcome,) = database.commit([Open(session_id, CONFIG, FIRST)])
    assert isinstance(outcome, Opened)
    return outcome.epoch


def kept(database: PostgresDatabase) -> tuple[int, ...]:
    (claimed,) = database.commit([Claim("s1", FIRST, SECOND, 0)])
    assert isinstance(claimed, Claimed)
    return tuple(entry.seq for entry in claimed.entries)


def test_a_connection_that_was_broken_off_is_made_anew_and_nobody_notices(
    database: PostgresDatabase, by_hand: psycopg.Connection
) -> None:
    epoch = opened(database)
    by_hand.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'voxtree'")
    assert database.commit([Append("s1", epoch, entries(1))]) == [Written()]
    assert kept(database) == (1,)


def test_a_server_that_was_killed_is_told_and_has_everything_acknowledged_when_it_is_back(
    postgres: Postgres, database: PostgresDatabase
) -> None:
    epoch = opened(database)
    database.commit([Append("s1", epoch, entries(1))])
    postgres.stop("immediate")
    try:
        with pytest.raises(JournalUnavailable):
            database.commit([Append("s1", epoch, entries(2))])
        with pytest.raises(JournalUnavailable, match="the database cannot be used"):
            database.open()
        with pytest.raises(JournalUnavailable, match="is not open"):
            database.commit([Append("s1", epoch, entries(2))])
    finally:
        postgres.start()
    database.open()
    assert database.commit([Append("s1", epoch, entries(2))]) == [Written()]
    assert kept(database) == (1, 2)


def test_a_row_that_somebody_keeps_locked_is_told_and_works_again(
    database: PostgresDatabase, by_hand: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = opened(database)
    monkeypatch.setattr("transport.journal.postgres.LOCK_SECONDS", 0.1)
    database.open()
    with by_hand.transaction():
        by_hand.execute("SELECT 1 FROM voxtree_sessions FOR UPDATE")
        with pytest.raises(JournalUnavailable, match="did not answer in time"):
            database.commit([Append("s1", epoch, entries(1))])
    assert database.commit([Append("s1", epoch, entries(1))]) == [Written()]
    assert kept(database) == (1,)


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("disk_full", JournalFull),
        ("index_corrupted", JournalDamaged),
        ("data_corrupted", JournalDamaged),
        ("out_of_memory", JournalUnavailable),
        ("read_only_sql_transaction", JournalUnavailable),
    ],
)
def test_what_the_server_refuses_a_write_for_is_told_and_all_of_the_batch_taken_back(
    database: PostgresDatabase, by_hand: psycopg.Connection, condition: str, kind: type[Exception]
) -> None:
    """The server raises it itself, where it would: at a write in the middle of a batch."""
    epoch = opened(database)
    by_hand.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{condition}'; END $$".encode()
    )
    by_hand.execute(
        "CREATE TRIGGER fail BEFORE INSERT ON voxtree_entries FOR EACH ROW WHEN (new.seq = 3) EXECUTE FUNCTION fail()"
    )
    with pytest.raises(kind):
        database.commit(
            [Append("s1", epoch, entries(1)), Open("s2", CONFIG, FIRST), Append("s1", epoch, entries(2, 3))]
        )
    by_hand.execute("DROP TRIGGER fail ON voxtree_entries")
    assert database.session("s2") is None
    assert kept(database) == ()


def test_a_journal_of_a_later_version_is_told_and_left_as_it_is(
    database: PostgresDatabase, by_hand: psycopg.Connection
) -> None:
    by_hand.execute("INSERT INTO voxtree_schema VALUES (7)")
    with pytest.raises(JournalDamaged, match="is of version 7, and this voxtree knows 3 at most"):
        database.open()


def test_a_role_that_may_not_make_tables_is_told(dsn: str, by_hand: psycopg.Connection) -> None:
    by_hand.execute("DROP ROLE IF EXISTS guest")
    by_hand.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(JournalUnavailable) as caught:
        PostgresDatabase(dsn.replace("user=voxtree", "user=guest")).open()
    assert "permission denied for schema public" in (caught.value.backend_detail or "")


def test_nobody_is_told_the_password(dsn: str) -> None:
    database = PostgresDatabase(f"{dsn}-missing password=hunter2")
    with pytest.raises(JournalUnavailable) as caught:
        database.open()
    assert "does not exist" in str(caught.value)
    assert "hunter2" not in str(caught.value) + repr(database)


def test_commits_wait_for_the_disk_even_where_others_do_not(dsn: str, by_hand: psycopg.Connection) -> None:
    by_hand.execute("ALTER ROLE voxtree SET synchronous_commit = 'off'")
    try:
        database = PostgresDatabase(dsn)
        database.open()
        setting = database._connected().execute("SHOW synchronous_commit").fetchone()
        database.close()
    finally:
        by_hand.execute("ALTER ROLE voxtree RESET synchronous_commit")
    assert setting == ("on",)


def in_parallel(dsn: str, workers: int, work: Callable[[PostgresDatabase, int], list[Outcome]]) -> list[Outcome]:
    """What several processes would do, each with a connection of its own."""

    def one(number: int) -> list[Outcome]:
        database = PostgresDatabase(dsn, retention=RETENTION)
        database.open()
        try:
            return work(database, number)
        finally:
            database.close()

    with ThreadPoolExecutor(workers) as threads:
        return [outcome for outcomes in threads.map(one, range(workers)) for outcome in outcomes]


def test_processes_may_begin_at_the_same_time(dsn: str) -> None:
    outcomes = in_parallel(dsn, 8, lambda database, number: database.commit([Open(f"s{number}", CONFIG, FIRST)]))
    assert len({outcome.epoch for outcome in outcomes if isinstance(outcome, Opened)}) == 8


def test_of_many_who_open_the_same_id_at_the_same_time_one_gets_it(dsn: str) -> None:
    for round_ in range(10):
        outcomes = in_parallel(
            dsn,
            4,
            lambda database, number, id_=f"s{round_}": database.commit([Open(id_, CONFIG, bytes([number]) * 32)]),
        )
        assert sum(isinstance(outcome, Opened) for outcome in outcomes) == 1


def test_batches_that_touch_the_same_sessions_do_not_wait_for_each_other_for_ever(dsn: str) -> None:
    def work(database: PostgresDatabase, number: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for turn in range(30):
            ids = [f"s{(number * 7 + turn * 3 + place) % 20}" for place in range(12)]
            batch: list[Operation] = [Open(each, CONFIG, bytes([number, turn]) * 16) for each in ids]
            outcomes += database.commit(batch)
        return outcomes

    assert len(in_parallel(dsn, 4, work)) == 4 * 30 * 12


def test_the_health_of_the_server_is_looked_at(
    database: PostgresDatabase, by_hand: psycopg.Connection, postgres: Postgres
) -> None:
    assert database.check().startswith("PostgreSQL ")
    by_hand.execute("ALTER SYSTEM SET fsync = off")
    try:
        by_hand.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while by_hand.execute("SHOW fsync").fetchone() != ("off",):
            assert time.monotonic() < deadline
        with pytest.raises(JournalDamaged, match="fsync = off"):
            database.check()
    finally:
        by_hand.execute("ALTER SYSTEM RESET fsync")
        by_hand.execute("SELECT pg_reload_conf()")


def test_what_is_over_can_be_purged_at_once_and_anything_by_name(
    database: PostgresDatabase, by_hand: psycopg.Connection
) -> None:
    for session_id in ("old", "new", "newer"):
        database.commit([Append(session_id, opened(database, session_id), entries(1))])
    by_hand.execute("UPDATE voxtree_sessions SET since = since - 100 WHERE session_id = 'old'")
    assert [session_id for session_id, _ in database.sessions()] == ["newer", "new", "old"]
    assert database.purge_over() == 1
    assert (database.purge("new"), database.purge("new")) == (1, 0)
    assert [session_id for session_id, _ in database.sessions()] == ["newer"]
    session = database.session("newer")
    assert session is not None
    assert session[1] == entries(1)
    assert database.purge() == 1
    assert by_hand.execute("SELECT count(*) FROM voxtree_entries").fetchone() == (0,)


def test_the_shipped_role_owns_a_database_that_nobody_else_can_look_into(postgres: Postgres) -> None:
    statements = (ROOT / "deploy" / "postgres" / "voxtree.sql").read_text().replace("voxtree", "journal_owner")
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as superuser:
        for statement in statements.split(";")[:-1]:
            superuser.execute(statement.encode())
        superuser.execute("CREATE ROLE stranger LOGIN")
    dsn = postgres.dsn("journal_owner")
    database = PostgresDatabase(dsn.replace("user=voxtree", "user=journal_owner"), retention=RETENTION)
    database.open()
    assert opened(database) == 1
    database.close()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(dsn.replace("user=voxtree", "user=stranger"))
