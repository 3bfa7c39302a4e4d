"""The journal's tables in PostgreSQL, and what is done to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, LiteralString

import psycopg

from actors.speech.journal.ledger import Row
from actors.speech.journal.port import Entry, Retention

Connection = psycopg.Connection[tuple[Any, ...]]

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
    """
    ALTER TABLE voxtree_sessions ADD COLUMN confirmed boolean NOT NULL DEFAULT true;
    UPDATE voxtree_sessions SET confirmed = false WHERE length(previous) > 0;
    """,
    """
    ALTER TABLE voxtree_sessions ADD COLUMN user_hash bytea NOT NULL DEFAULT '';
    """,
)
COLUMNS: LiteralString = (
    "session_id, epoch, config, token, previous, connected, since, seq, last_end, position, confirmed, user_hash"
)
OVER: LiteralString = (
    "since + %(window)s + CASE WHEN connected THEN %(lease)s ELSE 0 END + %(ttl)s <= %(now)s"
)  # fmt: skip


class PostgresTables:
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
        found = dict(row_of(values) for values in rows)
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
            " %s::bigint[], %s::boolean[], %s::bytea[]) ON CONFLICT (session_id) DO UPDATE"
            " SET epoch = excluded.epoch, config = excluded.config,"
            " token = excluded.token, previous = excluded.previous, connected = excluded.connected,"
            " since = excluded.since, seq = excluded.seq, last_end = excluded.last_end, position = excluded.position,"
            " confirmed = excluded.confirmed, user_hash = excluded.user_hash",
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
                [row.confirmed for row in values],
                [row.user for row in values],
            ),
        )

    def remove(self, session_id: str) -> None:
        self._execute("DELETE FROM voxtree_entries WHERE session_id = %s", (session_id,))
        self._execute("DELETE FROM voxtree_sessions WHERE session_id = %s", (session_id,))

    def sweep(self, now: float, retention: Retention) -> int:
        """A row that another batch holds is left for the next time, and so is one that is only just being made."""
        values = {"window": retention.window, "lease": retention.lease, "ttl": retention.ttl, "now": now}
        (count,) = self._execute(
            f"WITH gone AS (DELETE FROM voxtree_sessions WHERE session_id IN (SELECT session_id FROM voxtree_sessions"
            f" WHERE epoch > 0 AND {OVER} FOR UPDATE SKIP LOCKED) RETURNING session_id),"
            " entries AS (DELETE FROM voxtree_entries USING gone WHERE voxtree_entries.session_id = gone.session_id)"
            " SELECT count(*) FROM gone",
            values,
        ).fetchall()[0]
        return int(count)


def row_of(values: tuple[Any, ...]) -> tuple[str, Row]:
    session_id, epoch, config, token, previous, connected, since, seq, end, position, confirmed, user = values
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
        confirmed=confirmed,
        user=user,
    )
