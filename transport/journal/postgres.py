"""The journal in PostgreSQL, which the processes of many hosts share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from actors.speech.errors import JournalDamaged, JournalFull, JournalUnavailable, SpeechError
from actors.speech.journal.ledger import Row, carry_out
from actors.speech.journal.port import Claim, Durability, Entry, Open, Operation, Outcome, Retention
from transport.journal.database import LOCK_SECONDS

STATEMENT_SECONDS = 10.0
MIGRATION_LOCK = 0x766F787472656521  # of all voxtrees at this server; any number that others will not use
CONNECTION: Mapping[str, str | int] = {  # unless the connection string says otherwise
    "application_name": "voxtree",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # ms; what was sent and not acknowledged for so long means that the server is gone
    "target_session_attrs": "read-write",  # of several hosts, the one that is not a standby
}
MIGRATIONS: tuple[LiteralString, ...] = (
    """
    CREATE TABLE voxtree_sessions (
        session_id text PRIMARY KEY,
        epoch bigint NOT NULL,
        config bytea NOT NULL,
        token bytea NOT NULL,
        previous bytea NOT NULL,
        connected boolean NOT NULL,
        since double precision NOT NULL,
        seq bigint NOT NULL,
        last_end bigint NOT NULL,
        position bigint
    ) WITH (fillfactor = 50);  -- each row is written often, and finds its next version on the same page
    CREATE TABLE voxtree_entries (
        session_id text NOT NULL,
        seq bigint NOT NULL,
        start_at bigint NOT NULL,
        end_at bigint NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (session_id, seq)
    );
    CREATE SEQUENCE voxtree_epochs;
    """,
)
COLUMNS: LiteralString = "session_id, epoch, config, token, previous, connected, since, seq, last_end, position"
OVER: LiteralString = (
    "since + %(window)s + CASE WHEN connected THEN %(lease)s ELSE 0 END + %(ttl)s <= %(now)s"
)  # fmt: skip

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresDatabase:
    """One connection; a batch is a transaction of two round trips: one that locks and reads rows, one that writes.

    The time is the database's, so the clocks of hosts need not agree.

    Args:
        dsn: a connection string or URL of libpq. It may hold a password, and is never shown.

    Raises:
        ValueError: it is not one.
    """

    name = "postgres"
    durability = Durability.DISK

    def __init__(self, dsn: str, *, retention: Retention | None = None) -> None:
        try:
            given = conninfo_to_dict(dsn)
        except psycopg.Error:
            raise ValueError("is no connection string of PostgreSQL (postgresql://USER@HOST/DATABASE)") from None
        self._options: dict[str, Any] = {**CONNECTION, **given}
        self._retention = retention or Retention()
        self._connection: Connection | None = None

    def open(self) -> None:
        """See `Database`."""
        self.close()
        with self._translated():
            connection = self._connection = psycopg.connect(autocommit=True, **self._options)
            with connection.pipeline():
                connection.execute(f"SET statement_timeout = {STATEMENT_SECONDS * 1000:.0f}")
                connection.execute(f"SET lock_timeout = {LOCK_SECONDS * 1000:.0f}")
                connection.execute(f"SET idle_in_transaction_session_timeout = {STATEMENT_SECONDS * 1000:.0f}")
                # Whoever turned this off for other uses of the database did not mean what we promise.
                connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', false)"
                    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
                )
            self._migrate(connection)

    def close(self) -> None:
        """See `Database`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """See `Database`."""
        if not operations:
            return []
        try:
            return self._carry_out(operations)
        except JournalUnavailable:
            if self._connection is None or not self._connection.broken:
                raise
        # A connection may die while nobody looks at it (a restart, a failover, a firewall): that is no outage yet.
        self.open()
        return self._carry_out(operations)

    def sessions(self) -> list[tuple[str, Row]]:
        """See `Database`."""
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM voxtree_sessions ORDER BY since DESC, session_id")
            return [_row(values) for values in rows]

    def session(self, session_id: str) -> tuple[Row, tuple[Entry, ...]] | None:
        """See `Database`."""
        with self._transaction() as connection:
            tables = _Tables(connection, 0)
            rows, _ = tables.load([session_id], [])
            return (rows[session_id], tables.entries(session_id, 0)) if rows else None

    def purge(self, session_id: str | None = None) -> int:
        """See `Database`."""
        where: LiteralString = "" if session_id is None else " WHERE session_id = %s"
        values = None if session_id is None else (session_id,)
        with self._transaction() as connection:
            removed = connection.execute("DELETE FROM voxtree_sessions" + where, values).rowcount
            connection.execute("DELETE FROM voxtree_entries" + where, values)
            return removed

    def purge_over(self) -> int:
        """See `Database`."""
        at_once = msgspec.structs.replace(self._retention, ttl=0.0)
        with self._transaction() as connection:
            tables = _Tables(connection, 0)
            _, now = tables.load([], [])
            return tables.sweep(now, at_once)

    def check(self) -> str:
        """See `Database`. Whether its pages are sound is for the database's own tools."""
        with self._translated():
            connection = self._connected()
            server = connection.info.server_version
            (fsync,) = _one(connection, "SHOW fsync")
            (size,) = _one(
                connection,
                "SELECT (pg_total_relation_size('voxtree_sessions') + pg_total_relation_size('voxtree_entries')) / 1e6",
            )
        if fsync != "on":
            raise JournalDamaged("the server runs with fsync = off: a power cut can damage it as a whole")
        return f"PostgreSQL {server // 10000} at {connection.info.host}, {size:.1f} MB"

    def _connected(self) -> Connection:
        if self._connection is None:
            raise JournalUnavailable("the journal is not open")
        return self._connection

    def _carry_out(self, operations: Sequence[Operation]) -> list[Outcome]:
        epochs = sum(isinstance(each, Open | Claim) for each in operations)
        connection = self._connected()
        with self._translated(), connection.pipeline(), connection.transaction():
            return carry_out(_Tables(connection, epochs), operations, self._retention)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        connection = self._connected()
        with self._translated(), connection.transaction():
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise _error(error) from error

    def _migrate(self, connection: Connection) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            connection.execute("CREATE TABLE IF NOT EXISTS voxtree_schema (version bigint NOT NULL)")
            (version,) = _one(connection, "SELECT coalesce(max(version), 0) FROM voxtree_schema")
            if version > len(MIGRATIONS):
                raise JournalDamaged(
                    f"the database's journal is of version {version}, and this voxtree knows {len(MIGRATIONS)} at most"
                )
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                connection.execute(script)
                connection.execute("INSERT INTO voxtree_schema VALUES (%s)", (number,))


class _Tables:
    """The tables of `ledger`, within a transaction that holds the locks of the rows it has loaded.

    Args:
        epochs: how many numbers `next_epoch` may be asked for; they come with the rows.
    """

    def __init__(self, connection: Connection, epochs: int) -> None:
        self._execute = connection.execute
        self._wanted = epochs
        self._epochs: Iterator[tuple[int]] = iter(())

    def load(self, ids: Sequence[str], opened: Sequence[str]) -> tuple[Mapping[str, Row], float]:
        """What does not exist cannot be locked, so rows that may be made are made at once, with epoch 0.

        Two batches cannot wait for each other: both make rows first, then lock, each in the order of the ids.
        """
        if opened:
            self._execute(
                "INSERT INTO voxtree_sessions (session_id, epoch, config, token, previous, connected, since, seq,"
                " last_end) SELECT *, 0, '', '', '', false, 0, 0, 0 FROM unnest(%s::text[]) ON CONFLICT DO NOTHING",
                (list(opened),),
            )
        rows = self._execute(
            f"SELECT {COLUMNS} FROM voxtree_sessions WHERE session_id = ANY(%s) ORDER BY session_id FOR UPDATE",
            (list(ids),),
        )
        epochs = self._execute("SELECT nextval('voxtree_epochs') FROM generate_series(1, %s)", (self._wanted,))
        clock = self._execute("SELECT extract(epoch FROM clock_timestamp())::double precision")
        found = dict(_row(values) for values in rows)
        self._epochs = iter(epochs.fetchall())
        ((now,),) = clock.fetchall()
        return {each: row for each, row in found.items() if row.epoch}, now

    def next_epoch(self) -> int:
        (epoch,) = next(self._epochs)
        return epoch

    def entries(self, session_id: str, above: int) -> tuple[Entry, ...]:
        rows = self._execute(
            "SELECT seq, start_at, end_at, body FROM voxtree_entries WHERE session_id = %s AND seq > %s ORDER BY seq",
            (session_id, above),
        )
        return tuple(Entry(*values) for values in rows)

    def add(self, entries: Sequence[tuple[str, Entry]]) -> None:
        self._execute(
            "INSERT INTO voxtree_entries (session_id, seq, start_at, end_at, body)"
            " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[])"
            " ON CONFLICT (session_id, seq) DO UPDATE"
            " SET start_at = excluded.start_at, end_at = excluded.end_at, body = excluded.body",
            (
                [session_id for session_id, _ in entries],
                [entry.seq for _, entry in entries],
                [entry.start for _, entry in entries],
                [entry.end for _, entry in entries],
                [entry.body for _, entry in entries],
            ),
        )

    def drop(self, session_id: str, above: int, upto: int | None) -> None:
        self._execute(
            "DELETE FROM voxtree_entries WHERE session_id = %s AND seq > %s AND seq <= coalesce(%s, seq)",
            (session_id, above, upto),
        )

    def write(self, rows: Mapping[str, Row]) -> None:
        values = list(rows.values())
        self._execute(
            f"INSERT INTO voxtree_sessions ({COLUMNS}) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bytea[],"
            " %s::bytea[], %s::bytea[], %s::boolean[], %s::double precision[], %s::bigint[], %s::bigint[],"
            " %s::bigint[]) ON CONFLICT (session_id) DO UPDATE SET epoch = excluded.epoch, config = excluded.config,"
            " token = excluded.token, previous = excluded.previous, connected = excluded.connected,"
            " since = excluded.since, seq = excluded.seq, last_end = excluded.last_end, position = excluded.position",
            (
                list(rows),
                [row.epoch for row in values],
                [row.config for row in values],
                [row.token for row in values],
                [row.previous for row in values],
                [row.connected for row in values],
                [row.since for row in values],
                [row.seq for row in values],
                [row.end for row in values],
                [row.position for row in values],
            ),
        )

    def remove(self, session_id: str) -> None:
        self._execute("DELETE FROM voxtree_entries WHERE session_id = %s", (session_id,))
        self._execute("DELETE FROM voxtree_sessions WHERE session_id = %s", (session_id,))

    def sweep(self, now: float, retention: Retention) -> int:
        """A row that another batch holds is left for the next time."""
        values = {"window": retention.window, "lease": retention.lease, "ttl": retention.ttl, "now": now}
        (count,) = self._execute(
            f"WITH gone AS (DELETE FROM voxtree_sessions WHERE session_id IN (SELECT session_id FROM voxtree_sessions"
            f" WHERE {OVER} FOR UPDATE SKIP LOCKED) RETURNING session_id),"
            " entries AS (DELETE FROM voxtree_entries USING gone WHERE voxtree_entries.session_id = gone.session_id)"
            " SELECT count(*) FROM gone",
            values,
        ).fetchall()[0]
        return int(count)


def _row(values: tuple[Any, ...]) -> tuple[str, Row]:
    session_id, epoch, config, token, previous, connected, since, seq, end, position = values
    return session_id, Row(
        epoch=epoch,
        config=config,
        token=token,
        previous=previous,
        connected=connected,
        since=since,
        seq=seq,
        end=end,
        position=position,
    )


def _one(connection: Connection, query: LiteralString) -> tuple[Any, ...]:
    return connection.execute(query).fetchall()[0]


def _error(error: psycopg.Error) -> SpeechError:
    """The server's words may name hosts and roles, never a password."""
    said = " ".join(str(error).split())
    match error:
        case errors.DiskFull():
            return JournalFull("the database's disk is full", backend_detail=said)
        case errors.DataCorrupted() | errors.IndexCorrupted():
            return JournalDamaged("the database is damaged", backend_detail=said)
        case errors.LockNotAvailable() | errors.QueryCanceled():
            return JournalUnavailable("the database did not answer in time", backend_detail=said)
        case errors.ReadOnlySqlTransaction():
            return JournalUnavailable("the database takes no writes now", backend_detail=said)
        case _:
            return JournalUnavailable("the database cannot be used", backend_detail=said or type(error).__name__)
