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
from transport.journal.postgres_tables import COLUMNS, MIGRATIONS, Connection, PostgresTables, row_of

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


# What the server is to do about a host that is lost between the two round trips of a batch: nothing is reset, so its
# rows stay locked, and whoever takes over its sessions waits, until the server's own TCP gives up: by default after
# hours. Timeouts of transactions do not count while a server waits for the rest of a pipeline.
LOST_AFTER: Mapping[str, int] = {  # some 5 s: as long as its clients need to give it up
    "tcp_keepalives_idle": 2,
    "tcp_keepalives_interval": 1,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 5_000,  # ms
}


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
        try:
            with self._translated():
                self._connection = psycopg.connect(autocommit=True, **self._options)
                self._prepare(self._connection)
                self._migrate(self._connection)
        except BaseException:
            self.close()
            raise

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
            return [row_of(values) for values in rows]

    def session(self, session_id: str) -> tuple[Row, tuple[Entry, ...]] | None:
        """See `Database`."""
        with self._transaction() as connection:
            tables = PostgresTables(connection, 0)
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
            tables = PostgresTables(connection, 0)
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
            return carry_out(PostgresTables(connection, epochs), operations, self._retention)

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

    def _prepare(self, connection: Connection) -> None:
        with connection.pipeline():
            connection.execute(f"SET statement_timeout = {STATEMENT_SECONDS * 1000:.0f}")
            connection.execute(f"SET lock_timeout = {LOCK_SECONDS * 1000:.0f}")
            connection.execute(f"SET idle_in_transaction_session_timeout = {STATEMENT_SECONDS * 1000:.0f}")
            for name, value in LOST_AFTER.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, str(value)))
            # Whoever turned this off for other uses of the database did not mean what we promise.
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )

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
