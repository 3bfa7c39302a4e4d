"""voxtree in applications of FastAPI and Starlette, under the real uvicorn: the example, and other ways to mount it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from actors.speech.ports import Tier
from bench.proxy import Proxy
from bench.riva import CodedSpeech, RivaProcess, ScriptedRiva
from tests.docs.examples import ROOT
from tests.docs.test_client_examples import shown
from tests.docs.test_error_handling import Server
from tests.transport.dialects.stage import score
from transport.asgi import Voxtree
from transport.client import Client, Final, Ready
from transport.client.session import Session
from transport.riva.channel import Endpoint
from transport.settings import Admin, Journal, Settings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    # The older of uvicorn's two implementations of WebSockets.
    pytest.mark.filterwarnings("ignore:.*websockets.* deprecated"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

EXAMPLES = ROOT / "docs" / "examples"
SPEECH = CodedSpeech(words=60, utterance=5, pause=0.4)
SECONDS = 60  # for what takes a few; only a hang gets there


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# ---- uvicorn's own process


class Uvicorn:
    """The example, run as its first line says."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/transcribe"

    async def get(self, path: str) -> bytes:
        def read() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                return bytes(answer.read())

        return await anyio.to_thread.run_sync(read)


@asynccontextmanager
async def example(ws: str, *backends: str, journal: Path | None = None, port: int = 0) -> AsyncGenerator[Uvicorn, None]:
    """Before such Rivas. `journal`: the file for it; None: memory."""
    settings = {"ADMIN__ENABLED": "false", "SESSION__MAX_SESSIONS": "50"}
    settings |= {"JOURNAL__STORE": "memory"} if journal is None else {"JOURNAL__PATH": str(journal)}
    for at, address in enumerate(backends):
        tier = Tier.FALLBACK if at else Tier.PRIMARY
        fields = {"NAME": f"riva-{at}", "ADDRESS": address, "TIER": tier.value, "CATCH_UP": "50", "MAX_STREAMS": "50"}
        settings |= {f"BACKENDS__{at}__{name}": value for name, value in fields.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", "asgi_app:app", "--port", str(port), "--ws", ws, "--app-dir", str(EXAMPLES),
        stderr=PIPE, env=os.environ | {f"VOXTREE__{name}": value for name, value in settings.items()}
        | {"PYTHONPATH": str(ROOT), "GRPC_VERBOSITY": "ERROR"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            yield Uvicorn(process, await listening(process))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def listening(process: Process) -> int:
    assert process.stderr is not None
    lines = []
    async for line in process.stderr:
        lines.append(line.decode())
        if match := re.search(r"running on http://127.0.0.1:(\d+)", lines[-1]):
            return int(match[1])
    raise AssertionError("".join(lines))


NEWER = "websockets-sansio"  # of uvicorn's two implementations of WebSockets, and its default
both = pytest.mark.parametrize("ws", ["websockets", NEWER])


async def test_no_word_is_lost_when_the_backend_is_killed_and_the_connection_cut() -> None:
    async with (
        RivaProcess() as primary,
        ScriptedRiva() as fallback,
        example(NEWER, primary.address, fallback.address) as app,
    ):
        proxy = Proxy(target=app.port)
        await proxy.open()
        heard = Heard()
        client = Client(f"ws://127.0.0.1:{proxy.port}/transcribe/s-1", give_up_after=30.0)
        chunks = list(SPEECH.chunks())
        async with client.session() as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(heard.all(session))
            for chunk in chunks[:60]:
                await session.send(chunk)
            await heard.some()
            await primary.kill()
            for chunk in chunks[60:100]:
                await session.send(chunk)
            proxy.cut()
            for chunk in chunks[100:]:
                await session.send(chunk)
            session.stop()
        ready, metrics = await app.get("/ready"), await app.get("/metrics")
        await proxy.close()

    assert score(SPEECH, heard.text).flawless
    assert heard.sources == {"primary", "fallback"}
    assert heard.resumed == [False, True]
    assert json.loads(ready) == {"ready": True}
    assert b"voxtree_connections" in metrics


class Heard:
    """What a session's events came to."""

    def __init__(self) -> None:
        self.finals: list[Final] = []
        self.resumed: list[bool] = []
        self._news = asyncio.Event()

    async def all(self, session: Session) -> None:
        async for event in session:
            match event:
                case Ready():
                    self.resumed.append(event.resumed)
                case Final(text=text) if text:
                    self.finals.append(event)
                    self._news.set()

    async def some(self) -> None:
        """Wait for words."""
        await self._news.wait()

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.finals)

    @property
    def sources(self) -> set[str]:
        return {final.source for final in self.finals}


@both
async def test_sigterm_gives_sessions_their_last_words_before_uvicorn_closes(ws: str) -> None:
    async with ScriptedRiva() as riva, example(ws, riva.address) as app, connect(app.url, ping_interval=None) as client:
        await client.send('{"event":"start","config":{"sample_rate":16000}}')
        await told(client)
        for chunk in SPEECH.chunks():
            await client.send(chunk)
        await client.send('{"event":"ping"}')
        messages = [await told(client)]
        while messages[-1]["event"] != "pong":
            messages.append(await told(client))
        app.process.send_signal(signal.SIGTERM)
        messages, code = messages + await rest(client), client.close_code
        status = await app.process.wait()
        log = (await app.process.communicate())[1].decode()

    text = " ".join(message["text"] for message in messages if message.get("is_final"))
    assert score(SPEECH, text).flawless
    assert (messages[-1]["event"], messages[-1]["code"], code) == ("error", "CONN_006", 1012)
    assert status == -signal.SIGTERM
    assert "Application shutdown complete" in log
    assert "Traceback" not in log


async def test_a_session_goes_on_when_uvicorn_is_restarted(tmp_path: Path) -> None:
    heard, journal = Heard(), tmp_path / "journal.db"
    chunks = list(SPEECH.chunks())
    async with ScriptedRiva() as riva, AsyncExitStack() as stack:
        async with example(NEWER, riva.address, journal=journal) as before:
            session = await stack.enter_async_context(Client(before.url, give_up_after=30.0).session())
            hearing = asyncio.create_task(heard.all(session))
            for chunk in chunks[:60]:
                await session.send(chunk)
            await heard.some()
            before.process.send_signal(signal.SIGTERM)
            await before.process.communicate()
        async with example(NEWER, riva.address, journal=journal, port=before.port):
            for chunk in chunks[60:]:
                await session.send(chunk)
            session.stop()
            await hearing

    assert score(SPEECH, heard.text).flawless
    assert heard.resumed == [False, True]


async def told(client: ClientConnection) -> Any:
    return json.loads(await client.recv())


async def rest(client: ClientConnection) -> list[Any]:
    messages = []
    while True:
        try:
            messages.append(await told(client))
        except ConnectionClosed:
            return messages


# ---- other ways to mount it, in this process


@asynccontextmanager
async def served(app: Any, ws: str) -> AsyncGenerator[str, None]:
    """The base of the WebSocket URLs of an application under uvicorn."""
    server = Server(uvicorn.Config(app, port=0, log_level="warning", ws=ws))  # type: ignore[arg-type]
    running = asyncio.create_task(server.serve())
    running.add_done_callback(lambda _: server.serving.set())
    await server.serving.wait()
    try:
        if running.done():
            running.result()
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


def starlette(voxtree: Voxtree) -> Any:
    routes = [
        WebSocketRoute("/transcribe/{session_id}", voxtree.websocket),
        WebSocketRoute("/transcribe", voxtree.websocket),
    ]
    return Starlette(routes=routes, lifespan=voxtree.lifespan)


def mounted(voxtree: Voxtree) -> Any:
    return Starlette(routes=[Mount("/speech", voxtree)], lifespan=voxtree.lifespan)


def fastapi(voxtree: Voxtree) -> Any:
    app = FastAPI(lifespan=voxtree.lifespan)
    app.mount("/speech", voxtree)
    return app


def alone(voxtree: Voxtree) -> Any:
    return voxtree


@both
@pytest.mark.parametrize(
    ("mount", "base"), [(starlette, ""), (mounted, "/speech"), (fastapi, "/speech"), (alone, "/any")]
)
async def test_it_can_be_mounted_in_many_ways(ws: str, mount: Any, base: str) -> None:
    speech = CodedSpeech(words=10)
    async with ScriptedRiva() as riva:
        backends = (Endpoint(name="riva", address=riva.address, catch_up=50.0),)
        voxtree = Voxtree(Settings(backends=backends, admin=Admin(enabled=False), journal=Journal(store="memory")))
        async with served(mount(voxtree), ws) as url:
            heard = Heard()
            async with Client(f"{url}{base}/transcribe/s-1").session() as session:
                async for event in session.converse(speech.chunks()):
                    if isinstance(event, Final) and event.text:
                        heard.finals.append(event)
            refused = [
                await refusal(f"{url}{base}/transcribe/a%20b"),
                await refusal(f"{url}{base}/transcribe", origin=Origin("https://evil.example")),
            ]
        assert not voxtree.ready

    assert score(speech, heard.text).flawless
    assert refused == [
        (404, b"There is nothing at this address. Connect a WebSocket to /transcribe/ID, where"),
        (403, b"Pages from 'https://evil.example' may not connect here: the server's `origins`"),
    ]


async def refusal(url: str, **options: Any) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, **options)
    answer = json.loads(refused.value.response.body or b"")
    return refused.value.response.status_code, answer["detail"][:78].encode()


def test_the_page_shows_the_example() -> None:
    page = (ROOT / "docs" / "dialects.md").read_text(encoding="utf-8")

    assert shown(page, "python", "asgi_app.py") == (EXAMPLES / "asgi_app.py").read_text(encoding="utf-8")
