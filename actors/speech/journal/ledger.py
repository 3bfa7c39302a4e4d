"""What each operation does to a session's row and entries: the rules, the same for every store.

A store reads rows, and writes what has changed, in a transaction of its own; what changes is decided here. Every
operation, and every batch that `journal.together` lets through, may be carried out twice: whoever got no answer asks
again, and is answered the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, assert_never

import msgspec

from actors.speech.journal.port import (
    Append,
    Claim,
    Claimed,
    Confirm,
    Entry,
    Fenced,
    Finish,
    Forget,
    Occupied,
    Open,
    Opened,
    Operation,
    Outcome,
    Refused,
    Renew,
    Retention,
    Sweep,
    Swept,
    Written,
)

replace = msgspec.structs.replace


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal knows of a session besides its entries.

    Attributes:
        token, previous: hashes; `previous` is valid too, until …
        confirmed: … the client has shown that it has `token`.
        connected: its owner said that it has a client.
        since: when its owner last said so, or when it lost its client; seconds since 1970.
        seq, end: of its last entry.
        position: up to where it was heard, once it has finished.
        user: whose it is, as a hash; empty: nobody's in particular.
    """

    epoch: int
    config: bytes
    token: bytes
    previous: bytes = b""
    confirmed: bool = True
    connected: bool = True
    since: float
    seq: int = 0
    end: int = 0
    position: int | None = None
    user: bytes = b""

    def is_opened_by(self, token: bytes) -> bool:
        """Whether this token resumes it."""
        return token != b"" and (token == self.token or (token == self.previous and not self.confirmed))

    def is_connected(self, now: float, retention: Retention) -> bool:
        """Whether it has a client, as far as is known: a dead owner no longer says so."""
        return self.connected and now < self.since + retention.lease

    def resumable_until(self, retention: Retention) -> float:
        """The time after which nobody may claim it."""
        return self.since + retention.window + (retention.lease if self.connected else 0.0)


class Tables(Protocol):
    """A store in the middle of a transaction: nobody else changes the rows it has loaded."""

    def load(self, ids: Sequence[str], opened: Sequence[str]) -> tuple[Mapping[str, Row], float]:
        """The rows that there are, and the time. `opened`: those of the ids that may be made now."""
        ...

    def next_epoch(self) -> int:
        """A number above all it has given before."""
        ...

    def entries(self, session_id: str, above: int) -> tuple[Entry, ...]:
        """A session's entries above a number, in order."""
        ...

    def add(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """Add entries to sessions."""
        ...

    def drop(self, session_id: str, above: int, upto: int | None) -> None:
        """Remove a session's entries with `above` < seq, and seq <= `upto` if it is given."""
        ...

    def write(self, rows: Mapping[str, Row]) -> None:
        """Put rows in the place of those of the same ids, if there are any."""
        ...

    def remove(self, session_id: str) -> None:
        """Remove a session's row and entries."""
        ...

    def sweep(self, now: float, retention: Retention) -> int:
        """Remove all sessions that were not resumable any more `retention.ttl` ago, and count them."""
        ...


def carry_out(tables: Tables, operations: Sequence[Operation], retention: Retention) -> list[Outcome]:
    """Carry out operations in their order and answer each; the caller commits, or rolls everything back."""
    return _Ledger(tables, operations, retention).carry_out(operations)


class _Ledger:
    """One transaction: rows are read once and written once, whatever happens to them in between."""

    def __init__(self, tables: Tables, operations: Sequence[Operation], retention: Retention) -> None:
        ids = sorted({each.session_id for each in operations if not isinstance(each, Sweep)})
        opened = sorted({each.session_id for each in operations if isinstance(each, Open)})
        rows, self._now = tables.load(ids, opened)
        self._tables = tables
        self._retention = retention
        self._rows = dict(rows)
        self._changed: dict[str, Row] = {}
        self._added: list[tuple[str, Entry]] = []

    def carry_out(self, operations: Sequence[Operation]) -> list[Outcome]:
        outcomes = [self._one(operation) for operation in operations]
        self._flush()
        return outcomes

    def _one(self, operation: Operation) -> Outcome:
        match operation:
            case Open():
                return self._open(operation)
            case Claim():
                return self._claim(operation)
            case Sweep():
                return self._sweep()
            case Forget():
                return self._forget(operation)
            case Append() | Renew() | Confirm() | Finish():
                row = self._rows.get(operation.session_id)
                if row is None or row.epoch != operation.epoch:
                    return Fenced()
                self._put(operation.session_id, row, self._changed_by(row, operation))
                return Written()
            case _:
                assert_never(operation)

    def _open(self, open_: Open) -> Outcome:
        row = self._rows.get(open_.session_id)
        if row is not None:
            if row.token == open_.token:  # asked again: nobody else has this token
                return Opened(row.epoch)
            if row.is_connected(self._now, self._retention):
                return Occupied()
            if row.user != open_.user and self._now < row.resumable_until(self._retention):
                return Occupied()
            self._remove(open_.session_id)
        epoch = self._tables.next_epoch()
        row = Row(epoch=epoch, config=open_.config, token=open_.token, since=self._now, user=open_.user)
        self._put(open_.session_id, None, row)
        return Opened(row.epoch)

    def _claim(self, claim: Claim) -> Outcome:
        row = self._rows.get(claim.session_id)
        if row is None or row.user != claim.user or self._now >= row.resumable_until(self._retention):
            return Refused()
        if row.token == claim.next_token:  # asked again
            claimed = row
        elif row.is_opened_by(claim.token):
            if claim.owner not in (None, row.epoch):
                return Fenced()  # others have owned it meanwhile, and written what who asks does not know
            claimed = replace(
                row,
                epoch=self._tables.next_epoch(),
                token=claim.next_token,
                previous=claim.token,
                confirmed=False,
                connected=True,
                since=self._now,
            )
        else:
            was_its = claim.token != b"" and claim.token == row.previous
            return Refused(superseded=was_its and row.is_connected(self._now, self._retention))
        self._write_entries()
        entries = self._tables.entries(claim.session_id, claim.seq)
        if claim.rewind and entries:  # entries tile: where the first one that goes begins, the one before it ended
            self._tables.drop(claim.session_id, claim.seq, None)
            # Nor is the session finished any more.
            claimed = replace(claimed, seq=entries[0].seq - 1, end=entries[0].start, position=None)
            entries = ()
        self._put(claim.session_id, row, claimed)
        return Claimed(
            epoch=claimed.epoch,
            config=claimed.config,
            seq=claimed.seq,
            end=claimed.end,
            position=claimed.position,
            entries=entries,
        )

    def _changed_by(self, row: Row, operation: Append | Renew | Confirm | Finish) -> Row:
        match operation:
            case Append(session_id, _, entries):
                new = [entry for entry in entries if entry.seq > row.seq]
                self._added += [(session_id, entry) for entry in new]
                return replace(row, seq=new[-1].seq, end=new[-1].end) if new else row
            case Renew(session_id, _, connected, seq):
                if seq:
                    self._write_entries()
                    self._tables.drop(session_id, 0, min(seq, row.seq))
                # A window that has begun is not begun again.
                return replace(row, connected=connected, since=self._now) if connected or row.connected else row
            case Confirm():
                return row if row.confirmed else replace(row, confirmed=True)
            case Finish():
                # Its owner may be gone in a moment, and the client not have heard the end: it gets a whole window.
                return row if row.position is not None else replace(row, position=operation.position, since=self._now)
            case _:
                assert_never(operation)

    def _forget(self, forget: Forget) -> Outcome:
        row = self._rows.get(forget.session_id)
        if row is not None:
            if row.epoch != forget.epoch:
                return Fenced()
            self._remove(forget.session_id)
        return Written()  # also when it is gone already: this was asked before

    def _sweep(self) -> Outcome:
        self._flush()
        swept = Swept(self._tables.sweep(self._now, self._retention))
        kept = {each: row for each, row in self._rows.items() if not is_over(row, self._now, self._retention)}
        self._rows = kept
        return swept

    def _put(self, session_id: str, before: Row | None, row: Row) -> None:
        if row is not before:
            self._rows[session_id] = self._changed[session_id] = row

    def _remove(self, session_id: str) -> None:
        self._write_entries()
        self._tables.remove(session_id)
        del self._rows[session_id]
        self._changed.pop(session_id, None)

    def _write_entries(self) -> None:
        if self._added:
            self._tables.add(self._added)
            self._added = []

    def _flush(self) -> None:
        if self._changed:
            self._tables.write(self._changed)
            self._changed = {}
        self._write_entries()


def is_over(row: Row, now: float, retention: Retention) -> bool:
    """Whether a sweep removes it."""
    return now >= row.resumable_until(retention) + retention.ttl
