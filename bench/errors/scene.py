"""A server, its clients, and all they show, for one error."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import msgspec
from prometheus_client import generate_latest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench.alert_sink import AlertSink
from bench.riva import CodedSpeech, Plan, ScriptedRiva
from transport.app import App, serving
from transport.riva.channel import Endpoint
from transport.settings import Alerts, Settings
from transport.settings import AlertSink as AlertSinkSettings
from transport.workers import fleet
from transport.workers.fleet import Fleet

RATE = 16_000
PIECE = 0.1  # seconds of audio in a message


class Scene:
    """Everything one error needs, ended with it. Use as `async with`.

    Attributes:
        folder: for files of its own.
        records: what was logged.
        told: what clients were told, in text.
        closes: with which code each connection ended; an HTTP status if there was none.
        sink: where alerts go.
        exposed: the metrics, as they are scraped; when the last server has ended.
        app: the server that was started last.
    """

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []
        self.told: list[str] = []
        self.closes: list[int | None] = []
        self.exposed = ""
        self.app: App
        self.sink = AlertSink()
        self._stack = AsyncExitStack()
        self._log = _Collector(self.records)

    async def __aenter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="voxtree-")))
        await self._stack.enter_async_context(self.sink)
        root = logging.getLogger()
        root.addHandler(self._log)
        self._stack.callback(root.removeHandler, self._log)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # ---- who plays

    async def riva(self, plan: Plan | None = None) -> Endpoint:
        """A scripted Riva, as a backend of the settings."""
        riva = await self._stack.enter_async_context(ScriptedRiva(plan or Plan()))
        return Endpoint(name="riva", address=riva.address)

    async def usual(self) -> Settings:
        """A Riva that works, and nothing else."""
        return Settings(backends=(await self.riva(),))

    @asynccontextmanager
    async def serving(self, settings: Settings, *, private: bool = True) -> AsyncGenerator[App, None]:
        """A server; what it counted is kept when it ends."""
        async with serving(self._with_alerts(settings), private=private) as self.app:
            try:
                yield self.app
            finally:
                self.exposed += generate_latest(self.app.registry).decode()

    @asynccontextmanager
    async def workers(self, settings: Settings, count: int) -> AsyncGenerator[Fleet, None]:
        """A server of several processes; what the parent counted is kept when it ends."""
        async with fleet.serving(self._with_alerts(settings), count) as parent:
            try:
                yield parent
            finally:
                self.exposed += generate_latest(parent.registry).decode()

    def _with_alerts(self, settings: Settings) -> Settings:
        if settings.alerts.sinks:
            return settings
        to = AlertSinkSettings(name="operators", type="webhook", url=self.sink.url, min_severity="info")
        return msgspec.structs.replace(settings, alerts=Alerts(sinks=(to,)))

    # ---- clients

    @asynccontextmanager
    async def client(self, session: str = "s1", **options: Any) -> AsyncGenerator[ClientConnection | None, None]:
        """A connection, with all that it is told kept; None: it was refused."""
        try:
            connection = await connect(f"{self.app.url}/{session}", compression=None, ping_interval=None, **options)
        except InvalidStatus as refused:
            self.closes.append(refused.response.status_code)
            self.told.append((refused.response.body or b"").decode())
            yield None
            return
        try:
            yield connection
        finally:
            await connection.close()

    async def hear(self, client: ClientConnection, *, seconds: float = 30.0, until: Iterable[str] = ()) -> str:
        """Listen until the server closes, or one of some texts was told; the last message."""
        wanted, told = tuple(until), ""
        try:
            async with asyncio.timeout(seconds):
                while not any(text in told for text in wanted):
                    told = str(await client.recv())
                    self.told.append(told)
        except ConnectionClosed as closed:
            self.closes.append(closed.rcvd.code if closed.rcvd else None)
        except TimeoutError:
            pass
        return told

    async def speak(self, client: ClientConnection, seconds: float, *, pace: float | None = PIECE) -> None:
        """Say words until the server has had enough; `pace`: seconds between two messages, None: as they are taken."""
        speech = CodedSpeech(words=round(seconds / 0.2))
        size = round(PIECE * RATE)
        with suppress(ConnectionClosed):
            for position in range(0, round(seconds * RATE), size):
                await client.send(speech.read(position, size))
                if pace is not None:
                    await asyncio.sleep(pace)

    async def talk(self, seconds: float, *, session: str = "s1", limit: float = 30.0) -> None:
        """A client that speaks and stops, whatever it is told."""
        async with self.client(session) as client:
            if client is None:
                return
            hearing = asyncio.create_task(self.hear(client, seconds=limit))
            try:
                await self.speak(client, seconds)
                await client.send('{"event": "stop"}')
            except ConnectionClosed:
                pass
            await hearing

    # ---- what was shown

    def logged(self, code: str) -> list[logging.LogRecord]:
        """The lines of the error handler with this code."""
        return [each for each in self.records if each.name == "voxtree.errors" and getattr(each, "code", "") == code]

    async def until_logged(self, code: str) -> None:
        """Wait for the first line with this code."""
        while not self.logged(code):
            self._log.news.clear()
            await self._log.news.wait()

    @property
    def injected(self) -> int:
        """Errors that were injected."""
        return sum("injected into" in each.getMessage() for each in self.records)

    def counted(self, code: str, severity: str) -> int:
        """By the metric."""
        name = f'transcription_errors_total{{error_code="{code}",severity="{severity}"}}'
        return sum(int(float(line.split()[-1])) for line in self.exposed.splitlines() if line.startswith(name))

    def alerted(self, code: str) -> list[str]:
        """How operators were told of it: `firing`, and whether it is over."""
        return [body["status"] for body in self.sink.bodies if body["code"] == code]

    def sentences(self, code: str) -> set[str]:
        """What clients read under this code."""
        events = [each for text in self.told if isinstance(each := _json(text), Mapping)]
        return {str(each.get("message")) for each in events if each.get("code") == code and "message" in each}


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records
        self._loop = asyncio.get_running_loop()
        self.news = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Some come from other threads."""
        self._records.append(record)
        self._loop.call_soon_threadsafe(self.news.set)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
