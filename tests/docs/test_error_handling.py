"""The page on error handling: its example is the file, and works in the real FastAPI under the real uvicorn."""

from __future__ import annotations

import asyncio
import json
import runpy
import socket
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import uvicorn
from prometheus_client import REGISTRY
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from actors.speech.catalogue import CATALOGUE
from tests.docs.examples import ROOT
from tests.docs.test_client_examples import shown

pytestmark = pytest.mark.anyio

FILE = ROOT / "docs" / "examples" / "errors.py"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(FILE))  # once: it registers its metrics in the process's own registry


class Server(uvicorn.Server):
    """One that says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()


@pytest.fixture
async def url(example: dict[str, Any]) -> AsyncGenerator[str, None]:
    server = Server(uvicorn.Config(example["app"], port=0, log_level="warning", ws="websockets-sansio"))
    running = asyncio.create_task(server.serve())
    await server.serving.wait()
    yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/listen/s1"
    server.should_exit = True
    await running


def count(code: str) -> float:
    labels = {"error_code": code, "severity": CATALOGUE[code].severity.value}
    return REGISTRY.get_sample_value("transcription_errors_total", labels) or 0.0


def test_the_page_shows_the_file() -> None:
    assert shown((ROOT / "docs" / "error-handling.md").read_text(), "python", "errors.py") == FILE.read_text()


@pytest.mark.parametrize(
    ("audio", "code", "close"), [(b"\0", "AUDIO_001", 1003), (b"\0\0", "RIVA_001", 1013)], ids=["audio", "backend"]
)
async def test_a_client_reads_the_catalogues_sentence_and_the_error_is_counted(
    url: str, audio: bytes, code: str, close: int
) -> None:
    before = count(code)
    async with connect(url) as client:
        await client.send(audio)
        told = json.loads(await client.recv())
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
    assert told == {"event": "error", "code": code, "message": CATALOGUE[code].message}
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, count(code) - before) == (close, 1)


async def test_its_callback_is_called(url: str, example: dict[str, Any]) -> None:
    example["pages"].clear()
    async with connect(url) as client:
        await client.send(b"\0\0")
        await client.recv()
    assert example["pages"] == ["RIVA_001 in session s1"]


async def test_a_client_that_leaves_is_an_error_too_and_nobody_is_told(url: str, example: dict[str, Any]) -> None:
    before, handled = count("CONN_001"), asyncio.Event()
    example["handler"].register_callback("CONN_001", lambda error, context: handled.set())
    example["pages"].clear()
    async with connect(url):
        pass
    async with asyncio.timeout(10):
        await handled.wait()
    assert (count("CONN_001"), example["pages"]) == (before + 1, [])
