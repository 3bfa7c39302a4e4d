"""A way in for clients through somebody else's web server, by ASGI."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from http import HTTPStatus

import anyio
import msgspec
from websockets.exceptions import ConnectionClosed

from actors.speech.error_handler import ErrorHandler
from actors.speech.injection import Faults
from transport import plain_http
from transport.admission import HELP, Admission, Refused, is_session_id
from transport.asgi_socket import AsgiSocket, Receive, Scope, Send
from transport.clients import DEFAULT_PATIENCE, LAST_WORDS, Clients, Life, Patience, drain_time
from transport.sessions import Sessions
from transport.settings import Limits
from transport.settings import Server as ServerSettings
from transport.settings import Session as SessionSettings
from transport.wire import voxtree_v1
from transport.wire.port import Answer

_PATH = "/transcribe"


class AsgiDoor:
    """Serves the clients that an application hands over, as the front door does those of its port.

    Args: see `transport.front_door.FrontDoor`.
    """

    url = ""  # the application's affair

    def __init__(
        self,
        server: ServerSettings,
        session: SessionSettings,
        sessions: Sessions,
        errors: ErrorHandler,
        *,
        admission: Admission | None = None,
        patience: Patience = DEFAULT_PATIENCE,
        faults: Faults | None = None,
        on_refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._settings = server
        self._errors = errors
        self._on_refused = on_refused
        self._admission = admission or Admission(server)
        self._clients = Clients(session, sessions, errors, self._admission, patience=patience, faults=faults)

    @property
    def newcomers(self) -> int:
        """None that are known: they are with the other server."""
        return 0

    def adopt(self, session: SessionSettings, limits: Limits | None = None) -> None:
        """See `Door.adopt`."""
        self._clients.adopt(session)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    @property
    def unsent(self) -> int:
        """What waits for the client that is furthest behind; see `AsgiSocket.unsent`."""
        return self._clients.unsent

    @property
    def is_draining(self) -> bool:
        """It takes no new clients, because it is to stop."""
        return self._clients.draining

    async def serve(self, *, task_status: Life) -> None:
        """A supervised child: look after the clients until asked to stop. It ends as the front door does."""
        self._clients.draining = False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch)
                task_status.started()
                await task_status.stop_requested()
                await self.drain()
                tasks.cancel_scope.cancel()
        finally:
            self._clients.go_away()
            with anyio.move_on_after(LAST_WORDS, shield=True):
                await self._clients.gone()

    async def drain(self) -> None:
        """Take no new clients, and let the connected ones have their last words within `server.shutdown_timeout`."""
        in_all = self._settings.shutdown_timeout
        self._clients.drain(in_all)
        with anyio.move_on_after(drain_time(in_all)):
            await self._clients.gone()

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(self._clients.pause)
            self._clients.check(anyio.current_time())

    # ---- clients

    async def on_client(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket that nobody has accepted yet, until one side has enough.

        The session's id is the path's parameter `session_id`, or what follows `/transcribe/`; without either the
        server names it.
        """
        socket = AsgiSocket(scope, receive, send, max_message_bytes=self._clients.limits.max_message_bytes)
        try:
            if await socket.asked():
                await self._let_in(scope, socket)
        except ConnectionClosed:  # before it was let in
            return

    async def _let_in(self, scope: Scope, socket: AsgiSocket) -> None:
        request = plain_http.request(scope["path"], scope["headers"])
        session_id = _named(scope) or str(uuid.uuid4())
        if not is_session_id(session_id):
            self._on_refused("path")
            nothing = {"detail": f"There is nothing at this address. {HELP}"}
            await socket.refuse(Answer(HTTPStatus.NOT_FOUND, msgspec.json.encode(nothing)))
            return
        caller = self._admission.admit(request, socket.address, session_id)
        if isinstance(caller, Refused):
            self._on_refused(caller.reason)
            self._errors.report(caller.error)
            if not caller.is_told_inside(request):
                await socket.refuse(caller.answer())
                return
        accepted = voxtree_v1.connect(request, session_id)
        await socket.accept(accepted)
        await self._clients.serve(socket, session_id, accepted.codec, caller)


def _named(scope: Scope) -> str:
    """What the client calls its session; empty: it does not."""
    named = scope.get("path_params", {}).get("session_id")
    if named is not None:
        return str(named)
    _, found, rest = scope["path"].rpartition(_PATH)
    return rest.removeprefix("/") if found else ""
