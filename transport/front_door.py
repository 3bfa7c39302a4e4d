"""The front door: listens, answers health checks, and hands each WebSocket client to a session.

/transcribe/ID   a session with the client's id        /livez    200 while the process runs
/transcribe      a session that the server names       /readyz   200 while new sessions find a place, else 503
/                a page to speak to, and its files      /client.js   the browsers' client

Other protocols have paths of their own, and one may have a port of its own: `transport.wire.dialects`.
"""

from __future__ import annotations

import socket
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

import anyio
import msgspec
from websockets.asyncio.server import Server, ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from actors.speech.error_handler import ErrorHandler
from actors.speech.errors import ResourcesExhausted, ServerBusy
from actors.speech.injection import Faults
from transport import plain_http
from transport.admission import HELP, Admission, Refused, is_session_id
from transport.clients import DEFAULT_PATIENCE, LAST_WORDS, MAX_MESSAGE_BYTES, Clients, Life, Patience, drain_time
from transport.limits.crowd import Crowd, Descriptors
from transport.limits.gate import CROWD
from transport.listener import Listener, Tls, Turns, bind
from transport.sessions import Sessions
from transport.settings import Limits
from transport.settings import Server as ServerSettings
from transport.settings import Session as SessionSettings
from transport.web import File
from transport.websocket import ClientSocket
from transport.websocket_log import library_logger
from transport.wire import voxtree_v1
from transport.wire.port import Accepted, Answer, Routes
from transport.wire.port import Request as WireRequest

_UNNAMED = "/transcribe"
_WRITE_BYTES = 16 * 1024  # that may wait in a client's write buffer; then its session keeps what follows
_MAX_QUEUE = 8  # messages read ahead of us; each may be as large as `max_message_bytes`


NO_ROUTES = Routes()
DEFAULT_LIMITS = Limits()
Connect = Callable[[WireRequest, str], Accepted | Answer]


class Address(NamedTuple):
    """An address that is listened on; the port is the real one."""

    host: str
    port: int


class FrontDoor:
    """Serves clients on one address. Moves frames; what becomes of them is decided by `sessions`.

    Args:
        server: where to listen, and how long stopping may take.
        session: what one client may do.
        limits: of them, how many connections may be without a session.
        sessions: where the clients' sessions come from.
        errors: told of every error that clients are told of.
        admission: who is let in; None: whoever `server` lets in.
        max_message_bytes: what is read of one message at most; beyond it the connection ends.
        faults: what befalls clients on purpose.
        site: files for browsers, by path.
        routes: further protocols, by path.
        doors: ports besides `server.port`, and what is spoken there whatever the path.
        on_refused: told why a request was refused before there was a session.
        on_drain: called when it begins to drain.
        tls: encrypts, on all ports; None: nothing does.
        sockets: by port, where it need not bind them itself; they are duplicated.
        turns: of the processes that listen on the same sockets; None: there is no other.
    """

    def __init__(
        self,
        server: ServerSettings,
        session: SessionSettings,
        sessions: Sessions,
        errors: ErrorHandler,
        *,
        limits: Limits = DEFAULT_LIMITS,
        admission: Admission | None = None,
        patience: Patience = DEFAULT_PATIENCE,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        faults: Faults | None = None,
        site: Mapping[str, File] = MappingProxyType({}),
        routes: Routes = NO_ROUTES,
        doors: Mapping[int, Connect] = MappingProxyType({}),
        on_refused: Callable[[str], None] = lambda reason: None,
        on_drain: Callable[[], None] = lambda: None,
        tls: ssl.SSLContext | None = None,
        sockets: Mapping[int, Sequence[socket.socket]] = MappingProxyType({}),
        turns: Turns | None = None,
    ) -> None:
        self._settings = server
        self._sessions = sessions
        self._errors = errors
        self._patience = patience
        self._site = site
        self._routes = routes
        self._doors = doors
        self._on_refused = on_refused
        self._on_drain = on_drain
        self._tls = tls
        self._given = sockets
        self._turns = turns
        self._admission = admission or Admission(server)
        self._clients = Clients(
            session,
            sessions,
            errors,
            self._admission,
            patience=patience,
            max_message_bytes=max_message_bytes,
            faults=faults,
        )
        self._descriptors = Descriptors()
        self._crowd = Crowd[ClientSocket](limits.newcomers, limits.newcomers_per_address)
        self._addresses: list[Address] = []

    def adopt(self, session: SessionSettings, limits: Limits = DEFAULT_LIMITS) -> None:
        """Let these limits hold for whoever connects from now on; nothing else of the settings."""
        self._clients.adopt(session)
        self._crowd.most, self._crowd.most_each = limits.newcomers, limits.newcomers_per_address

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    @property
    def newcomers(self) -> int:
        """How many connections have not begun a session."""
        return len(self._crowd)

    @property
    def unsent(self) -> int:
        """Bytes in the fullest write buffer of a client."""
        return self._clients.unsent

    @property
    def is_draining(self) -> bool:
        """It takes no new clients, because it is to stop."""
        return self._clients.draining

    @property
    def url(self) -> str:
        """Where clients connect, once it serves; an id of theirs may follow behind a slash."""
        return url_of(*self._addresses[0], encrypted=self._tls is not None)

    async def serve(self, *, task_status: Life) -> None:
        """A supervised child: listen, and serve until asked to stop. The started value: list[Address].

        Asked to stop, it takes no new clients, lets the connected ones have the words for what they said, and
        sends them elsewhere (CONN_006, close 1012), all within `server.shutdown_timeout`.

        Raises:
            CannotListen: before it has started.
        """
        self._clients.draining = False
        servers: list[Server] = []
        listeners: list[Listener] = []
        try:
            for port, connect in ((self._settings.port, None), *self._doors.items()):
                server = self._server(connect)
                listeners.append(self._listener(server, self._sockets(port)))
                server.wrap(listeners[-1])  # type: ignore[arg-type]  # it is all that is needed of an asyncio.Server
                servers.append(server)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                for listener in listeners:
                    tasks.start_soon(listener.run)
                self._addresses = [Address(*sock.getsockname()[:2]) for each in listeners for sock in each.sockets]
                task_status.started(self._addresses)
                await task_status.stop_requested()
                await self._drain(servers)
                tasks.cancel_scope.cancel()
        finally:
            await self._shut(servers)

    def _server(self, connect: Connect | None) -> Server:
        """What serves those who come to one port. `connect`: who is asked for WebSockets; None: who has the path."""
        return Server(
            self._on_client,
            process_request=partial(self._answer, connect),
            process_response=_complete,
            server_header=None,
            open_timeout=self._patience.handshake,
            logger=library_logger(),
        )

    def _listener(self, server: Server, sockets: Sequence[socket.socket]) -> Listener:
        return Listener(
            sockets,
            partial(self._connected, server),
            held=lambda: len(self._clients) + len(self._crowd),
            tls=None if self._tls is None else Tls(self._tls, self._patience.handshake, self._patience.close),
            turns=self._turns,
            on_exhausted=lambda: self._errors.report(ResourcesExhausted("no file descriptor is left")),
        )

    def _connected(self, server: Server) -> ClientSocket:
        """A connection's protocol."""
        client: ClientSocket
        protocol = ServerProtocol(
            select_subprotocol=lambda *_: _chosen_subprotocol(client),
            max_size=self._clients.limits.max_message_bytes,
            logger=library_logger(),
        )
        client = ClientSocket(
            protocol,
            server,
            ping_interval=None,  # it would cut clients whom we stopped reading; see Connection.check
            close_timeout=self._patience.close,
            max_queue=_MAX_QUEUE,
            write_limit=_WRITE_BYTES,
            respond=self._respond,
            on_arrival=self._arrived,
            on_leaving=self._left,
        )
        return client

    def _sockets(self, port: int) -> list[socket.socket]:
        """What to listen on at a port: what was handed over for it, or bound now."""
        given = self._given.get(port)
        return bind(self._settings.host, port) if given is None else [each.dup() for each in given]

    async def _on_client(self, client: ServerConnection) -> None:
        assert isinstance(client, ClientSocket)
        assert client.accepted is not None
        client.forget_headers()
        await self._clients.serve(
            client,
            client.session_id,
            client.accepted.codec,
            client.caller,
            on_begin=partial(self._crowd.left, client),
        )

    def _arrived(self, client: ClientSocket) -> None:
        """Somebody has connected; if that is one too many, the oldest of those who have begun nothing has to go."""
        network = self._admission.newcomer(client.address)
        is_full = self._descriptors.are_scarce()
        one = self._crowd.arrived(client, network, client.loop.time(), is_full=is_full)
        if is_full:
            self._errors.report(ResourcesExhausted("hardly a file descriptor is left"))
        if one is not None:
            self._on_refused(CROWD)
            one.make_way(ServerBusy("there are too many connections", retry_after=self._admission.retry_after()))

    def _left(self, client: ClientSocket) -> None:
        """Somebody's connection has ended."""
        self._descriptors.left()
        self._crowd.left(client)

    async def _watch(self) -> None:
        """Look at the connections now and then."""
        while True:
            await anyio.sleep(self._clients.pause)
            self._clients.check(anyio.current_time())

    # ---- stopping

    async def _drain(self, servers: Sequence[Server]) -> None:
        self._on_drain()
        _stop_listening(servers)
        in_all = self._settings.shutdown_timeout
        self._clients.drain(in_all)
        with anyio.move_on_after(drain_time(in_all)):
            await _closed(servers)

    async def _shut(self, servers: Sequence[Server]) -> None:
        """Leave no connection behind, also when there was no time to drain."""
        _stop_listening(servers)
        self._clients.go_away()
        with anyio.move_on_after(LAST_WORDS, shield=True):
            await _closed(servers)
        for client in [client for server in servers for client in server.handlers]:
            client.transport.abort()
        with anyio.move_on_after(0.1, shield=True):  # the aborted ones need no more than a turn of the loop
            await _closed(servers)

    # ---- HTTP

    def _answer(self, connect: Connect | None, client: ServerConnection, request: Request) -> Response | None:
        """The answer to a plain request; None lets a WebSocket handshake go on."""
        assert isinstance(client, ClientSocket)
        path = request.path.partition("?")[0]
        wants_socket = "websocket" in ",".join(request.headers.get_all("Upgrade")).lower()
        connect = connect or self._routes.sockets.get(path)
        if path == "/livez":
            return _health(client, HTTPStatus.OK, "alive")
        if path == "/readyz":
            return self._readiness(client)
        if not (connect and wants_socket) and (file := self._site.get(path)) is not None:
            return _found(file, request)
        if connect is None and (path == _UNNAMED or _session_id(path) is not None):
            connect = voxtree_v1.connect
        if connect is None:
            self._on_refused("path")
            return client.respond(HTTPStatus.NOT_FOUND, f"There is nothing at this address. {HELP}\n")
        if not wants_socket:
            self._on_refused("plain_http")
            response = client.respond(HTTPStatus.UPGRADE_REQUIRED, f"This address speaks WebSocket only. {HELP}\n")
            response.headers["Upgrade"] = "websocket"
            return response
        return self._accept(connect, client, request)

    def _accept(self, connect: Connect, client: ClientSocket, request: Request) -> Response | None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.raw_items()]
        asked = plain_http.request(request.path, headers)
        client.session_id = _session_id(request.path) or str(uuid.uuid4())
        caller = self._admission.admit(asked, client.address, client.session_id)
        if isinstance(caller, Refused):
            self._turned_away(caller)
            if not caller.is_told_inside(asked):
                return _plain(caller.answer())
        accepted = connect(asked, client.session_id)
        if isinstance(accepted, Answer):
            self._on_refused("handshake")
            return _plain(accepted)
        client.caller, client.accepted = caller, accepted
        return None

    def _turned_away(self, refused: Refused) -> None:
        self._on_refused(refused.reason)
        self._errors.report(refused.error)

    def _respond(self, request: WireRequest, address: str) -> Answer:
        """The answer to a POST."""
        respond = self._routes.posts.get(request.path)
        if respond is None:
            self._on_refused("path")
            body = b'{"detail": "Only GET is answered here."}'
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, body, {"Allow": "GET"})
        caller = self._admission.admit(request, address)
        if isinstance(caller, Refused):
            self._turned_away(caller)
            return caller.answer(to_post=True)
        return respond(msgspec.structs.replace(request, user=caller.user))

    def _readiness(self, client: ServerConnection) -> Response:
        if self._sessions.ready() and not self._clients.draining:
            return _health(client, HTTPStatus.OK, "ready")
        return _health(client, HTTPStatus.SERVICE_UNAVAILABLE, "not ready")


def url_of(host: str, port: int, *, encrypted: bool) -> str:
    """Where clients of this machine connect to a server that listens there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    return f"{'wss' if encrypted else 'ws'}://{shown}:{port}{_UNNAMED}"


def _session_id(path: str) -> str | None:
    before, _, name = path.partition("?")[0].rpartition("/")
    return name if before == _UNNAMED and is_session_id(name) else None


def _health(client: ServerConnection, status: HTTPStatus, state: str) -> Response:
    response = client.respond(status, f'{{"status": "{state}"}}\n')
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    response.headers["Cache-Control"] = "no-store"
    return response


def _found(file: File, request: Request) -> Response:
    headers = Headers(file.headers)
    headers["Connection"] = "close"  # what follows on this connection would be taken for a WebSocket's
    if file.etag in ", ".join(request.headers.get_all("If-None-Match")):
        return Response(HTTPStatus.NOT_MODIFIED, HTTPStatus.NOT_MODIFIED.phrase, headers)
    headers["Content-Length"] = str(len(file.body))
    return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, headers, file.body)


def _stop_listening(servers: Sequence[Server]) -> None:
    for server in servers:
        server.close(close_connections=False)


async def _closed(servers: Sequence[Server]) -> None:
    for server in servers:
        await server.wait_closed()


def _plain(answer: Answer) -> Response:
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(answer.body))})
    headers["Connection"] = "close"
    headers.update(answer.headers)
    return Response(answer.status, HTTPStatus(answer.status).phrase, headers, answer.body)


def _chosen_subprotocol(client: ClientSocket) -> Subprotocol | None:
    chosen = None if client.accepted is None else client.accepted.subprotocol
    return None if chosen is None else Subprotocol(chosen)


def _complete(client: ServerConnection, _: Request, response: Response) -> None:
    """Put the accepting protocol's own headers into the response."""
    assert isinstance(client, ClientSocket)
    if client.accepted is not None:
        response.headers.update(client.accepted.headers)
