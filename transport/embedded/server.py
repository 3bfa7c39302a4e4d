"""The embedded recogniser as a gRPC server: one process, one engine, one port or socket."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from riva.client.proto.health_pb2_grpc import add_HealthServicer_to_server
from riva.client.proto.riva_asr_pb2_grpc import add_RivaSpeechRecognitionServicer_to_server

from transport.embedded.engine import Engine
from transport.embedded.health import HealthService
from transport.embedded.scheduler import Scheduler
from transport.embedded.service import RivaService

STOP_GRACE = 1.0  # seconds for running calls to end by themselves; their audio can be replayed elsewhere
MAX_MESSAGE = 64 * 1024 * 1024  # bytes: half an hour of audio in a unary call
_UNIX = "unix:"
_SUN_PATH = 107  # bytes that fit into sockaddr_un.sun_path on Linux

_OPTIONS = [
    ("grpc.so_reuseport", 0),  # or a second server on the same port would start and take half of the calls
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # Clients ping to notice a dead server; the default would close their connection for it after two minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


class AddressUnavailable(Exception):
    """Nothing can be served at the address. The message says why."""


@asynccontextmanager
async def serving(engine: Engine, address: str, *, threads: int, max_streams: int) -> AsyncIterator[str]:
    """Serve while the context is open; yields the address as clients write it, with the port that was chosen.

    Args:
        address: `HOST:PORT` (port 0: any free one) or `unix:/absolute/path`.
        threads: how many decodes may run at the same time.
        max_streams: calls served at the same time.

    Raises:
        AddressUnavailable: the port or the socket is in use, or cannot be bound.
    """
    health = HealthService()
    server = grpc.aio.server(options=_OPTIONS)
    async with Scheduler(threads) as scheduler:
        riva = RivaService(engine, scheduler, max_streams=max_streams)
        add_RivaSpeechRecognitionServicer_to_server(riva, server)
        add_HealthServicer_to_server(health, server)
        bound = _bind(server, address)
        await server.start()
        try:
            yield bound
        finally:
            health.stopping()
            await server.stop(STOP_GRACE)


def _bind(server: grpc.aio.Server, address: str) -> str:
    if address.startswith(_UNIX):
        _clear_socket(Path(address.removeprefix(_UNIX)))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as exc:  # grpc tells no more, not even the errno
        raise AddressUnavailable(f"cannot listen on {address}: the address is in use, or not one of this host") from exc
    return address if address.startswith(_UNIX) else f"{address.rpartition(':')[0]}:{port}"


def _clear_socket(path: Path) -> None:
    """Remove the socket that a killed server left behind, but never one that is served."""
    if not path.is_absolute() or len(os.fsencode(path)) > _SUN_PATH:
        raise AddressUnavailable(f"unix:{path}: the path must be absolute, and {_SUN_PATH} bytes at most")
    if not path.parent.is_dir():
        raise AddressUnavailable(f"unix:{path}: the folder {path.parent} does not exist")
    if not path.exists():
        return
    if not path.is_socket():
        raise AddressUnavailable(f"unix:{path}: there is a file in the way that is no socket")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
        contextlib.suppress(ConnectionRefusedError),
    ):
        probe.connect(os.fspath(path))
        raise AddressUnavailable(f"unix:{path}: another process serves it")
    path.unlink(missing_ok=True)
