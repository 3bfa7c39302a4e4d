"""voxtree in somebody's application, by ASGI: FastAPI, Starlette, or any other.

    voxtree = Voxtree(Settings(backends=(Endpoint(name="riva", address="127.0.0.1:50051"),)))
    app = Starlette(
        routes=[WebSocketRoute("/transcribe", voxtree.websocket),
                WebSocketRoute("/transcribe/{session_id}", voxtree.websocket)],
        lifespan=voxtree.lifespan,
    )

Clients then connect to `ws://HOST/transcribe/ID`, wherever the application is served; a FastAPI endpoint calls
`voxtree.websocket` with the WebSocket it got, and `Voxtree` itself can be mounted as an ASGI application.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, Protocol, Self

from transport.admission import HELP
from transport.app import App, serving
from transport.asgi_door import AsgiDoor
from transport.asgi_socket import Receive, Scope, Send
from transport.settings import Settings
from transport.starting import CannotStart

__all__ = ["CannotStart", "Voxtree", "WebSocket"]

_STOPS = (signal.SIGTERM, signal.SIGINT)


class WebSocket(Protocol):
    """A WebSocket as Starlette has it, which nobody has accepted yet."""

    @property
    def scope(self) -> Scope:
        """ASGI's."""

    async def receive(self) -> MutableMapping[str, Any]:
        """The next of ASGI's messages."""

    async def send(self, message: MutableMapping[str, Any], /) -> None:
        """Send one of ASGI's messages."""


class Voxtree:
    """A whole voxtree server but for its port: clients come through the application.

    It runs while it is entered (`async with`), which is what `lifespan` does. Of the settings, `server.host`, `.port`
    and `.page` and the `dialects` do not count. As an ASGI application it runs by itself, and takes WebSockets at any
    path.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._app: App | None = None
        self._running: AbstractAsyncContextManager[App] | None = None

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            CannotStart: with what to say to whoever wanted it.
            RuntimeError: it runs already.
        """
        if self._running is not None:
            raise RuntimeError("voxtree runs already")
        self._running = running = serving(self._settings, mounted=True)
        try:
            self._app = await running.__aenter__()
        except BaseException:
            self._running = None
            raise
        return self

    async def __aexit__(self, *failure: Any) -> bool | None:
        """Stop: sessions get their last words, then CONN_006 and the close code 1012."""
        assert self._running is not None
        running, self._running = self._running, None
        return await running.__aexit__(*failure)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """Runs it for as long as an application does.

        SIGTERM and SIGINT come here first, and to the web server when the sessions are drained: web servers cut
        WebSockets before they let their application stop. A second one goes on to it at once. Outside the main thread
        there are no signals; call `drain` then before you stop the web server.

        Raises:
            CannotStart: see `__aenter__`.
            supervisor.Escalated: at its end, and early: voxtree gave up, and is not ready any more.
        """
        async with self:
            with _before_signals(self.drain):
                yield

    @property
    def app(self) -> App:
        """What runs: its tree, its `registry` of metrics, its error handler, its sessions.

        Raises:
            RuntimeError: nothing does.
        """
        if self._app is None:
            raise RuntimeError("voxtree does not run: give its `lifespan` to your application, or enter it yourself")
        return self._app

    @property
    def ready(self) -> bool:
        """Whether a new session would find a place and a recogniser."""
        return self._app is not None and not self._app.front_door.is_draining and self._app.sessions.ready()

    async def drain(self) -> None:
        """Take no new clients, and let those that are there have their last words before they are sent elsewhere.

        Takes `server.shutdown_timeout` at most. For applications that know before their web server that it is to stop.
        """
        await self._door.drain()

    async def websocket(self, websocket: WebSocket) -> None:
        """Serve a client: a Starlette endpoint, or what one calls. It accepts the WebSocket, or refuses it.

        The session's id is the route's `session_id`, or what follows `/transcribe/` in the path.
        """

        async def send(message: MutableMapping[str, Any]) -> None:
            try:
                await websocket.send(message)
            except Exception as error:
                if type(error).__name__ == "WebSocketDisconnect":  # Starlette's name for ASGI's OSError
                    raise OSError("the client is gone") from error
                raise

        await self._door.on_client(websocket.scope, websocket.receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: for `mount`, or to be run by a web server as it is."""
        match scope["type"]:
            case "websocket":
                await self._door.on_client(scope, receive, send)
            case "http":
                await _tell_of_websockets(send)
            case "lifespan":
                await self._live(receive, send)
            case other:
                raise ValueError(f"ASGI scope {other!r}: websocket, http and lifespan are served")

    @property
    def _door(self) -> AsgiDoor:
        door = self.app.front_door
        assert isinstance(door, AsgiDoor)
        return door

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except CannotStart as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})


async def _tell_of_websockets(send: Send) -> None:
    body = f"This address speaks WebSocket only. {HELP}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"upgrade", b"websocket")]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def _before_signals(work: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """The first signal to stop is held back until the work is done, the second is not."""
    if threading.current_thread() is not threading.main_thread():  # no other hears of signals
        yield
        return
    handlers = {number: handler for number in _STOPS if (handler := signal.getsignal(number)) is not None}
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    held: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        if held:
            hand_on(number)
        else:
            held.append(number)
            loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(work_first())))

    async def work_first() -> None:
        try:
            await work()
        finally:
            hand_on(held[0])

    def hand_on(number: int) -> None:
        give_back()
        signal.raise_signal(number)

    def give_back() -> None:
        for number, handler in handlers.items():
            if signal.getsignal(number) is on_signal:
                signal.signal(number, handler)

    for number in handlers:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        give_back()
