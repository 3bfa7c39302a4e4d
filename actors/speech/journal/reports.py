"""What happens to the journal, as values: metrics listen."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class BatchCommitted(msgspec.Struct, frozen=True):
    """So many operations were committed together, in so many seconds; so many of them were fenced off."""

    seconds: float
    operations: int
    fenced: int


class BatchFailed(msgspec.Struct, frozen=True):
    """An attempt failed with this code; it is tried again."""

    code: str


JournalReport = BatchCommitted | BatchFailed
Listener = Callable[[JournalReport], None]
