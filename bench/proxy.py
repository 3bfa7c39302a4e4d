"""A TCP proxy whose connections can be slowed down, cut, reset, made half open or swallowed, while it runs.

What a TCP proxy cannot do is keep the kernels at both ends from acknowledging. A black hole here takes what is sent and
passes nothing on: who waits for answers waits for ever, who only writes notices nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import cast

import msgspec

HELD = 256 * 1024  # bytes of one direction that wait here at most, about; then the sender is not read on
SEGMENT = 1400  # bytes; loopback's 64 KiB make a server's kernel buffer megabytes for a client that reads nothing
BACKLOG = 4096  # connections that wait to be accepted; thousands come back at once
TURN = 0.05  # seconds' worth of bytes that a narrow line passes on together


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """How bytes travel in one direction.

    Attributes:
        latency: seconds.
        rate: bytes a second; None: as many as come.
        piece: bytes that are passed on together at most; None: as they came.
    """

    latency: float = 0.0
    rate: float | None = None
    piece: int | None = None


class Hole(Enum):
    """What is passed on no more."""

    ANSWERS = "answers"  # half open: what clients send arrives, what the server sends does not
    EVERYTHING = "everything"


DIRECT = Line()


class Tripwire(msgspec.Struct):
    """Cuts a connection as soon as the server says something, which arrives or not.

    Attributes:
        text: what it says.
        arrives: whether the client still gets it; what it answers then leads nowhere.
        times: on how many connections, one after the other.
    """

    text: bytes
    arrives: bool
    times: int


class Proxy:
    """Passes connections on while it is open.

    Args:
        port: 0 lets the system pick one.
        target: the loopback port that new connections lead to.
        window: bytes that wait in the kernel for a client who does not read, about, and packets of an Ethernet's size;
            None: the system's default.

    Attributes:
        port: where it listens.
        up, down: how bytes travel to the server and to the client, on all connections.
        hole: what is swallowed on connections that are made from now on; None: nothing.
        tripwire: cuts connections; None: nothing does.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, target: int = 0, window: int | None = None) -> None:
        self.port = port
        self.target = target
        self.window = window
        self.up = self.down = DIRECT
        self.hole: Hole | None = None
        self.tripwire: Tripwire | None = None
        self._host = host
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the port cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connected, self._host, self.port, backlog=BACKLOG)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and drop every connection."""
        if self._listener is not None:
            self._listener.close()
            self.cut()
            await self._listener.wait_closed()

    def half_open(self, peer: str | None = None) -> None:
        """Pass no answer on any more: to one peer, or on all connections there are and will be.

        Args:
            peer: `ipv4:127.0.0.1:PORT`, as the server's gRPC knows it.
        """
        if peer is None:
            self._swallow(Hole.ANSWERS)
        for connection in self._connections:
            if peer is not None and connection.inner_port == int(peer.rpartition(":")[2]):
                connection.swallow(Hole.ANSWERS)

    def blackhole(self) -> None:
        """Pass nothing on any more, on all connections there are and will be."""
        self._swallow(Hole.EVERYTHING)

    def heal(self) -> None:
        """Carry new connections directly. Those that were swallowed have a hole in them, and stay as they are."""
        self.hole = None
        self.up = self.down = DIRECT

    def cut(self) -> None:
        """Close every connection at both ends; what was on its way is lost."""
        for connection in tuple(self._connections):
            connection.drop()

    def reset(self) -> None:
        """The same with RST in the place of FIN, as of a host that has forgotten the connection."""
        for connection in tuple(self._connections):
            connection.drop(reset=True)

    def _swallow(self, hole: Hole) -> None:
        self.hole = hole
        for connection in self._connections:
            connection.swallow(hole)

    def _connected(self) -> _End:
        connection = _Connection(self, self._connections)
        if self.hole is not None:
            connection.swallow(self.hole)
        return connection.outer


class _Connection:
    """A client's connection, and the one that leads on to the server."""

    def __init__(self, proxy: Proxy, connections: set[_Connection]) -> None:
        self.up, self.down = _Pipe(lambda: proxy.up), _Pipe(lambda: proxy.down, self._tripped)
        self.outer = _End(self.up, self.down, self._made, self._lost)
        self.inner_port = 0
        self._proxy = proxy
        self._connections = connections
        self._connecting: asyncio.Task[None] | None = None
        connections.add(self)

    def swallow(self, hole: Hole) -> None:
        self.down.is_mute = True
        self.up.is_mute = self.up.is_mute or hole is Hole.EVERYTHING

    def drop(self, *, reset: bool = False) -> None:
        self._connections.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        self.up.abort(reset=reset)
        self.down.abort(reset=reset)

    def _tripped(self, data: bytes) -> bool:
        """Whether the tripwire cuts this connection now."""
        wire = self._proxy.tripwire
        if wire is None or wire.times == 0 or wire.text not in data:
            return False
        wire.times -= 1
        if wire.arrives and self.down.sink is not None:
            self.down.sink.write(data)
            self.down.sink.close()
            self.up.abort(reset=False)
        else:
            self.drop()
        return True

    def _made(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def _lost(self) -> None:
        if self.up.sink is None and self.down.sink is None:
            self.drop()

    async def _connect(self) -> None:
        try:
            inner = await self._reached()
        except OSError:
            self.drop()
            return
        self.inner_port = inner.getsockname()[1]
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: _End(self.down, self.up, lambda: None, self._lost), sock=inner)

    async def _reached(self) -> socket.socket:
        inner = socket.socket()
        try:
            if self._proxy.window is not None:  # the server is told with the first packet
                inner.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._proxy.window)
                inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
            inner.setblocking(False)
            await asyncio.get_running_loop().sock_connect(inner, ("127.0.0.1", self._proxy.target))
        except BaseException:
            inner.close()
            raise
        return inner


class _Pipe:
    """One direction: what comes in at the source goes out at the sink when its time has come."""

    def __init__(self, line: Callable[[], Line], tripped: Callable[[bytes], bool] = lambda data: False) -> None:
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.is_mute = False
        self._line = line
        self._tripped = tripped
        self._waiting: deque[tuple[float, bytes]] = deque()  # each with the time at which it is due
        self._held = 0  # bytes of them
        self._free_at = 0.0  # when a narrow line has carried what it was given
        self._is_full = False  # the sink takes no more
        self._is_paused = False
        self._is_ending = False
        self._timer: asyncio.TimerHandle | None = None

    def carry(self, data: bytes) -> None:
        """Something came in at the source."""
        line = self._line()
        if self.is_mute or self.sink is None or self._tripped(data):
            return
        if line == DIRECT and not self._waiting:
            self.sink.write(data)
            return
        now = asyncio.get_running_loop().time()
        for piece in _pieces(data, line):
            self._free_at = max(now, self._free_at) + (len(piece) / line.rate if line.rate is not None else 0.0)
            due = max(self._free_at + line.latency, self._waiting[-1][0] if self._waiting else 0.0)
            self._waiting.append((due, piece))
        self._held += len(data)
        self._deliver()

    def full(self, is_full: bool) -> None:
        """The sink takes no more, or takes some again."""
        self._is_full = is_full
        self.look()

    def look(self) -> None:
        """Read from the source while there is room, and a sink."""
        line = self._line()
        room = HELD if line.rate is None else line.rate  # of a narrow line, a second's worth
        pause = self.sink is None or self._is_full or self._held > room
        if self.source is not None and pause != self._is_paused:
            self._is_paused = pause
            (self.source.pause_reading if pause else self.source.resume_reading)()

    def end(self) -> None:
        """Nothing more comes in: close the sink when it has all. Behind a hole nobody is told."""
        self._is_ending = True
        if not self._waiting and self.sink is not None and not self.is_mute:
            self.sink.close()

    def abort(self, *, reset: bool) -> None:
        """Close the sink now."""
        if self._timer is not None:
            self._timer.cancel()
        if self.sink is None:
            return
        if reset:
            at_once = struct.pack("ii", 1, 0)  # no lingering, upon which the kernel sends RST
            self.sink.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.sink.abort()

    def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, piece = self._waiting.popleft()
            self._held -= len(piece)
            if self.sink is not None and not self.is_mute:
                self.sink.write(piece)
        self.look()
        self._timer = loop.call_at(self._waiting[0][0], self._deliver) if self._waiting else None
        if self._is_ending:
            self.end()


class _End(asyncio.Protocol):
    """One end of a connection: the source of one pipe, the sink of the other."""

    def __init__(self, into: _Pipe, out_of: _Pipe, on_made: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._into = into
        self._out_of = out_of
        self._on_made = on_made
        self._on_lost = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._into.source = self._out_of.sink = cast(asyncio.Transport, transport)
        self._into.look()
        self._out_of.look()
        self._on_made()

    def data_received(self, data: bytes) -> None:
        self._into.carry(data)

    def pause_writing(self) -> None:
        self._out_of.full(True)

    def resume_writing(self) -> None:
        self._out_of.full(False)

    def connection_lost(self, error: Exception | None) -> None:
        self._into.source = self._out_of.sink = None
        self._into.end()
        self._on_lost()


def _pieces(data: bytes, line: Line) -> Iterator[bytes]:
    size = min(line.piece or len(data), len(data) if line.rate is None else max(1, int(line.rate * TURN)))
    return (data[start : start + size] for start in range(0, len(data), size))
