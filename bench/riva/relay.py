"""A TCP relay before the server whose connections can be made half open: gRPC cannot be told to say nothing."""

from __future__ import annotations

import asyncio
from typing import cast


class Relay:
    """Passes connections on while it is open.

    Attributes:
        port: where it listens; chosen by the system if it was 0.
        target: the loopback port that new connections lead to.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = port
        self.target = 0
        self._host = host
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the port cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connected, self._host, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and drop every connection."""
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        for connection in list(self._connections):
            connection.drop()

    def half_open(self, peer: str) -> None:
        """Let nothing more out to the connection that the server knows as this peer (`ipv4:127.0.0.1:PORT`)."""
        port = int(peer.rpartition(":")[2])
        for connection in self._connections:
            if connection.inner_port == port:
                connection.is_mute = True

    def _connected(self) -> _Outer:
        connection = _Connection(self._connections)
        return _Outer(connection, self.target)


class _Connection:
    """A client's connection, and the one that leads on to the server."""

    def __init__(self, connections: set[_Connection]) -> None:
        self.outer: asyncio.Transport | None = None
        self.inner: asyncio.Transport | None = None
        self.inner_port = 0
        self.is_mute = False
        self._connections = connections
        connections.add(self)

    def drop(self) -> None:
        self._connections.discard(self)
        for transport in (self.outer, self.inner):
            if transport is not None:
                transport.abort()


class _Outer(asyncio.Protocol):
    """The client's side."""

    def __init__(self, connection: _Connection, target: int) -> None:
        self._connection = connection
        self._target = target
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.outer = cast(asyncio.Transport, transport)
        self._connection.outer.pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if (inner := self._connection.inner) is not None and not inner.is_closing():
            inner.write(data)

    def pause_writing(self) -> None:
        if self._connection.inner is not None:
            self._connection.inner.pause_reading()

    def resume_writing(self) -> None:
        if self._connection.inner is not None:
            self._connection.inner.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.drop()

    async def _connect(self) -> None:
        assert self._connection.outer is not None
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: _Inner(self._connection), "127.0.0.1", self._target)
        except OSError:
            self._connection.drop()
        else:
            self._connection.outer.resume_reading()


class _Inner(asyncio.Protocol):
    """The server's side."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.inner = cast(asyncio.Transport, transport)
        self._connection.inner_port = self._connection.inner.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        if self._connection.outer is not None and not self._connection.is_mute:
            self._connection.outer.write(data)

    def pause_writing(self) -> None:
        if self._connection.outer is not None:
            self._connection.outer.pause_reading()

    def resume_writing(self) -> None:
        if self._connection.outer is not None:
            self._connection.outer.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._connection.is_mute:
            self._connection.drop()
