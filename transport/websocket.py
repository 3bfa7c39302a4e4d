"""The one place that leans on the inside of the `websockets` library (15.0): what its public API leaves out.

The JSON error that goes ahead of every close, also of those the library itself decides on (a message too big,
text that is not UTF-8, a broken frame); plain HTTP/1.0, as load balancers send it, and POST; and how much the kernel
reads and holds.
"""

from __future__ import annotations

import asyncio
import fcntl
import http
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import msgspec
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, Event
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from actors.speech.errors import ChunkTooLarge, InvalidMessage, ServerBusy, SpeechError
from transport import plain_http
from transport.admission import NOBODY, Caller, Refused
from transport.frames import audio_message, text_message
from transport.holding import Holding
from transport.limits.gate import CROWD
from transport.plain_http import RequestReader, RequestRefused
from transport.wire.port import Accepted, Answer, Request

_READ_BYTES = 64 * 1024  # asyncio's own 256 KiB cost a third more per frame: each read allocates its whole buffer
# Transcripts are some KB a second at most. Left to itself, the kernel would hold megabytes of them for a client that
# reads nothing: minutes, in which nobody could tell. Linux doubles the number, and counts its own overhead in.
_SEND_BYTES = 16 * 1024
_MAX_REQUEST_LINE = 8192
_HOLD_SECONDS = 0.15  # for audio whose rest does not come: one frame more than most that wait for one another
_WAITS_FOR_A_FRAME = StreamReader.at_eof.__code__
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")
_FAILURES: dict[int, Callable[[str], SpeechError]] = {
    CloseCode.MESSAGE_TOO_BIG: ChunkTooLarge,
    CloseCode.INVALID_DATA: lambda reason: InvalidMessage(f"text that is not UTF-8: {reason}"),
    CloseCode.PROTOCOL_ERROR: lambda reason: InvalidMessage(f"broken WebSocket frame: {reason}"),
}


class _Gone(asyncio.Transport):
    """Stands in for a transport that is no more."""

    def abort(self) -> None:
        """There is nothing left to end."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits to be sent any more."""
        return 0


class SafeToAbort(Connection):
    """A connection that survives being aborted when it is lost already.

    `websockets` does that whenever it is asked to send or close on a lost connection. asyncio's transport then fails
    with an AttributeError if it had been closed before its last bytes were out (CPython up to 3.14 at least).
    """

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is no more."""
        super().connection_lost(exc)
        self.transport = _Gone({"peername": self.remote_address, "sockname": self.local_address})


class ClientSocket(SafeToAbort, ServerConnection):
    """One client's WebSocket, from its first byte.

    Args:
        respond: has the answer to a POST, from an address.
        on_arrival: called when it has connected. Whoever has to go for it is told by `make_way`.
        on_leaving: called when it is gone.

    Attributes:
        accepted: how its client is spoken to, session_id: for which session, and caller: who it is, or why it may
            not; None, empty and nobody: that is not decided.
        explain: called when the library ends the connection by itself; the texts it returns are sent ahead of
            the close. Without it nothing is.
        take: called where messages of audio arrive, if none waits for `recv`; returns how many of them it has taken.
            Only the others come from `recv`; without it all do.
        heard_at: when the last frame of any kind arrived, on the loop's clock.
    """

    __slots__ = (  # beside the library's own attributes: with more than 30 an instance needs a whole dictionary
        "_answered",
        "_fail",
        "_hold_timer",
        "_holding",
        "_on_arrival",
        "_on_leaving",
        "_reader",
        "_request_line",
        "_respond",
        "_stuck_since",
        "_told_to_go_ahead",
        "_unread",
        "accepted",
        "caller",
        "explain",
        "heard_at",
        "session_id",
        "take",
    )

    def __init__(
        self,
        protocol: ServerProtocol,
        server: Server,
        *,
        respond: Callable[[Request, str], Answer],
        on_arrival: Callable[[ClientSocket], None] = lambda client: None,
        on_leaving: Callable[[ClientSocket], None] = lambda client: None,
        **options: Any,
    ) -> None:
        super().__init__(protocol, server, **options)
        self.accepted: Accepted | None = None
        self.session_id = ""
        self.caller: Caller | Refused = NOBODY
        self.explain: Callable[[SpeechError], Sequence[str]] | None = None
        self.take: Callable[[Sequence[bytes]], int] | None = None
        self._respond = respond
        self._on_arrival = on_arrival
        self._on_leaving = on_leaving
        self._reader: RequestReader | None = None  # of a POST
        self._told_to_go_ahead = False
        self._answered = False  # the POST, whether it was good or not
        self.heard_at = self.loop.time()
        self._stuck_since: float | None = None  # None: there is room in the write buffer
        self._unread = 0  # bytes that wait for the client since then
        self._holding = Holding(_HOLD_SECONDS)
        self._hold_timer: asyncio.TimerHandle | None = None
        self._fail = protocol.fail
        protocol.fail = self._fail_explained  # type: ignore[method-assign]
        self._request_line: bytes | None = b""  # what has come of it; None once it is complete

    def stuck_for(self, now: float) -> float:
        """For how many seconds the client has taken nothing of a full write buffer, as often as this is asked.

        What counts is what its kernel has acknowledged: a client on a narrow line reads, even if it takes minutes until
        the buffer has room again.
        """
        if self._stuck_since is None:
            return 0.0
        unread = self._bytes_unread()
        if unread < self._unread:
            self._unread, self._stuck_since = unread, now
        return now - self._stuck_since

    @property
    def address(self) -> str:
        """Of the machine at the other end; empty: unknown."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """End it at once."""
        self.transport.abort()

    def forget_headers(self) -> None:
        """Those of the handshake, which is over, are of no more use: credentials, and 2 KiB in all."""
        assert self.request is not None  # it stays: without one, the library takes the next frame for it
        self.request.headers.clear()
        self.response = None

    def gather(self, size: int) -> None:
        """Let short messages of audio wait from now on, until there are `size` more bytes of it; 0: none waits."""
        self._holding.size = size

    @property
    def has_more(self) -> bool:
        """Whether the next message is here already, and binary: `recv` will give it at once."""
        frames = self.recv_messages.frames.queue
        return bool(frames) and frames[0].fin and frames[0].opcode is Opcode.BINARY

    @property
    def is_clear(self) -> bool:
        """Whether a message can be sent by `send_at_once` now: it is open, and its write buffer is not full."""
        return self.protocol.state is OPEN and not self.paused and not self.transport.is_closing()

    def send_at_once(self, message: str) -> None:
        """As `send`, while it is clear: it does not wait."""
        self.transport.write(text_message(message.encode()))

    async def send(self, message: str) -> None:  # type: ignore[override]
        """As the library's own, without what that does for messages in pieces: a third of what it takes.

        Raises:
            ConnectionClosed: the message was not sent.
        """
        if self.protocol.state is not OPEN or self.transport.is_closing():
            await super().send(message)
            return
        self.transport.write(text_message(message.encode()))
        if self.paused:
            await self.drain()

    async def recv(self, decode: bool | None = None) -> str | bytes:  # type: ignore[override]
        """As the library's own; at once, if what it has is a whole message of audio.

        Raises:
            ConnectionClosed: there are no more.
        """
        if decode is None and self.has_more:
            frame = self.recv_messages.frames.queue.popleft()
            self.recv_messages.maybe_resume()
            assert isinstance(frame.data, bytes)
            return frame.data
        return await super().recv(decode)

    @property
    def closed_by_both(self) -> bool:
        """The client has answered our close: it has read everything before."""
        return self.protocol.close_sent is not None and self.protocol.close_rcvd is not None

    async def hang_up(self, code: int) -> None:
        """Close, and wait until the client has closed too.

        What it still sends is thrown away, so that its own close can get through behind it.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._discard)
            await self.close(code)
            tasks.cancel_scope.cancel()

    async def _discard(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self.recv(decode=False)

    def _fail_explained(self, code: int, reason: str = "") -> None:
        failure = _FAILURES.get(code)
        if failure is not None and self.explain is not None and self.protocol.state is OPEN:
            for text in self.explain(failure(reason)):
                self.protocol.send_text(text.encode())
        self._fail(code, reason)

    # ---- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        if hasattr(transport, "max_size"):  # asyncio's selector transport; uvloop reads 64 KiB by itself
            transport.max_size = _READ_BYTES
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        super().connection_made(transport)
        self._on_arrival(self)

    def make_way(self, error: ServerBusy) -> None:
        """Go, since there are too many: with the words of its protocol, if it has one already."""
        if self.explain is not None and self.protocol.state is OPEN:
            for text in self.explain(error):
                self.protocol.send_text(text.encode())
            self.protocol.send_close(CloseCode.TRY_AGAIN_LATER)
            for data in self.protocol.data_to_send():
                self.transport.write(data)
        elif not (self._answered or self.protocol.eof_sent):  # else it has its answer, and is only to close
            self._answer(Refused(http.HTTPStatus.SERVICE_UNAVAILABLE, error, CROWD).answer())
        self.transport.close()  # its file descriptor is needed, so what it still sends is not waited for

    def data_received(self, data: bytes) -> None:
        """The client's next bytes."""
        if self._reader is not None:
            data = self._read_post(self._reader, data)
        elif self._request_line is not None:
            data = self._read_request_line(self._request_line + data)
        elif self._is_between_messages():
            data = self._read_audio(data)
        if data:
            super().data_received(data)

    def process_event(self, event: Event) -> None:
        """The client's next frame."""
        self.heard_at = self.loop.time()
        if isinstance(event, Frame) and event.opcode is Opcode.BINARY and event.fin:
            assert isinstance(event.data, bytes)
            self._hand_on(self._hold(event.data))
        else:
            self._release()
            super().process_event(event)

    def _is_between_messages(self) -> bool:
        """Whether the library has nothing half read: its parser waits for the first byte of a message."""
        protocol = self.protocol
        if protocol.state is not OPEN or protocol.cur_size is not None or protocol.reader.buffer:
            return False
        parser: Any = protocol.parser
        frames = parser.gi_yieldfrom
        waits_in = None if frames is None else frames.gi_yieldfrom
        return waits_in is not None and waits_in.gi_code is _WAITS_FOR_A_FRAME

    def _read_audio(self, data: bytes) -> bytes:
        """Take the messages of audio that it begins with; what is left, for the library to read."""
        self.heard_at = self.loop.time()
        begin, most, due = 0, self.protocol.max_size or 0, list[bytes]()
        while (message := audio_message(data, begin, most)) is not None:
            audio, begin = message
            due += self._hold(audio)
        self._hand_on(due)
        return data[begin:] if begin else data

    def _hold(self, audio: bytes) -> list[bytes]:
        """What waits no longer, now that this message is here too."""
        due = self._holding.audio(audio, self.heard_at)
        if not due and self._hold_timer is None:
            self._hold_timer = self.loop.call_later(_HOLD_SECONDS, self._look_at_held)
        return due

    def _hand_on(self, messages: list[bytes]) -> None:
        taken = 0
        if messages and self.take is not None and not self.recv_messages.frames.queue:
            taken = self.take(messages)
        for audio in messages[taken:]:
            self.recv_messages.put(Frame(Opcode.BINARY, audio))

    def pause_writing(self) -> None:
        """The write buffer is full."""
        super().pause_writing()
        self._stuck_since = self.loop.time()
        self._unread = self._bytes_unread()

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        self._stuck_since = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more; nobody waits for the client to read."""
        self._release()  # it was received
        if self._hold_timer is not None:
            self._hold_timer.cancel()
        super().connection_lost(exc)
        self._stuck_since = None
        self._on_leaving(self)

    def _release(self) -> None:
        self._hand_on(self._holding.release())

    def _look_at_held(self) -> None:
        left = self._holding.left(self.loop.time())
        if left is not None and left <= 0:
            self._release()
            left = None
        self._hold_timer = None if left is None else self.loop.call_later(left, self._look_at_held)

    def _bytes_unread(self) -> int:
        """What waits for the client, here and in the kernel; the latter is known on Linux only."""
        waiting = self.transport.get_write_buffer_size()
        with suppress(OSError, ValueError):  # it has just been lost; or another system
            number = self.transport.get_extra_info("socket").fileno()
            waiting += struct.unpack("i", fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)))[0]
        return waiting

    # ---- the request line

    def _read_request_line(self, data: bytes) -> bytes:
        """What the library may read: nothing yet, or the request, as HTTP/1.1 if it came as HTTP/1.0."""
        line, complete, rest = data.partition(b"\r\n")
        if not complete and data[:1].isupper() and len(data) <= _MAX_REQUEST_LINE:
            self._request_line = data
            return b""
        self._request_line = None
        words = line.split(b" ")
        if not complete or len(words) != 3 or words[2] not in _VERSIONS:
            return self._refuse(http.HTTPStatus.BAD_REQUEST, "This is a WebSocket server, and that was not HTTP.")
        if words[0] == b"POST":
            self._reader = RequestReader()
            return self._read_post(self._reader, data)
        if words[0] != b"GET":
            return self._refuse(http.HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and POST are answered here.")
        return b"GET " + words[1] + b" HTTP/1.1\r\n" + rest

    def _read_post(self, reader: RequestReader, data: bytes) -> bytes:
        if self._answered:
            return b""
        try:
            request = reader.feed(data)
        except RequestRefused as refused:
            self._answer(Answer(refused.status, msgspec.json.encode({"detail": str(refused)})))
            return b""
        if request is not None:
            self._answer(self._respond(request, self.address))
        elif reader.wants_go_ahead and not self._told_to_go_ahead:
            self._told_to_go_ahead = True
            self.transport.write(plain_http.GO_AHEAD)
        return b""

    def _answer(self, answer: Answer) -> None:
        """Say the last word, and let the client close.

        Were we to close while it still sends, its kernel would take our answer away from it. If it does not close, the
        handshake's time runs out.
        """
        self._answered = True
        self.transport.write(plain_http.response(answer))
        self.transport.write_eof()

    def _refuse(self, status: http.HTTPStatus, text: str) -> bytes:
        response = self.protocol.reject(status, text + "\n")
        if status is http.HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = "GET, POST"
        self.transport.write(response.serialize())
        self.transport.close()
        return b""
