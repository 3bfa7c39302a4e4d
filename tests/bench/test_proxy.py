"""What the proxy does to connections between a real client and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from bench.proxy import Line, Proxy, Tripwire

pytestmark = pytest.mark.anyio
DEADLINE = 10.0  # seconds; nothing here takes one


class Echo(asyncio.Protocol):
    """A connection at the server: sends back what it gets."""

    def __init__(self, server: EchoServer) -> None:
        self.server = server
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.append(self)
        self.server.changed.set()

    def data_received(self, data: bytes) -> None:
        self.server.got.append(data)
        self.transport.write(data)
        self.server.changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.server.lost.append(error)
        self.server.changed.set()


class EchoServer:
    def __init__(self) -> None:
        self.connections: list[Echo] = []
        self.got: list[bytes] = []
        self.lost: list[Exception | None] = []
        self.changed = asyncio.Event()

    async def until_connected(self, times: int) -> None:
        while len(self.connections) < times:
            self.changed.clear()
            await self.changed.wait()

    async def until_got(self, data: bytes) -> None:
        while b"".join(self.got) != data:
            self.changed.clear()
            await self.changed.wait()

    async def until_lost(self) -> None:
        while not self.lost:
            self.changed.clear()
            await self.changed.wait()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.read = reader.read
        self.read_all = reader.readexactly
        self.write = writer.write
        self.close = writer.close


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server() -> EchoServer:
    return EchoServer()


@asynccontextmanager
async def proxy_before(server: EchoServer, *, window: int | None = None) -> AsyncIterator[Proxy]:
    listener = await asyncio.get_running_loop().create_server(lambda: Echo(server), "127.0.0.1", 0)
    proxy = Proxy(target=listener.sockets[0].getsockname()[1], window=window)
    await proxy.open()
    try:
        with anyio.fail_after(DEADLINE):
            yield proxy
    finally:
        await proxy.close()
        listener.close()


@pytest.fixture
async def proxy(server: EchoServer) -> AsyncGenerator[Proxy, None]:
    async with proxy_before(server) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def test_bytes_pass_both_ways_and_an_end_reaches_the_other_side(server: EchoServer, proxy: Proxy) -> None:
    async with connected(proxy) as client:
        client.write(b"hello")
        assert await client.read_all(5) == b"hello"
    await server.until_lost()
    assert server.lost == [None]


async def test_the_servers_end_reaches_the_client_behind_its_last_bytes(server: EchoServer, proxy: Proxy) -> None:
    proxy.down = Line(latency=0.02)
    async with connected(proxy) as client:
        client.write(b"a")
        await server.until_got(b"a")
        server.connections[0].transport.close()
        assert await client.read() == b"a"


async def test_a_server_that_does_not_listen_ends_the_connection() -> None:
    proxy = Proxy(target=1)
    await proxy.open()
    async with connected(proxy) as client:
        assert await client.read() == b""
    await proxy.close()


async def test_latency_holds_bytes_back_in_its_direction_only(server: EchoServer, proxy: Proxy) -> None:
    proxy.down = Line(latency=0.05)
    loop = asyncio.get_running_loop()
    async with connected(proxy) as client:
        client.write(b"a")
        await server.until_got(b"a")
        arrived = loop.time()
        assert await client.read_all(1) == b"a"
        assert loop.time() - arrived >= 0.045


async def test_a_narrow_line_takes_its_time_and_keeps_the_order(server: EchoServer, proxy: Proxy) -> None:
    proxy.up = Line(rate=10_000)
    sent = bytes(range(200)) * 5
    began = asyncio.get_running_loop().time()
    async with connected(proxy) as client:
        client.write(sent)
        assert await client.read_all(1000) == sent
    assert asyncio.get_running_loop().time() - began >= 0.095


async def test_a_narrow_line_slows_a_server_down_whose_client_is_behind(server: EchoServer) -> None:
    async with proxy_before(server, window=4096) as proxy:
        proxy.down = Line(rate=20_000)
        async with connected(proxy) as client:
            client.write(b"a")
            assert await client.read_all(1) == b"a"
            transport = server.connections[0].transport
            transport.write(bytes(8_000_000))
            assert await client.read_all(100) == bytes(100)
            assert transport.get_write_buffer_size() > 1_000_000


async def test_a_message_can_be_cut_into_pieces(server: EchoServer, proxy: Proxy) -> None:
    proxy.up = Line(piece=1, rate=200)
    async with connected(proxy) as client:
        client.write(b"abcdef")
        await server.until_got(b"abcdef")
    assert len(server.got) > 1


async def test_a_cut_ends_both_sides(server: EchoServer, proxy: Proxy) -> None:
    async with connected(proxy) as client:
        client.write(b"a")
        await client.read_all(1)
        proxy.cut()
        assert await client.read() == b""
        await server.until_lost()
    assert server.lost == [None]


async def test_a_reset_is_one_for_both_sides(server: EchoServer, proxy: Proxy) -> None:
    async with connected(proxy) as client:
        client.write(b"a")
        await client.read_all(1)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await client.read()
        await server.until_lost()
    assert [type(error) for error in server.lost] == [ConnectionResetError]


async def test_a_half_open_connection_takes_everything_and_answers_nothing(server: EchoServer, proxy: Proxy) -> None:
    async with connected(proxy) as old:
        old.write(b"a")
        await old.read_all(1)
        proxy.half_open()
        old.write(b"b")
        async with connected(proxy) as new:
            new.write(b"c")
            await server.until_got(b"abc")
            server.connections[0].transport.close()
            await server.until_lost()
            proxy.cut()
            assert (await old.read(), await new.read()) == (b"", b"")


async def test_one_peer_alone_can_be_made_half_open(server: EchoServer, proxy: Proxy) -> None:
    async with connected(proxy) as mute, connected(proxy) as other:
        mute.write(b"a")
        await mute.read_all(1)
        host, port = server.connections[0].transport.get_extra_info("peername")
        proxy.half_open(f"ipv4:{host}:{port}")
        mute.write(b"b")
        await server.until_got(b"ab")
        other.write(b"c")
        assert await other.read_all(1) == b"c"
        proxy.cut()
        assert await mute.read() == b""


async def test_a_black_hole_swallows_old_and_new_connections_until_it_is_healed(
    server: EchoServer, proxy: Proxy
) -> None:
    async with connected(proxy) as old:
        old.write(b"a")
        await old.read_all(1)
        proxy.blackhole()
        old.write(b"lost")
        async with connected(proxy) as new:
            new.write(b"lost too")
            await server.until_connected(2)
            proxy.heal()
            async with connected(proxy) as healed:
                old.write(b"still lost")
                healed.write(b"b")
                assert await healed.read_all(1) == b"b"
    assert b"".join(server.got) == b"ab"


@pytest.mark.parametrize(("arrives", "read"), [(True, b"ready"), (False, b"")])
async def test_a_tripwire_cuts_as_many_connections_as_it_is_told(
    server: EchoServer, proxy: Proxy, arrives: bool, read: bytes
) -> None:
    proxy.tripwire = Tripwire(b"ready", arrives=arrives, times=1)
    async with connected(proxy) as client:
        client.write(b"ready")
        assert await client.read() == read
        assert await client.read() == b""
    async with connected(proxy) as client:
        client.write(b"ready")
        assert await client.read_all(5) == b"ready"


async def test_a_network_that_was_away_is_back_at_the_same_port(server: EchoServer, proxy: Proxy) -> None:
    async with connected(proxy) as client:
        await server.until_connected(1)
        await proxy.close()
        assert await client.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.open()
    async with connected(proxy) as client:
        client.write(b"a")
        assert await client.read_all(1) == b"a"
