"""A scripted Riva: a gRPC server that recognises word-coded audio, and fails as its plan says."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self

import grpc
from riva.client.proto.health_pb2_grpc import add_HealthServicer_to_server
from riva.client.proto.riva_asr_pb2_grpc import add_RivaSpeechRecognitionServicer_to_server

from bench.proxy import Proxy
from bench.riva.faults import Down, GoAway, HalfOpen
from bench.riva.plan import Plan
from bench.riva.report import Counts, Report
from bench.riva.script import Script
from bench.riva.service import HealthService, RivaService
from transport.expected import ExpectedError


class AddressUnavailable(ExpectedError):
    """The server cannot listen there."""


class ScriptedRiva:
    """Serves while its context is entered, in the running asyncio loop.

    Args:
        plan: what it does, and does wrong.
        port: 0 lets the system pick one.
        key_file, certificate_file: PEM, for TLS; both or neither.

    Attributes:
        host, port: where clients connect.

    Raises:
        AddressUnavailable: on entering; the port is taken.
    """

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key_file: Path | None = None,
        certificate_file: Path | None = None,
    ) -> None:
        self.plan = plan or Plan()
        self.host = host
        self.port = port
        self._credentials = _credentials(key_file, certificate_file)
        self._counts = Counts()
        self._servers: list[grpc.aio.Server] = []  # the last one listens, the others still end their streams
        self._changing = asyncio.Lock()
        self._proxy = Proxy(host, port) if any(isinstance(one, HalfOpen) for one in self.plan.faults) else None
        self._is_down = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """As clients write it."""
        return f"{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._started = asyncio.get_running_loop().time()
        self._script = Script(self.plan, self._started)
        self._riva = RivaService(self.plan, self._script, self._counts, self)
        self._health = HealthService(self._script)
        _check_free(self.host, self.port)
        await self._open()
        self._start(self._watch_the_clock())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close()

    def report(self) -> Report:
        """What has happened so far."""
        now = asyncio.get_running_loop().time()
        return self._counts.report(self.plan, self._script, now - self._started)

    # ---- what faults do to all of it

    def goaway(self, grace: float) -> None:
        """Tell all connections to go; streams that run may go on for `grace` seconds."""
        if not self._is_down:
            self._start(self._replace(grace))

    def down(self, seconds: float) -> None:
        """End everything, and come back after so many seconds."""
        if not self._is_down:
            self._is_down = True
            self._start(self._be_down(seconds))

    def half_open(self, peer: str) -> None:
        """Let nothing more out to the connection of this peer."""
        assert self._proxy is not None
        self._proxy.half_open(peer)

    async def _replace(self, grace: float) -> None:
        """gRPC sends GOAWAY when a server stops; another takes its place at the same port."""
        async with self._changing:
            if self._is_down:
                return
            old = self._servers[-1]
            await self._listen()
        await old.stop(grace)
        if old in self._servers:
            self._servers.remove(old)

    async def _be_down(self, seconds: float) -> None:
        async with self._changing:
            await self._close()
            await asyncio.sleep(seconds)
            await self._open()
            self._is_down = False

    async def _watch_the_clock(self) -> None:
        while (time := self._script.next_server_fault()) < math.inf:
            await asyncio.sleep(max(0.0, time - asyncio.get_running_loop().time()))
            for fault in self._script.server_faults(asyncio.get_running_loop().time()):
                match fault:
                    case GoAway(grace=grace):
                        self.goaway(grace)
                    case Down(seconds=seconds):
                        self.down(seconds)

    # ---- listening

    async def _open(self) -> None:
        await self._listen()
        if self._proxy is not None:
            await self._proxy.open()
            self.port = self._proxy.port

    async def _close(self) -> None:
        if self._proxy is not None:
            await self._proxy.close()
        servers, self._servers = self._servers, []
        await asyncio.gather(*(server.stop(None) for server in servers))

    async def _listen(self) -> None:
        server = grpc.aio.server(options=_OPTIONS)
        add_RivaSpeechRecognitionServicer_to_server(self._riva, server)
        add_HealthServicer_to_server(self._health, server)
        if self._proxy is None:
            self.port = self._add_port(server, f"{self.host}:{self.port}")
        else:
            self._proxy.target = self._add_port(server, "127.0.0.1:0")
        await server.start()
        self._servers.append(server)

    def _add_port(self, server: grpc.aio.Server, address: str) -> int:
        if self._credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, self._credentials))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # a port that cannot be had again is told to the loop's exception handler


_OPTIONS = [
    ("grpc.so_reuseport", 1),  # a server takes over its predecessor's port while that one still ends its streams
    # Clients ping to notice a dead server; the default would close their connection for it after two minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


def _credentials(key_file: Path | None, certificate_file: Path | None) -> grpc.ServerCredentials | None:
    if key_file is None or certificate_file is None:
        return None
    return grpc.ssl_server_credentials([(key_file.read_bytes(), certificate_file.read_bytes())])


def _check_free(host: str, port: int) -> None:
    """gRPC would share the port with another server that allows it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise AddressUnavailable(f"cannot listen on {host}:{port}: {why}") from error
