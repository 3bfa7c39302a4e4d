"""What a parent and its workers say to each other, over the worker's standard input and output.

Each message is a frame: its length in four bytes, big-endian, then MessagePack. JSON would lose infinite timeouts.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Generic, Literal, TypeVar

import anyio
import msgspec

from transport.settings import Settings

Usage = tuple[tuple[Literal["user", "address"], str, int], ...]  # of what kind, which one, and how many
MAX_FRAME = 64 * 1024 * 1024  # bytes; the largest are a worker's metrics and its alerts' errors, far below
LENGTH = struct.Struct(">I")

# ---- what a worker is told


class Assignment(msgspec.Struct, frozen=True, tag="assignment"):
    """What it is to do: which worker it is, its own share of the settings, and what all workers must agree in.

    Attributes:
        secrets: the key by which one worker knows the client secrets that another has made.
        sockets: descriptors of what to listen on, by port; the process has inherited them.
        turns: … of the file of `transport.workers.turns`, where `slot` is its own.
    """

    number: int
    settings: Settings
    secrets: bytes
    sockets: dict[int, tuple[int, ...]]
    turns: int
    slot: int


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Other settings hold, as far as a running server can use them."""

    settings: Settings


class Elsewhere(msgspec.Struct, frozen=True, tag="elsewhere"):
    """So many sessions callers have at the other workers, by `transport.limits.Key`: they count here, too."""

    sessions: Usage


Order = Assignment | Reload | Elsewhere

# ---- what a worker says


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """It serves."""


class CannotStart(msgspec.Struct, frozen=True, tag="cannot_start"):
    """It does not, and this is what to say to whoever wanted it."""

    text: str


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """A sign of life of its event loop.

    Attributes:
        sessions: that live there.
        lag: seconds by which the sign is late.
        usage: sessions of callers that have a limit, by `transport.limits.Key`.
    """

    sessions: int
    lag: float
    usage: Usage = ()


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """An error was handled there, as far as alerts want to know of it."""

    code: str
    severity: str
    when: float
    endpoint: str
    path: str
    session_id: str


class BackendChanged(msgspec.Struct, frozen=True, tag="backend"):
    """A backend of its pool joined, is up, is down (for the error of this code), or left."""

    name: str
    change: str
    code: str = ""
    leaving: bool = False


class Parting(msgspec.Struct, frozen=True, tag="parting"):
    """It ends, and these were its metrics, in OpenMetrics' form."""

    metrics: bytes


Said = Failed | BackendChanged | Parting
Word = Ready | CannotStart | Beat | Said

ORDERS: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
WORDS: msgspec.msgpack.Decoder[Word] = msgspec.msgpack.Decoder(Word)
_T = TypeVar("_T")


def frame(message: Order | Word) -> bytes:
    """A message as it is sent."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


class Frames(Generic[_T]):
    """The messages that arrive.

    Args:
        read: gives exactly so many bytes, and raises at the end.
        decoder: of `Order` or `Word`.
    """

    def __init__(self, read: Callable[[int], Awaitable[bytes]], decoder: msgspec.msgpack.Decoder[_T]) -> None:
        self._read = read
        self._decode = decoder.decode

    async def next(self) -> _T | None:
        """The next one; None: there are no more.

        Raises:
            ValueError: what arrives is none.
        """
        try:
            (length,) = LENGTH.unpack(await self._read(LENGTH.size))
            if length > MAX_FRAME:
                raise ValueError(f"a message of {length} bytes")
            return self._decode(await self._read(length))
        except (EOFError, anyio.IncompleteRead, anyio.ClosedResourceError):  # of asyncio and of anyio
            return None
