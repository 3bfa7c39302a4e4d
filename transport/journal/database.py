"""A database that holds a journal, as blocking calls; and the store that makes them in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from actors.speech.errors import JournalUnavailable
from actors.speech.journal.ledger import Row
from actors.speech.journal.port import Durability, Entry, Operation, Outcome

T = TypeVar("T")

LOCK_SECONDS = 5.0  # how long another process may keep us waiting
PATIENCE = 30.0  # seconds; past all timeouts of the databases: a disk that hangs has none


class Database(Protocol):
    """One connection to a journal. Not to be used by two threads at a time.

    Everything here may raise JournalUnavailable, JournalFull and JournalDamaged; nothing was changed then, or, where an
    answer was lost, all of it.
    """

    name: str
    durability: Durability

    def open(self) -> None:
        """Connect, and bring the schema up to date. May be called again."""
        ...

    def close(self) -> None:
        """Let go of everything. Never raises."""
        ...

    def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out operations in one transaction."""
        ...

    # ---- for operators

    def sessions(self) -> list[tuple[str, Row]]:
        """All rows, the one renewed last first."""
        ...

    def session(self, session_id: str) -> tuple[Row, tuple[Entry, ...]] | None:
        """A session's row and the entries that are kept."""
        ...

    def purge(self, session_id: str | None = None) -> int:
        """Remove a session, or all of them, and count them. An owner that lives finds itself fenced."""
        ...

    def purge_over(self) -> int:
        """Remove the sessions that cannot be resumed any more, whatever their time to live, and count them."""
        ...

    def check(self) -> str:
        """Look at the whole of it; a line with what it is.

        Raises:
            JournalDamaged: with what is wrong.
        """
        ...


class ThreadedStore:
    """A `JournalStore` over a database. Its thread makes one call after the other, and finishes what it has begun."""

    def __init__(self, database: Database) -> None:
        self.name = database.name
        self.durability = database.durability
        self._database = database
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """See `JournalStore`."""
        await self._call(self._database.open)

    async def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """See `JournalStore`. A cancelled call is carried out, unless it has not begun."""
        return await self._call(lambda: self._database.commit(operations))

    async def close(self) -> None:
        """See `JournalStore`. Whoever does not wait for its end finds the same thread again, so that there is one."""
        if self._thread is not None:
            thread = self._thread
            await asyncio.wrap_future(thread.submit(self._database.close))
            self._thread = None
            thread.shutdown()

    async def _call(self, call: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        future = asyncio.wrap_future(self._thread.submit(call))
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            raise JournalUnavailable(f"the {self.name} store has not answered for {PATIENCE:g} s") from None
