"""Ports that several processes listen on: held by the parent, which never listens, so that they stay ours."""

from __future__ import annotations

import os
import socket
import sys

from transport.front_door import CannotListen, reason
from transport.settings import Settings

# Linux spreads new connections evenly over all who listen; elsewhere the last one gets them, or the option is unknown.
BALANCED = sys.platform == "linux"


def worker_count(settings: Settings) -> int:
    """How many processes are to serve."""
    if settings.server.workers is not None:
        return settings.server.workers
    if not BALANCED or settings.journal.store == "memory":
        return 1
    return len(os.sched_getaffinity(0))


def reserve(host: str, port: int) -> tuple[int, list[socket.socket]]:
    """Bind an address for whoever shares it, and return the port, and what holds it.

    Args:
        port: 0 lets the system pick one.

    Raises:
        CannotListen: it is taken, unknown, or not this machine's.
    """
    held: list[socket.socket] = []
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            at = (address[0], port, *address[2:])
            if port:
                _try(family, kind, protocol, at)
            holder = socket.socket(family, kind, protocol)
            held.append(holder)
            if family == socket.AF_INET6:
                holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(at)
            port = holder.getsockname()[1]
    except OSError as exc:
        for holder in held:
            holder.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {reason(exc)}") from exc
    return port, held


def _try(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> None:
    """Without the option a bind fails where another server shares its port: it would let us take half its clients."""
    with socket.socket(family, kind, protocol) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
