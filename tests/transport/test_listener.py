"""Listening with real sockets: addresses bound, connections accepted in turn, and what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from transport import listener
from transport.listener import CannotListen, Listener, Turn, bind

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Greeter(asyncio.Protocol):
    """Says who it is, and goes."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._name)
        transport.close()


class Fixed:
    """Always the same turn."""

    def __init__(self, *turn: float | int) -> None:
        self.turn = Turn(float(turn[0]), int(turn[1]))
        self.calls: list[str] = []

    def take(self, held: int) -> Turn:
        self.calls.append(f"take {held}")
        return self.turn

    def present(self, held: int) -> None:
        self.calls.append(f"present {held}")

    def absent(self) -> None:
        self.calls.append("absent")


@asynccontextmanager
async def listening(
    *sockets: socket.socket, name: bytes = b"a", turns: Fixed | None = None, held: int = 0
) -> AsyncIterator[Listener]:
    one = Listener(sockets, lambda: Greeter(name), held=lambda: held, turns=turns)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        yield one
        one.close()
    await one.wait_closed()


async def greeting(port: int) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        heard = await reader.read()
        writer.close()
    return heard


async def test_who_has_fewer_gets_the_next_connection() -> None:
    [shared] = bind("127.0.0.1", 0)
    port = shared.getsockname()[1]
    async with (
        listening(shared.dup(), name=b"more", turns=Fixed(5.0, 1)),
        listening(shared.dup(), name=b"less", turns=Fixed(0.0, 1)),
    ):
        assert [await greeting(port) for _ in range(20)] == [b"less"] * 20
    shared.close()


async def test_who_has_more_takes_what_nobody_else_did() -> None:
    [shared] = bind("127.0.0.1", 0)
    turns = Fixed(0.01, 2)
    async with listening(shared.dup(), name=b"more", turns=turns, held=7):
        port = shared.getsockname()[1]
        assert await asyncio.gather(*(greeting(port) for _ in range(5))) == [b"more"] * 5
    shared.close()
    assert turns.calls[0] == "present 7"
    assert "take 7" in turns.calls
    assert turns.calls[-1] == "absent"


async def test_connections_wait_while_nobody_accepts_and_are_refused_once_it_is_shut_down() -> None:
    [shared] = bind("127.0.0.1", 0)
    port = shared.getsockname()[1]
    async with listening(shared.dup()):
        pass
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with listening(shared.dup(), name=b"successor"):
        assert await reader.read() == b"successor"
        writer.close()
        shared.shutdown(socket.SHUT_RD)
        with pytest.raises(ConnectionRefusedError):
            await greeting(port)
    async with listening(shared.dup(), name=b"again"):
        assert await greeting(port) == b"again"
    shared.close()


async def test_one_that_is_closed_no_longer_serves_and_has_let_its_sockets_go() -> None:
    [mine] = bind("127.0.0.1", 0)
    async with listening(mine) as one:
        assert one.is_serving()
        one.close()
        assert not one.is_serving()
        assert mine.fileno() == -1


async def test_without_file_descriptors_it_says_so_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scarce(socket.socket):
        """The first two accepts fail, as the kernel lets them. A process that has none left could not run this test."""

        fails = 2

        def accept(self) -> tuple[socket.socket, object]:
            if Scarce.fails:
                Scarce.fails -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.01)
    [bound] = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    told: list[str] = []
    one = Listener(
        [Scarce(fileno=bound.detach())], lambda: Greeter(b"a"), held=lambda: 0, on_exhausted=lambda: told.append("!")
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        assert await greeting(port) == b"a"
        assert told == ["!", "!"]
        one.close()


async def test_what_keeps_it_from_accepting_for_good_is_raised() -> None:
    class Broken(socket.socket):
        """No socket of the kernel's fails so; but what does must not leave a server that listens, and hears nobody."""

        def accept(self) -> tuple[socket.socket, object]:
            raise OSError(errno.EPROTO, "protocol error")

    [bound] = bind("127.0.0.1", 0)
    address = bound.getsockname()
    one = Listener([Broken(fileno=bound.detach())], lambda: Greeter(b"a"), held=lambda: 0)
    with socket.create_connection(address), pytest.raises(BaseExceptionGroup) as raised:
        await one.run()
    assert str(raised.value.exceptions[0]) == "[Errno 71] protocol error"
    one.close()


def test_both_addresses_of_a_name_get_the_same_port() -> None:
    bound = bind("localhost", 0)
    assert len({each.getsockname()[1] for each in bound}) == 1
    for each in bound:
        each.close()


def test_an_address_that_cannot_be_bound_is_named_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"^cannot listen on 127.0.0.1:{port}: address already in use$"):
            bind("127.0.0.1", port)
    with pytest.raises(CannotListen, match="the host name is unknown"):
        bind("nowhere.invalid", 0)
    with pytest.raises(CannotListen, match="cannot assign requested address"):
        bind("192.0.2.1", 0)
