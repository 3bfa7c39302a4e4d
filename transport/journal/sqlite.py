"""The journal in an SQLite file, which the processes of one host may share."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from actors.speech.errors import JournalDamaged, JournalFull, JournalUnavailable, SpeechError
from actors.speech.journal.ledger import Row, carry_out
from actors.speech.journal.port import Durability, Entry, Operation, Outcome, Retention
from transport.journal.database import LOCK_SECONDS
from transport.journal.sqlite_tables import COLUMNS, MIGRATIONS, SqliteTables, row_of

APPLICATION = 0x766F7872  # "voxr" in the file's head says whose it is


class SqliteDatabase:
    """One connection to the file; it is made, with its folder, when there is none.

    Args:
        path: of the file. Beside it SQLite keeps `-wal` and `-shm`, which belong to it.
        full: wait for the disk with every commit, so that no power cut takes one back.
        clock: seconds since 1970.
    """

    name = "sqlite"

    def __init__(
        self,
        path: Path,
        *,
        full: bool = False,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.durability = Durability.DISK if full else Durability.PROCESS
        self._path = path
        self._retention = retention or Retention()
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """See `Database`."""
        self.close()
        try:
            with self._translated():
                _make_file(self._path)
                self._connection = sqlite3.connect(
                    self._path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
                )
                self._prepare(self._connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `Database`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """See `Database`."""
        if not operations:
            return []
        with self._transaction() as connection:
            return carry_out(SqliteTables(connection, self._clock), operations, self._retention)

    def sessions(self) -> list[tuple[str, Row]]:
        """See `Database`."""
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM voxtree_sessions ORDER BY since DESC, session_id")
            return [row_of(values) for values in rows]

    def session(self, session_id: str) -> tuple[Row, tuple[Entry, ...]] | None:
        """See `Database`."""
        with self._transaction() as connection:
            tables = SqliteTables(connection, self._clock)
            rows, _ = tables.load([session_id], [])
            return (rows[session_id], tables.entries(session_id, 0)) if rows else None

    def purge(self, session_id: str | None = None) -> int:
        """See `Database`."""
        where, values = ("", ()) if session_id is None else (" WHERE session_id = ?", (session_id,))
        with self._transaction() as connection:
            connection.execute("DELETE FROM voxtree_entries" + where, values)
            return connection.execute("DELETE FROM voxtree_sessions" + where, values).rowcount

    def purge_over(self) -> int:
        """See `Database`."""
        at_once = msgspec.structs.replace(self._retention, ttl=0.0)
        with self._transaction() as connection:
            return SqliteTables(connection, self._clock).sweep(self._clock(), at_once)

    def check(self) -> str:
        """See `Database`."""
        with self._translated():
            self._check(self._connected())
        return f"{self._path}, {self._path.stat().st_size / 1e6:.1f} MB"

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalUnavailable("the journal is not open")
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connected()
        with self._translated():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _error(self._path, error) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise JournalUnavailable(f"{error.filename or self._path}: {reason}") from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._recognise(connection)
        _use_wal(connection)
        full = self.durability is Durability.DISK
        connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = ON")  # what was said does not stay behind in free pages
        self._migrate(connection)
        self._check(connection)

    def _recognise(self, connection: sqlite3.Connection) -> None:
        """Nothing is written to a file that is not ours."""
        connection.execute("BEGIN")  # both at the same moment: another process may just be making it
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("COMMIT")
        if application != APPLICATION and (application or objects):
            raise JournalDamaged(f"{self._path} is an SQLite database, but no journal")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        with self._transaction():
            connection.execute("CREATE TABLE IF NOT EXISTS voxtree_schema (version INTEGER NOT NULL)")
            (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM voxtree_schema").fetchone()
            if version > len(MIGRATIONS):
                raise JournalDamaged(
                    f"{self._path} is of version {version}, and this voxtree knows {len(MIGRATIONS)} at most"
                )
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                for statement in script.split(";"):
                    connection.execute(statement)
                connection.execute("INSERT INTO voxtree_schema VALUES (?)", (number,))
            if version < len(MIGRATIONS):
                connection.execute(f"PRAGMA application_id = {APPLICATION}")

    def _check(self, connection: sqlite3.Connection) -> None:
        """Some 2 ms a megabyte, and a journal is small: what is over does not stay."""
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise JournalDamaged(f"{self._path} is damaged: {' '.join(found.split())}")


def _make_file(path: Path) -> None:
    """Make it before SQLite does, for its owner alone; `-wal` and `-shm` get the same rights."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Where two processes begin at the same time, SQLite does not wait for the other's change of mode by itself."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "SQLITE_BUSY" not in error.sqlite_errorname or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _error(path: Path, error: sqlite3.Error) -> SpeechError:
    match getattr(error, "sqlite_errorname", "").split("_")[1:2]:
        case ["FULL"]:
            return JournalFull(f"{path}: there is no room on its disk")
        case ["CORRUPT"]:
            return JournalDamaged(f"{path} is damaged: {error}")
        case ["NOTADB"]:
            return JournalDamaged(f"{path} is no SQLite database")
        case ["BUSY" | "LOCKED"]:
            return JournalUnavailable(f"{path}: another process has kept it locked for {LOCK_SECONDS:g} s")
        case _:
            return JournalUnavailable(f"{path}: {error}")
