"""A client's WebSocket as an ASGI server hands it over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import anyio
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close, CloseCode

from actors.speech.errors import ChunkTooLarge, SpeechError
from transport.wire.port import Accepted, Answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Clients of ours leave when they have everything, and only so do we know that they have: no server tells its
# application whether a close was answered.
_LINGER = 1.0  # seconds for that
_IN_ORDER = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY)  # codes that a client sends, and no server makes up
_DENIAL = "websocket.http.response"  # the extension by which a refusal is more than a bare 403


class AsgiSocket:
    """A client's WebSocket, from its handshake on. See `transport.sockets.Socket`.

    Nothing is read ahead: what the client sends waits in the server, which bounds it, until it is asked for. Frames
    that are no messages, such as pings, do not come through ASGI, and so are no signs of life here.

    Args:
        max_message_bytes: a message with more raises `ChunkTooLarge` from `recv`.

    Attributes:
        explain: never called: a server that ends a connection by itself asks nobody.
        take: never called: nothing arrives but by `recv`.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, max_message_bytes: int) -> None:
        self._scope = scope
        self._receive = receive
        self._asgi_send = send
        self._max_message_bytes = max_message_bytes
        self._clock = asyncio.get_running_loop().time
        self._sending = asyncio.Lock()  # for two of our own tasks, so that what is sent first arrives first
        self._unsent = 0
        self._stuck_since: float | None = None  # None: nothing is being sent
        self._end: ConnectionClosed | None = None
        self._left_in_order = False
        self.explain: Callable[[SpeechError], Sequence[str]] | None = None
        self.take: Callable[[Sequence[bytes]], int] | None = None
        self.heard_at = self._clock()

    @property
    def address(self) -> str:
        """Of the machine at the other end, as the server knows it; empty: it does not."""
        client = self._scope.get("client")
        return str(client[0]) if client else ""

    # ---- the handshake

    async def asked(self) -> bool:
        """Wait for the client to ask for its WebSocket; False: it is gone already.

        Raises:
            RuntimeError: the WebSocket is somebody's already.
        """
        message = await self._receive()
        if message["type"] not in ("websocket.connect", "websocket.disconnect"):
            raise RuntimeError("this WebSocket has been accepted already: leave that to voxtree")
        return bool(message["type"] == "websocket.connect")

    async def accept(self, accepted: Accepted) -> None:
        """Let the client in.

        Raises:
            ConnectionClosed: it has left.
        """
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in accepted.headers.items()
        ]
        await self._pass({"type": "websocket.accept", "subprotocol": accepted.subprotocol, "headers": headers})
        self.heard_at = self._clock()

    async def refuse(self, answer: Answer) -> None:
        """Answer the handshake with an error: 403 without a text where the server knows nothing better.

        Raises:
            ConnectionClosed: the client has left.
        """
        if _DENIAL not in (self._scope.get("extensions") or {}):
            await self._pass({"type": "websocket.close"})
            return
        named = {"Content-Type": "application/json", "Cache-Control": "no-store", **answer.headers}
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
        await self._pass({"type": f"{_DENIAL}.start", "status": int(answer.status), "headers": headers})
        await self._pass({"type": f"{_DENIAL}.body", "body": answer.body})

    # ---- messages

    def gather(self, size: int) -> None:
        """The server has its own way of handing over messages: one by one."""

    @property
    def has_more(self) -> bool:
        """Nobody can tell."""
        return False

    async def recv(self) -> str | bytes:
        """See `Socket.recv`.

        Raises:
            ChunkTooLarge: the message is larger than any may be.
        """
        if self._end is not None:
            raise self._end
        message = await self._next()
        text, data = message.get("text"), message.get("bytes")
        size = len(data or b"") if text is None else len(text.encode())
        if size > self._max_message_bytes:
            raise ChunkTooLarge(f"a message of {size} bytes: allowed are {self._max_message_bytes}")
        return (data or b"") if text is None else str(text)

    @property
    def is_clear(self) -> bool:
        """The server may always take its time."""
        return False

    def send_at_once(self, message: str) -> None:
        """Not to be called: it is never clear."""
        raise RuntimeError("an ASGI server is sent messages by `send` only: it may take its time over each")

    async def send(self, message: str) -> None:
        """See `Socket.send`."""
        size = len(message)
        self._unsent += size
        try:
            await self._pass({"type": "websocket.send", "text": message})
        finally:
            self._unsent -= size

    @property
    def unsent(self) -> int:
        """Characters that wait to be taken by the server; what it holds itself is not known."""
        return self._unsent

    def stuck_for(self, now: float) -> float:
        """For how many seconds the server has not taken what is being sent."""
        return 0.0 if self._stuck_since is None else now - self._stuck_since

    # ---- the end

    @property
    def closed_by_both(self) -> bool:
        """The client has left in order, when all was said."""
        return self._left_in_order

    async def hang_up(self, code: int) -> None:
        """See `Socket.hang_up`. A client that got everything may close first."""
        if code == CloseCode.NORMAL_CLOSURE:
            with anyio.move_on_after(_LINGER):
                await self._until_left()
        if self._end is None:
            await self._pass({"type": "websocket.close", "code": code, "reason": ""})
            await self._until_left()

    def abort(self) -> None:
        """Have nothing more to do with it: the server ends it when its application returns."""
        self._end = self._end or ConnectionClosedError(None, None)

    async def _until_left(self) -> None:
        try:
            while self._end is None:
                await self._next()
        except ConnectionClosed:
            return

    async def _next(self) -> Mapping[str, Any]:
        message = await self._receive()
        self.heard_at = self._clock()
        if message["type"] != "websocket.disconnect":
            return message
        self._end = _ending(message.get("code"), message.get("reason"))
        self._left_in_order = isinstance(self._end, ConnectionClosedOK)
        raise self._end

    async def _pass(self, message: MutableMapping[str, Any]) -> None:
        """Have the server send something."""
        async with self._sending:
            if self._end is not None:
                raise self._end
            self._stuck_since = self._clock()
            try:
                await self._asgi_send(message)
            except OSError as lost:  # as ASGI has it, for a client that is gone
                self._end = ConnectionClosedError(None, None)
                raise self._end from lost
            finally:
                self._stuck_since = None


def _ending(code: int | None, reason: str | None) -> ConnectionClosed:
    if code is None or code == CloseCode.ABNORMAL_CLOSURE:
        return ConnectionClosedError(None, None)
    kind = ConnectionClosedOK if code in _IN_ORDER else ConnectionClosedError
    return kind(Close(code, reason or ""), None)
