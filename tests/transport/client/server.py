"""A server on a real socket that says just what a test wants, when it wants it."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from transport.wire.voxtree_v1_schema import ClientMessage, ServerMessage, StartMessage

_read = msgspec.json.Decoder(ClientMessage).decode


class Connection:
    """One client's connection, from the server's side.

    Attributes:
        path: what it asked for.
        start: how it began.
    """

    def __init__(self, socket: ServerConnection, start: StartMessage) -> None:
        self._socket = socket
        self.path = socket.request.path if socket.request is not None else ""
        self.headers = socket.request.headers if socket.request is not None else {}
        self.start = start
        self.over = asyncio.Event()

    async def say(self, *messages: ServerMessage | str) -> None:
        for message in messages:
            text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
            await self._socket.send(text)

    async def next(self) -> ClientMessage | bytes:
        """What the client sends next."""
        message = await self._socket.recv()
        return message if isinstance(message, bytes) else _read(message)

    async def audio(self, size: int) -> bytes:
        """So much audio, and nothing else."""
        audio = b""
        while len(audio) < size:
            message = await self.next()
            assert isinstance(message, bytes), message
            audio += message
        return audio

    async def rest(self) -> list[ClientMessage]:
        """All text until the client ends the connection."""
        messages = []
        try:
            while True:
                if not isinstance(message := await self.next(), bytes):
                    messages.append(message)
        except ConnectionClosed:
            return messages

    def cut(self) -> None:
        """End it as a network does."""
        self._socket.transport.abort()

    async def close(self, code: int = 1000) -> int | None:
        """End it in order; the code that the client answered with. 1006: it did not."""
        await self._socket.close(code)
        return self._socket.close_code


class ScriptedServer:
    """Hands each connection to the test, which plays the server: `await server.client()`."""

    def __init__(self) -> None:
        self._clients: asyncio.Queue[Connection] = asyncio.Queue()
        self._open: list[Connection] = []
        self._server: Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/transcribe"

    async def open(self) -> None:
        """Listen, where it listened before."""
        self._server = await serve(self._serve, "127.0.0.1", self._port, compression=None, ping_interval=None)
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    async def shut(self) -> None:
        """Let go of everything, and listen no more."""
        for connection in self._open:
            connection.cut()
            connection.over.set()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def client(self) -> Connection:
        """The next client that connects."""
        async with asyncio.timeout(10):
            return await self._clients.get()

    async def _serve(self, socket: ServerConnection) -> None:
        try:
            start: Any = _read(await socket.recv())
        except ConnectionClosed:
            return
        connection = Connection(socket, start)
        self._open.append(connection)
        self._clients.put_nowait(connection)
        closed = asyncio.ensure_future(socket.wait_closed())
        over = asyncio.ensure_future(connection.over.wait())
        await asyncio.wait([closed, over], return_when=asyncio.FIRST_COMPLETED)
        for task in (closed, over):
            task.cancel()
