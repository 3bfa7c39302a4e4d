"""What a connection needs of its client's WebSocket: the server's own, or one that an ASGI server hands over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from actors.speech.errors import SpeechError


class Socket(Protocol):
    """A client's WebSocket. What ends it raises `ConnectionClosed`, of `websockets`, whoever ended it.

    Attributes:
        explain: called when the socket ends by itself for an error; the texts it returns are sent ahead of the close.
        take: called where messages of audio arrive, if none waits for `recv`; returns how many of them it has taken.
            Only the others come from `recv`.
        heard_at: when the client last gave a sign of life, on the loop's clock.
    """

    explain: Callable[[SpeechError], Sequence[str]] | None
    take: Callable[[Sequence[bytes]], int] | None
    heard_at: float

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""

    @property
    def is_clear(self) -> bool:
        """Whether a message can be sent by `send_at_once` now."""

    @property
    def has_more(self) -> bool:
        """Whether the next message is here already, and binary: `recv` will give it at once."""

    def gather(self, size: int) -> None:
        """Let short messages of audio wait from now on, until there are `size` more bytes of it; 0: none waits."""

    @property
    def closed_by_both(self) -> bool:
        """The client has answered our close: it has read everything before."""

    async def recv(self) -> str | bytes:
        """The client's next message; waits for it. A `SpeechError` ends the connection, and is told to the client."""

    async def send(self, message: str) -> None:
        """Send a text message; waits while the client reads nothing."""

    def send_at_once(self, message: str) -> None:
        """As `send`, while it is clear: it does not wait."""

    async def hang_up(self, code: int) -> None:
        """Close, and wait until the client has closed too."""

    def abort(self) -> None:
        """End it at once."""

    def stuck_for(self, now: float) -> float:
        """For how many seconds the client has read nothing of what waits for it."""
