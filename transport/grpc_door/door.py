"""The gRPC door: listens as a Riva does, and hands each client's call to a session."""

from __future__ import annotations

import socket
from collections.abc import Callable

import anyio
import grpc

from actors.speech.error_handler import ErrorHandler
from transport.admission import Admission
from transport.clients import DEFAULT_PATIENCE, LAST_WORDS, Life, Patience, drain_time
from transport.front_door import Address
from transport.grpc_door.health import Health
from transport.grpc_door.servicer import Models, RivaServicer
from transport.listener import CannotListen, reason
from transport.sessions import Sessions
from transport.wire.port import Limits

# A whole recording comes in one message: 17 minutes at 16 kHz. It is held in memory before anything is known of it.
DEFAULT_LIMITS = Limits(max_message_bytes=32 * 1024 * 1024)


class GrpcDoor:
    """Serves Riva's clients on one address: `StreamingRecognize`, `Recognize`, what there is, and health.

    Each call is one session, so that backends may fail and be replaced behind it. What the protocol cannot say, and
    what is done instead, is in `transport.grpc_door.responses`; how calls fail, in `transport.grpc_door.status`.

    Args:
        host, port: where to listen; port 0: any free one.
        sessions: where the calls' sessions come from.
        errors: told of every error that clients are told of.
        models: what the backends have loaded, for clients that ask.
        admission: who is let in.
        limits: `max_chunk_bytes` of audio in one message of a stream, `max_message_bytes` of any request, which bounds
            the recordings for `Recognize`, and `idle_timeout`.
        patience: of it, `reading`: seconds that a client may leave a response unread; the others are gRPC's.
        shutdown_timeout: seconds that calls get to end when it stops.
        credentials: gives what it encrypts with; None: it does not.
        shared: see `transport.front_door.FrontDoor`.
        on_refused: told why a call was refused before there was a session.
    """

    def __init__(
        self,
        host: str,
        port: int,
        sessions: Sessions,
        errors: ErrorHandler,
        *,
        models: Models,
        admission: Admission,
        limits: Limits = DEFAULT_LIMITS,
        patience: Patience = DEFAULT_PATIENCE,
        shutdown_timeout: float = 10.0,
        credentials: Callable[[], grpc.ServerCredentials] | None = None,
        shared: bool = False,
        on_refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._host = host
        self._port = port
        self._sessions = sessions
        self._max_message_bytes = limits.max_message_bytes
        self._patience = patience
        self._shutdown_timeout = shutdown_timeout
        self._credentials = credentials
        self._shared = shared
        self._servicer = RivaServicer(
            sessions, errors, models, limits, admission, write_timeout=patience.reading, on_refused=on_refused
        )

    def adopt(self, limits: Limits) -> None:
        """Let these limits hold for calls from now on; `max_message_bytes` from the next start on."""
        self._max_message_bytes = limits.max_message_bytes
        self._servicer.limits = limits

    @property
    def calls(self) -> int:
        """How many sessions' calls run."""
        return len(self._servicer.calls)

    async def serve(self, *, task_status: Life) -> None:
        """A supervised child: listen, and serve until asked to stop. The started value: its `Address`.

        Asked to stop, it takes no new calls, lets the running ones have the words for what they said, and sends their
        clients elsewhere (CONN_006, UNAVAILABLE), all within `shutdown_timeout`.

        Raises:
            CannotListen: before it has started.
        """
        self._servicer.open()
        health = Health(self._sessions.ready)
        server = grpc.aio.server(options=self._options())
        server.add_generic_rpc_handlers((self._servicer.handler(), health.handler()))
        address = self._bind(server)
        await server.start()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                task_status.started(address)
                await task_status.stop_requested()
                health.stop()
                await self._drain(server)
                tasks.cancel_scope.cancel()
        finally:
            health.stop()
            await self._shut(server)

    def drain(self) -> None:
        """Begin to stop, ahead of being asked to: take no new calls, and let the running ones have their last words."""
        self._servicer.drain(self._shutdown_timeout)

    def _options(self) -> list[tuple[str, int]]:
        # Otherwise a second server on the same port would start by mistake, and take half of the calls.
        shared = ("grpc.so_reuseport", int(self._shared))
        return [*_OPTIONS, shared, ("grpc.max_receive_message_length", self._max_message_bytes)]

    def _bind(self, server: grpc.aio.Server) -> Address:
        """Raises CannotListen. gRPC itself tells no more than that it failed, so the address is tried before."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            if not self._shared:
                _try(self._host, self._port)
            if self._credentials is None:
                return Address(self._host, server.add_insecure_port(f"{host}:{self._port}"))
            return Address(self._host, server.add_secure_port(f"{host}:{self._port}", self._credentials()))
        except OSError as exc:
            raise CannotListen(f"cannot listen on {self._host}:{self._port}: {reason(exc)}") from exc
        except RuntimeError as exc:
            raise CannotListen(f"cannot listen on {self._host}:{self._port}") from exc

    async def _watch(self) -> None:
        """Look at every call now and then: one timer for all of them, none per message."""
        while True:
            await anyio.sleep(min(self._servicer.limits.idle_timeout, self._patience.reading, 8.0) / 4)
            now = anyio.current_time()
            for call in tuple(self._servicer.calls):
                call.check(now)

    # ---- stopping

    async def _drain(self, server: grpc.aio.Server) -> None:
        in_all = self._shutdown_timeout
        self.drain()
        with anyio.move_on_after(drain_time(in_all)):
            await server.stop(in_all)  # past that, gRPC cancels calls, which explains nothing to anybody

    async def _shut(self, server: grpc.aio.Server) -> None:
        """Leave no call behind, also when there was no time to drain."""
        with anyio.CancelScope(shield=True):
            self._servicer.send_away()
            await server.stop(LAST_WORDS)
            await self._servicer.ended(0.1)  # gRPC has cancelled them, and they need no more than a turn of the loop


# Clients ping to notice a dead server, some of them often; by default gRPC would cut them off for it.
_OPTIONS = (
    ("grpc.http2.max_ping_strikes", 0),
    # Bytes read ahead of each call. By default the faster the network, the more: megabytes from a client that is held.
    ("grpc.http2.lookahead_bytes", 256 * 1024),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),  # and who is gone without a word is to be noticed, too
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.server_handshake_timeout_ms", 5_000),  # by default two minutes for who connects and says nothing
)


def _try(host: str, port: int) -> None:
    """Raises OSError when it cannot be listened on."""
    if port:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
