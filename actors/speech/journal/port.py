"""What sessions ask of the journal and what it answers, and the port that its stores fit.

A session's row knows its epoch, whose it is, the hashes of its tokens and how far its entries reach; its entries are
finals and gaps. Whoever opens or claims a session owns it under a new epoch, and nobody can write under an older one
any more: of two processes that believe they own a session, one is told that it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import msgspec


class Durability(Enum):
    """What a committed entry survives."""

    MEMORY = "memory"  # the session's actors
    PROCESS = "process"  # … and the death of the process; a power cut may take the last moments
    DISK = "disk"  # … and a power cut


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows are worth something, in seconds.

    Attributes:
        window: a session without a client may be resumed for so long.
        lease: a session counts as connected for so long after its owner last said so.
        ttl: rows of sessions that cannot be resumed any more are kept for so long.
    """

    window: float = 60.0
    lease: float = 25.0
    ttl: float = 3600.0


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A final or a gap: its number, the sample positions it settles, and the event itself as bytes (maybe sealed)."""

    seq: int
    start: int
    end: int
    body: bytes


# ---- what is asked; `token`, `next_token` and `user` are SHA-256 hashes, the journal sees nothing else of them


class Open(msgspec.Struct, frozen=True):
    """A session begins: `Opened`, or `Occupied` while one of its id is connected, or can be resumed by another user.

    Otherwise nothing stays of one that had its id.

    Attributes:
        user: whose it is; empty: nobody's in particular.
    """

    session_id: str
    config: bytes
    token: bytes
    user: bytes = b""


class Claim(msgspec.Struct, frozen=True):
    """A client resumes: its session is owned by who asks. `Claimed` or `Refused`, or `Fenced` because of `owner`.

    The token presented stays valid beside the next one until `Confirm`, since the answer may never reach the client.

    Attributes:
        seq: the client has all entries up to this one.
        rewind: drop those above it, instead of giving them back: they are to be made again.
        owner: who asks owns the session already, under this epoch, and knows all of it; None: knows nothing of it.
        user: whose the client is. It has to be the one that opened the session.
    """

    session_id: str
    token: bytes
    next_token: bytes
    seq: int
    rewind: bool = False
    owner: int | None = None
    user: bytes = b""


class Append(msgspec.Struct, frozen=True):
    """Add entries, in order. `Written` once they are durable, or `Fenced`. Asked twice, they are written once."""

    session_id: str
    epoch: int
    entries: tuple[Entry, ...]


class Renew(msgspec.Struct, frozen=True):
    """The session lives. `Written` or `Fenced`.

    Attributes:
        connected: it has a client. When it has none, its window begins.
        seq: the client has all entries up to this one: they need not be kept.
    """

    session_id: str
    epoch: int
    connected: bool
    seq: int = 0


class Confirm(msgspec.Struct, frozen=True):
    """The client has its new token; the one before is void. `Written` or `Fenced`."""

    session_id: str
    epoch: int


class Finish(msgspec.Struct, frozen=True):
    """All was said, up to `position`; but the client may not have heard it all yet. `Written` or `Fenced`."""

    session_id: str
    epoch: int
    position: int


class Forget(msgspec.Struct, frozen=True):
    """The session is over, and its client knows: nothing of it is kept. `Written`, also if it is gone, or `Fenced`."""

    session_id: str
    epoch: int


class Sweep(msgspec.Struct, frozen=True):
    """Remove rows whose time is over. `Swept`."""


Operation = Open | Claim | Append | Renew | Confirm | Finish | Forget | Sweep

# ---- what is answered


class Opened(msgspec.Struct, frozen=True):
    """The session is there. `epoch`: above every one that this journal gave before, to whichever session."""

    epoch: int


class Occupied(msgspec.Struct, frozen=True):
    """A session of this id is connected, or was a moment ago."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The session is its new owner's.

    Attributes:
        seq, end: of the last entry (0, 0: there is none); with `Claim.rewind`, of the last that is left.
        position: up to where it was heard, if it has finished; None: it has not.
        entries: those above `Claim.seq`.
    """

    epoch: int
    config: bytes
    seq: int
    end: int
    position: int | None
    entries: tuple[Entry, ...]


class Refused(msgspec.Struct, frozen=True):
    """There is no such session, it cannot be resumed any more, or token or user are not its: nobody is told which.

    Attributes:
        superseded: the token was the session's before its present client got its own, and that client is connected.
    """

    superseded: bool = False


class Written(msgspec.Struct, frozen=True):
    """It is committed."""


class Fenced(msgspec.Struct, frozen=True):
    """The session has another owner, or is gone: nothing was written, and nothing will be under this epoch."""


class Swept(msgspec.Struct, frozen=True):
    """So many sessions were removed."""

    sessions: int


Outcome = Opened | Occupied | Claimed | Refused | Written | Fenced | Swept


class JournalStore(Protocol):
    """Where the journal is kept. One task calls it, one call at a time.

    Attributes:
        name: of its kind, for logs.
        durability: what its commits survive.
    """

    name: str
    durability: Durability

    async def open(self) -> None:
        """Get ready. May be called again after a failure.

        Raises:
            JournalUnavailable: not now. JournalDamaged: not ever; nothing was changed.
        """

    async def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out operations in their order, all or none of them, and answer each.

        When it returns, what was written is as durable as `durability` says. A cancelled call may have done it or not.
        Whoever got no answer may ask the same again: see `ledger`.

        Raises:
            JournalUnavailable: none was carried out, or nobody knows; asking again is safe.
            JournalFull: none was carried out: there is no room.
            JournalDamaged: none was carried out: what is there cannot be read.
        """
        ...

    async def close(self) -> None:
        """Let go of files and connections."""
