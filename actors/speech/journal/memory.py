"""The journal in memory: it outlives a session's actors, not the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from anyio.lowlevel import checkpoint

from actors.speech.journal.ledger import Row, carry_out, is_over
from actors.speech.journal.port import Durability, Entry, Operation, Outcome, Retention


class MemoryStore:
    """A `JournalStore` of dictionaries. The rules are `ledger`'s, as those of every store.

    Args:
        clock: seconds since 1970.
    """

    name = "memory"
    durability = Durability.MEMORY

    def __init__(self, retention: Retention | None = None, clock: Callable[[], float] = time.time) -> None:
        self._retention = retention or Retention()
        self._tables = _Dictionaries(clock)

    async def open(self) -> None:
        """Nothing to get ready."""

    async def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out operations; nothing here can fail half-way."""
        outcomes = carry_out(self._tables, operations, self._retention)
        await checkpoint()
        return outcomes

    async def close(self) -> None:
        """Nothing to let go of: the next incarnation finds what this one has left."""


class _Dictionaries:
    """The tables of `ledger`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._epoch = 0
        self._rows: dict[str, Row] = {}
        self._entries: dict[str, list[Entry]] = {}

    def load(self, ids: Sequence[str], opened: Sequence[str]) -> tuple[Mapping[str, Row], float]:
        return {each: self._rows[each] for each in ids if each in self._rows}, self._clock()

    def next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def entries(self, session_id: str, above: int) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._entries.get(session_id, ()) if entry.seq > above)

    def add(self, entries: Sequence[tuple[str, Entry]]) -> None:
        for session_id, entry in entries:
            self._entries.setdefault(session_id, []).append(entry)

    def drop(self, session_id: str, above: int, upto: int | None) -> None:
        kept = self._entries.get(session_id, [])
        kept[:] = [entry for entry in kept if entry.seq <= above or (upto is not None and entry.seq > upto)]

    def write(self, rows: Mapping[str, Row]) -> None:
        self._rows.update(rows)

    def remove(self, session_id: str) -> None:
        self._rows.pop(session_id, None)
        self._entries.pop(session_id, None)

    def sweep(self, now: float, retention: Retention) -> int:
        over = [session_id for session_id, row in self._rows.items() if is_over(row, now, retention)]
        for session_id in over:
            self.remove(session_id)
        return len(over)
