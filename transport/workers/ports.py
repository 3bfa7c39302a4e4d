"""The ports of several processes: bound by the parent, who never accepts, so that they stay ours."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from itertools import chain

import msgspec

from transport.listener import CannotListen, bind, reason
from transport.settings import Settings

# gRPC opens its own sockets. On Linux several processes may, and the system spreads connections evenly over them;
# elsewhere the last one gets all.
BALANCED = sys.platform == "linux"
SHARED = sys.platform != "win32"  # whether sockets can be handed to a process

_replace = msgspec.structs.replace


def cores() -> int:
    """How many there are for this process."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def worker_count(settings: Settings) -> int:
    """How many processes are to serve."""
    if settings.server.workers is not None:
        return settings.server.workers
    if not SHARED or settings.journal.store == "memory":
        return 1
    return cores()


class Ports:
    """Holds the addresses that clients connect to, whichever process accepts them.

    Attributes:
        settings: those given, with the ports that were picked for 0.

    Raises:
        CannotListen: an address is taken, unknown, or not this machine's.
    """

    def __init__(self, settings: Settings) -> None:
        self._shared: dict[int, list[socket.socket]] = {}  # handed to the processes
        self._reserved: list[socket.socket] = []  # never listened on: gRPC's
        server, dialects = settings.server, settings.dialects
        try:
            server = _replace(server, port=self._share(server.host, server.port))
            if dialects.vosk_port is not None:
                dialects = _replace(dialects, vosk_port=self._share(server.host, dialects.vosk_port))
            if dialects.riva_port is not None:
                self._reserved = reserve(server.host, dialects.riva_port)
                dialects = _replace(dialects, riva_port=self._reserved[0].getsockname()[1])
        except CannotListen:
            self.close()
            raise
        self.settings = _replace(settings, server=server, dialects=dialects)

    def descriptors(self) -> dict[int, tuple[int, ...]]:
        """Of the sockets to accept from, by port."""
        return {port: tuple(one.fileno() for one in sockets) for port, sockets in self._shared.items()}

    def refuse(self) -> None:
        """Refuse new clients, who would wait for one that accepts them; until somebody listens again."""
        for one in chain.from_iterable(self._shared.values()):
            with suppress(OSError):  # nobody has listened yet
                one.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Hold nothing."""
        for one in chain(self._reserved, *self._shared.values()):
            one.close()

    def _share(self, host: str, port: int) -> int:
        bound = bind(host, port)
        port = bound[0].getsockname()[1]
        self._shared[port] = bound
        return port


def reserve(host: str, port: int) -> list[socket.socket]:
    """Bind an address for processes that bind it as well, each with sockets of its own.

    Args:
        port: 0 lets the system pick one.

    Raises:
        CannotListen: it is taken, also by somebody who would share it, unknown, or not this machine's.
    """
    # First without sharing: with it, a bind succeeds beside another server's, which would let us take half its clients.
    bound = bind(host, port)
    reserved: list[socket.socket] = []
    try:
        for one in bound:
            address, family = one.getsockname(), one.family
            one.close()
            reserved.append(socket.socket(family, socket.SOCK_STREAM))
            if family == socket.AF_INET6:
                reserved[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            reserved[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved[-1].bind(address)
    except OSError as exc:
        for one in (*bound, *reserved):
            one.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {reason(exc)}") from exc
    return reserved
