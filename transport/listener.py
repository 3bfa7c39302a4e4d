"""Listens: binds addresses, and accepts connections, in turn with other processes that listen on the same sockets.

asyncio's own server is of no use here. It has one number for how many connections may wait to be accepted and for how
many it accepts in a row, tries the latter as often in a second when file descriptors have run out, and cannot leave a
connection to somebody else.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import anyio

from transport.expected import ExpectedError

# Connections that may wait to be accepted. A thousand clients that come back at once overrun the usual hundred, and the
# kernel lets whoever is dropped try again after 1, 3, 7, 15 s.
BACKLOG = 4096
RETRY_SECONDS = 1.0  # until one tries again that had no file descriptor left
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class CannotListen(ExpectedError):
    """The address could not be bound. Its text names host and port."""


class Tls(NamedTuple):
    """How connections are encrypted.

    Attributes:
        patience: seconds for the handshake.
        close: … and for the farewell.
    """

    context: ssl.SSLContext
    patience: float
    close: float


class Turn(NamedTuple):
    """What to do with connections that wait: leave them to others for some seconds, then accept so many at most."""

    leave: float
    most: int


class Turns(Protocol):
    """Several processes that accept from the same sockets: whose turn it is."""

    def take(self, held: int) -> Turn:
        """Somebody waits, and this process holds so many connections already."""
        ...

    def present(self, held: int) -> None:
        """This process is there, and holds so many. To be called every `PRESENT_SECONDS`."""
        ...

    def absent(self) -> None:
        """This process accepts no more."""
        ...


PRESENT_SECONDS = 0.1
_OWN = Turn(0.0, 1)


class Listener:
    """Accepts connections while `run` does; what websockets' server takes for an `asyncio.Server`.

    Args:
        sockets: bound, and closed in the end.
        connected: makes the protocol of a connection.
        held: how many connections there are.
        tls: encrypts; None: nothing does.
        turns: of the processes that accept from the same sockets; None: there is no other.
        on_exhausted: told when a connection could not be accepted for want of file descriptors or memory.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        connected: Callable[[], asyncio.BaseProtocol],
        *,
        held: Callable[[], int],
        tls: Tls | None = None,
        turns: Turns | None = None,
        on_exhausted: Callable[[], object] = lambda: None,
    ) -> None:
        self.sockets = tuple(sockets)
        self._connected = connected
        self._held = held
        self._tls = tls
        self._turns = turns
        self._on_exhausted = on_exhausted
        self._loop = asyncio.get_running_loop()
        self._scope = anyio.CancelScope()
        self._beginning: set[asyncio.Task[None]] = set()
        for each in self.sockets:
            each.setblocking(False)
            each.listen(BACKLOG)

    async def run(self) -> None:
        """Accept connections until it is closed.

        Raises:
            OSError: this is no longer possible.
        """
        with self._scope:
            async with anyio.create_task_group() as tasks:
                for each in self.sockets:
                    tasks.start_soon(self._accept, each)
                if self._turns is not None:
                    tasks.start_soon(self._stay, self._turns)

    def is_serving(self) -> bool:
        """Whether it is not closed."""
        return not self._scope.cancel_called

    def close(self) -> None:
        """Accept no more. Those that have been accepted go on."""
        if not self.is_serving():
            return
        self._scope.cancel()
        if self._turns is not None:
            self._turns.absent()
        for each in self.sockets:
            self._loop.remove_reader(each)
            each.close()

    async def wait_closed(self) -> None:
        """Return when no connection is between having been accepted and having a protocol."""
        while self._beginning:
            await asyncio.wait(self._beginning)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop it runs in."""
        return self._loop

    @property
    def _all(self) -> int:
        return self._held() + len(self._beginning)

    async def _stay(self, turns: Turns) -> None:
        while True:
            turns.present(self._all)
            await asyncio.sleep(PRESENT_SECONDS)

    async def _accept(self, listening: socket.socket) -> None:
        while self.is_serving():
            await self._somebody_waits(listening)
            turn = _OWN if self._turns is None else self._turns.take(self._all)
            if turn.leave:
                await asyncio.sleep(turn.leave)
            try:
                for _ in range(turn.most):
                    self._begin(listening.accept()[0])
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue  # somebody else has taken it, or it is gone
            except OSError as error:
                if error.errno == errno.EINVAL or not self.is_serving():
                    return  # who shares it has shut it down, since the whole server ends; or it is closed
                if error.errno not in _EXHAUSTED:
                    raise
                self._on_exhausted()
                await asyncio.sleep(RETRY_SECONDS)

    async def _somebody_waits(self, listening: socket.socket) -> None:
        waits = asyncio.Event()
        self._loop.add_reader(listening, waits.set)
        try:
            await waits.wait()
        finally:
            if listening.fileno() >= 0:
                self._loop.remove_reader(listening)

    def _begin(self, connection: socket.socket) -> None:
        task = asyncio.create_task(self._connect(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _connect(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        # Who goes away during a handshake, or does not speak TLS at all, is nobody's error.
        with suppress(OSError):
            await self._loop.connect_accepted_socket(
                self._connected,
                connection,
                ssl=None if self._tls is None else self._tls.context,
                ssl_handshake_timeout=None if self._tls is None else self._tls.patience,
                ssl_shutdown_timeout=None if self._tls is None else self._tls.close,
            )


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind an address, without listening yet; all sockets have the same port.

    Args:
        host: name or address; a name may have several.
        port: 0 lets the system pick one.

    Raises:
        CannotListen: it is taken, unknown, or not this machine's.
    """
    bound: list[socket.socket] = []
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        if not port:
            # Picked first and then asked for: a port that the system picks itself it also takes back by itself, as
            # when a socket is shut down that is listened on again later.
            with _bound(infos[0], 0) as picked:
                port = picked.getsockname()[1]
        bound += (_bound(info, port) for info in dict.fromkeys(infos))
    except OSError as exc:
        for each in bound:
            each.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {reason(exc)}") from exc
    return bound


_Info = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


def _bound(info: _Info, port: int) -> socket.socket:
    family, kind, protocol, _, address = info
    made = socket.socket(family, kind, protocol)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address[0], port, *address[2:]))
    except OSError:
        made.close()
        raise
    return made


def reason(exc: OSError) -> str:
    """Why an address cannot be listened on, in a few lower-case words."""
    if isinstance(exc, socket.gaierror):
        return f"the host name is unknown ({exc.strerror})"
    return os.strerror(exc.errno).lower() if exc.errno else str(exc)
