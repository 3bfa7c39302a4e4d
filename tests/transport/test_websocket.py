"""A client's socket: how it is known whether the client reads, and which of its messages wait for one another."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from transport.websocket import ClientSocket
from transport.wire.port import Answer, Request

pytestmark = pytest.mark.anyio

MESSAGE = "x" * 500
WRITE_LIMIT = 16 * 1024


def unasked(request: Request) -> Answer:
    raise AssertionError(f"nobody posts here: {request}")


class Told:
    """A server that tells its client the same again and again, and the client, which reads by hand."""

    def __init__(self, server: ClientSocket, client: socket.socket) -> None:
        self.server = server
        self.messages = 0
        self._client = client

    async def talk(self) -> None:
        """Tell the client things for ever."""
        while True:
            await self.server.send(MESSAGE)
            self.messages += 1

    async def stuck(self) -> None:
        """Wait until nothing more goes out."""
        before = -1
        while before != self.messages:
            before = self.messages
            await asyncio.sleep(0.1)

    async def read_until_seen(self, now: float) -> None:
        """Let the client read on until the server knows of it."""
        while self.server.stuck_for(now) > 0:
            await asyncio.get_running_loop().sock_recv(self._client, 1024)


@asynccontextmanager
async def told() -> AsyncIterator[Told]:
    over = asyncio.Event()
    served: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def handle(server: ServerConnection) -> None:
        served.put_nowait(server)
        await over.wait()
        server.transport.abort()

    options = {"compression": None, "write_limit": WRITE_LIMIT, "ping_interval": None}
    async with serve(
        handle, "127.0.0.1", 0, create_connection=partial(ClientSocket, respond=unasked), **options
    ) as listener:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, listener.sockets[0].getsockname())
        key = base64.b64encode(os.urandom(16)).decode()
        await loop.sock_sendall(
            client,
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
        )
        server = await served.get()
        assert isinstance(server, ClientSocket)
        told = Told(server, client)
        talking = asyncio.create_task(told.talk())
        try:
            yield told
        finally:
            talking.cancel()
            client.close()
            over.set()


async def test_what_a_client_leaves_unread_is_bounded_by_not_much_more_than_the_write_buffer() -> None:
    async with asyncio.timeout(30), told() as talk:
        await talk.stuck()
        assert talk.messages * len(MESSAGE) < 4 * WRITE_LIMIT


async def test_a_client_that_reads_nothing_is_stuck_for_longer_and_longer() -> None:
    async with asyncio.timeout(30), told() as talk:
        await talk.stuck()
        now = asyncio.get_running_loop().time()
        talk.server.stuck_for(now)  # what its kernel still took in is seen now
        assert [talk.server.stuck_for(now + later) for later in (10, 1000)] == pytest.approx([10, 1000], abs=5)


async def test_a_client_that_reads_a_little_is_not_stuck_though_the_buffer_stays_full() -> None:
    async with asyncio.timeout(30), told() as talk:
        await talk.stuck()
        later = asyncio.get_running_loop().time() + 1000
        talk.server.stuck_for(later - 900)
        await talk.read_until_seen(later)
        assert talk.server.stuck_for(later + 500) <= 500 + 1e-6  # the clock is a float
        assert talk.messages * len(MESSAGE) < 4 * WRITE_LIMIT  # there was no room for more yet


async def test_a_client_that_is_lost_while_it_read_nothing_waits_for_nothing_more() -> None:
    async with asyncio.timeout(30), told() as talk:
        await talk.stuck()
        now = asyncio.get_running_loop().time()
        talk.server.stuck_for(now)  # what its kernel still took in is seen now
        assert talk.server.stuck_for(now + 1000) > 0
        talk.server.transport.abort()
        await talk.server.wait_closed()
        assert talk.server.stuck_for(now + 2000) == 0
        assert talk.server.transport.get_write_buffer_size() == 0


# ---- short messages of audio

AUDIO = [bytes([number]) * 640 for number in range(1, 8)]


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ClientSocket, ClientConnection]]:
    """A client and its socket, which lets audio wait for 3,200 bytes."""
    over = asyncio.Event()
    served: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def handle(server: ServerConnection) -> None:
        served.put_nowait(server)
        await over.wait()

    make = partial(ClientSocket, respond=unasked)
    async with serve(handle, "127.0.0.1", 0, create_connection=make, ping_interval=None) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with asyncio.timeout(30), connect(f"ws://127.0.0.1:{port}/", compression=None) as client:
            server = await served.get()
            assert isinstance(server, ClientSocket)
            server.gather(3200)
            try:
                yield server, client
            finally:
                over.set()


async def test_short_messages_of_audio_come_together_and_unchanged() -> None:
    async with connected() as (server, client):
        for audio in AUDIO[:5]:
            await client.send(audio)
        came = [await server.recv()]
        while server.has_more:
            came.append(await server.recv())
        assert came == AUDIO[:5]


@pytest.mark.parametrize("follows", ["text", "close", "lost", "nothing", "a message in pieces"])
async def test_audio_that_waits_comes_before_whatever_follows_it(follows: str) -> None:
    async with connected() as (server, client):
        await client.send(AUDIO[0])
        await client.send(AUDIO[1])
        match follows:
            case "text":
                await client.send("stop")
            case "close":
                await client.close()
            case "lost":
                client.transport.close()
            case "a message in pieces":
                await client.send([b"a", b"b"])
        assert [await server.recv(), await server.recv()] == AUDIO[:2]
        match follows:
            case "text":
                assert not server.has_more
                assert await server.recv() == "stop"
            case "close" | "lost":
                with pytest.raises(ConnectionClosed):
                    await server.recv()
            case "a message in pieces":
                assert await server.recv() == b"ab"


async def test_no_audio_waits_once_a_client_waits_for_answers() -> None:
    async with connected() as (server, client):
        server.gather(0)
        await client.send(AUDIO[0])
        assert await server.recv() == AUDIO[0]
        assert server._hold_timer is None


# ---- messages in whatever pieces the network makes of them

MIXED = [
    (Frame(Opcode.BINARY, b"a" * 640), b"a" * 640),
    (Frame(Opcode.PING, b"are you there"), None),
    (Frame(Opcode.BINARY, b"b" * 126), b"b" * 126),
    (Frame(Opcode.TEXT, b"text"), "text"),
    (Frame(Opcode.BINARY, b"in ", fin=False), None),
    (Frame(Opcode.PING, b"between"), None),
    (Frame(Opcode.CONT, b"pieces"), b"in pieces"),
    (Frame(Opcode.BINARY, b""), b""),
    (Frame(Opcode.BINARY, b"c" * 70_000), b"c" * 70_000),
    (Frame(Opcode.BINARY, b"d" * 3200), b"d" * 3200),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 650, 1460, 100_000])
async def test_messages_come_the_same_however_they_are_cut(size: int) -> None:
    sent = b"".join(frame.serialize(mask=True) for frame, _ in MIXED)
    expected = [message for _, message in MIXED if message is not None]
    async with connected() as (server, _):
        server.gather(0)
        for begin in range(0, len(sent), size):
            server.data_received(sent[begin : begin + size])
        assert [await server.recv() for _ in expected] == expected


@pytest.mark.parametrize(
    "broken",
    [
        Frame(Opcode.CONT, b"of nothing").serialize(mask=True),
        Frame(Opcode.BINARY, b"not masked").serialize(mask=False),
        Frame(Opcode.BINARY, b"too big" * 200_000).serialize(mask=True),
        b"\xc2" + Frame(Opcode.BINARY, b"packed").serialize(mask=True)[1:],
    ],
    ids=["of nothing", "not masked", "too big", "packed"],
)
async def test_audio_before_a_broken_frame_comes_and_then_the_connection_ends(broken: bytes) -> None:
    async with connected() as (server, client):
        server.data_received(Frame(Opcode.BINARY, AUDIO[0]).serialize(mask=True) + broken)
        assert await server.recv() == AUDIO[0]
        with pytest.raises(ConnectionClosed):
            await server.recv()
        with pytest.raises(ConnectionClosed):
            await client.recv()


async def test_a_binary_message_within_one_in_pieces_ends_the_connection() -> None:
    pieces = Frame(Opcode.BINARY, b"in ", fin=False), Frame(Opcode.BINARY, b"another")
    async with connected() as (server, _):
        for piece in pieces:
            server.data_received(piece.serialize(mask=True))
        with pytest.raises(ConnectionClosed):
            await server.recv()
