"""The ports of several processes: bound by the parent, who never accepts, so that they stay ours."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Container
from contextlib import suppress

import msgspec

from transport.listener import CannotListen, bind, reason
from transport.settings import Settings

# gRPC opens its own sockets. On Linux several processes may, and the system spreads connections evenly over them;
# elsewhere the last one gets all.
BALANCED = sys.platform == "linux"
SHARED = sys.platform != "win32"  # whether sockets can be handed to a process

_replace = msgspec.structs.replace
_Sockets = dict[tuple[str, int], list[socket.socket]]  # by host and port


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
    """Holds the addresses that clients connect to, whichever process accepts them."""

    def __init__(self) -> None:
        self._shared: _Sockets = {}  # handed to the processes
        self._reserved: _Sockets = {}  # never listened on: gRPC's

    def hold(self, settings: Settings) -> Settings:
        """Bind what is not held yet; the settings with the ports that were picked for 0.

        Raises:
            CannotListen: an address is taken, unknown, or not this machine's. What was held still is.
        """
        before = {*self._shared, *self._reserved}
        host, dialects = settings.server.host, settings.dialects
        try:
            port = self._share(host, settings.server.port)
            vosk = None if dialects.vosk_port is None else self._share(host, dialects.vosk_port)
            riva = None if dialects.riva_port is None else self._reserve(host, dialects.riva_port)
        except CannotListen:
            self._keep(before)
            raise
        return _replace(
            settings,
            server=_replace(settings.server, port=port),
            dialects=_replace(dialects, vosk_port=vosk, riva_port=riva),
        )

    def let_go(self, settings: Settings) -> None:
        """Hold no more than these settings name."""
        ports = (settings.server.port, settings.dialects.vosk_port, settings.dialects.riva_port)
        self._keep({(settings.server.host, port) for port in ports if port is not None})

    def descriptors(self) -> dict[int, tuple[int, ...]]:
        """Of the sockets to accept from, by port."""
        return {port: tuple(one.fileno() for one in sockets) for (_, port), sockets in self._shared.items()}

    def refuse(self) -> None:
        """Refuse new clients, who would wait for one that accepts them; until somebody listens again."""
        for sockets in self._shared.values():
            for one in sockets:
                with suppress(OSError):  # nobody has listened yet
                    one.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Hold nothing."""
        self._keep(())

    def _share(self, host: str, port: int) -> int:
        if (host, port) in self._shared:
            return port
        bound = bind(host, port)
        port = bound[0].getsockname()[1]
        self._shared[host, port] = bound
        return port

    def _reserve(self, host: str, port: int) -> int:
        if (host, port) in self._reserved:
            return port
        reserved = reserve(host, port)
        port = reserved[0].getsockname()[1]
        self._reserved[host, port] = reserved
        return port

    def _keep(self, wanted: Container[tuple[str, int]]) -> None:
        for held in (self._shared, self._reserved):
            for address in [each for each in held if each not in wanted]:
                for one in held.pop(address):
                    one.close()


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
