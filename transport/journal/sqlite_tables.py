"""The journal's tables in SQLite, and what is done to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from actors.speech.journal.ledger import Row
from actors.speech.journal.port import Entry, Retention

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
    """
    ALTER TABLE voxtree_sessions ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 1;
    UPDATE voxtree_sessions SET confirmed = 0 WHERE length(previous) > 0
    """,
    """
    ALTER TABLE voxtree_sessions ADD COLUMN user_hash BLOB NOT NULL DEFAULT x''
    """,
)
COLUMNS = "session_id, epoch, config, token, previous, connected, since, seq, last_end, position, confirmed, user_hash"
RESUMABLE_UNTIL = "since + :window + CASE WHEN connected THEN :lease ELSE 0 END"


class SqliteTables:
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
        return dict(row_of(values) for values in found if values is not None), self._clock()

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
            f"INSERT OR REPLACE INTO voxtree_sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (each, row.epoch, row.config, row.token, row.previous, row.connected, row.since, row.seq, row.end,
                 row.position, row.confirmed, row.user)
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
            f"DELETE FROM voxtree_entries WHERE session_id IN (SELECT session_id FROM voxtree_sessions WHERE {over})",
            values,
        )
        return self._execute(f"DELETE FROM voxtree_sessions WHERE {over}", values).rowcount


def row_of(
    values: tuple[str, int, bytes, bytes, bytes, int, float, int, int, int | None, int, bytes],
) -> tuple[str, Row]:
    session_id, epoch, config, token, previous, connected, since, seq, end, position, confirmed, user = values
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
        confirmed=bool(confirmed),
        user=user,
    )
