"""The journal in an SQLite file, which the processes of one host may share."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from actors.speech.errors import JournalDamaged, JournalFull, JournalUnavailable, SpeechError
from actors.speech.journal.ledger import Row, carry_out
from actors.speech.journal.port import Durability, Entry, Operation, Outcome, Retention
from transport.journal.database import LOCK_SECONDS

APPLICATION = 0x766F7872  # "voxr" in the file's head says whose it is
MIGRATIONS = (
    """
    CREATE TABLE voxtree_sessions (
        session_id TEXT PRIMARY KEY,
        epoch INTEGER NOT NULL,
        config BLOB NOT NULL,
        token BLOB NOT NULL,
        previous BLOB NOT NULL,
        connected INTEGER NOT NULL,
        since REAL NOT NULL,
        seq INTEGER NOT NULL,
        last_end INTEGER NOT NULL,
        position INTEGER
    );
    CREATE TABLE voxtree_entries (
        session_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        start_at INTEGER NOT NULL,
        end_at INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (session_id, seq)
    ) WITHOUT ROWID;
    CREATE TABLE voxtree_epochs (last INTEGER NOT NULL);
    INSERT INTO voxtree_epochs VALUES (0);
    """,
)
COLUMNS = "session_id, epoch, config, token, previous, connected, since, seq, last_end, position"
RESUMABLE_UNTIL = "since + :window + CASE WHEN connected THEN :lease ELSE 0 END"


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
        with self._translated():
            _make_file(self._path)
            connection = self._connection = sqlite3.connect(
                self._path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._recognise(connection)
            _use_wal(connection)
            full = self.durability is Durability.DISK
            connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            connection.execute("PRAGMA secure_delete = ON")  # what was said does not stay behind in free pages
            self._migrate(connection)
            self._check(connection)

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
            return carry_out(_Tables(connection, self._clock), operations, self._retention)

    def sessions(self) -> list[tuple[str, Row]]:
        """See `Database`."""
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM voxtree_sessions ORDER BY since DESC, session_id")
            return [_row(values) for values in rows]

    def session(self, session_id: str) -> tuple[Row, tuple[Entry, ...]] | None:
        """See `Database`."""
        with self._transaction() as connection:
            tables = _Tables(connection, self._clock)
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
            return _Tables(connection, self._clock).sweep(self._clock(), at_once)

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

    def _recognise(self, connection: sqlite3.Connection) -> None:
        """Nothing is written to a file that is not ours."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
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


class _Tables:
    """The tables of `ledger`, within a transaction that has the file for itself."""

    def __init__(self, connection: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._execute = connection.execute
        self._execute_many = connection.executemany
        self._clock = clock

    def load(self, ids: Sequence[str], opened: Sequence[str]) -> tuple[Mapping[str, Row], float]:
        found = (
            self._execute(f"SELECT {COLUMNS} FROM voxtree_sessions WHERE session_id = ?", (each,)).fetchone()
            for each in ids
        )
        return dict(_row(values) for values in found if values is not None), self._clock()

    def next_epoch(self) -> int:
        self._execute("UPDATE voxtree_epochs SET last = last + 1")
        (epoch,) = self._execute("SELECT last FROM voxtree_epochs").fetchone()
        return int(epoch)

    def entries(self, session_id: str, above: int) -> tuple[Entry, ...]:
        rows = self._execute(
            "SELECT seq, start_at, end_at, body FROM voxtree_entries WHERE session_id = ? AND seq > ? ORDER BY seq",
            (session_id, above),
        )
        return tuple(Entry(*values) for values in rows)

    def add(self, entries: Sequence[tuple[str, Entry]]) -> None:
        self._execute_many(
            "INSERT OR REPLACE INTO voxtree_entries (session_id, seq, start_at, end_at, body) VALUES (?, ?, ?, ?, ?)",
            [(session_id, entry.seq, entry.start, entry.end, entry.body) for session_id, entry in entries],
        )

    def drop(self, session_id: str, above: int, upto: int | None) -> None:
        self._execute(
            "DELETE FROM voxtree_entries WHERE session_id = ? AND seq > ? AND (? IS NULL OR seq <= ?)",
            (session_id, above, upto, upto),
        )

    def write(self, rows: Mapping[str, Row]) -> None:
        self._execute_many(
            f"INSERT OR REPLACE INTO voxtree_sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (each, row.epoch, row.config, row.token, row.previous, row.connected, row.since, row.seq, row.end,
                 row.position)
                for each, row in rows.items()
            ],
        )  # fmt: skip

    def remove(self, session_id: str) -> None:
        self._execute("DELETE FROM voxtree_entries WHERE session_id = ?", (session_id,))
        self._execute("DELETE FROM voxtree_sessions WHERE session_id = ?", (session_id,))

    def sweep(self, now: float, retention: Retention) -> int:
        over = f"{RESUMABLE_UNTIL} + :ttl <= :now"
        values = {"window": retention.window, "lease": retention.lease, "ttl": retention.ttl, "now": now}
        self._execute(
            "DELETE FROM voxtree_entries WHERE session_id IN"
            f" (SELECT session_id FROM voxtree_sessions WHERE {over})",
            values,
        )
        return self._execute(f"DELETE FROM voxtree_sessions WHERE {over}", values).rowcount


def _row(values: tuple[str, int, bytes, bytes, bytes, int, float, int, int, int | None]) -> tuple[str, Row]:
    session_id, epoch, config, token, previous, connected, since, seq, end, position = values
    return session_id, Row(
        epoch=epoch,
        config=config,
        token=token,
        previous=previous,
        connected=bool(connected),
        since=since,
        seq=seq,
        end=end,
        position=position,
    )


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
