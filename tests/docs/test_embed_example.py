"""The page that embeds the client: the same as the file, and in Chromium, from another origin, words come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.docs.examples import ROOT
from tests.docs.test_client_examples import shown
from tests.transport.browser import expect, page
from tests.transport.web.stage import plays
from transport.app import serving
from transport.cli.recording import RECORDING
from transport.settings import Server, Settings

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
FILE = ROOT / "docs" / "examples" / "embed.html"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("document", ["README.md", "docs/browser.md"])
def test_the_pages_show_the_file(document: str) -> None:
    assert shown((ROOT / document).read_text(), "html", "embed.html") == FILE.read_text()


@asynccontextmanager
async def hosted(text: str) -> AsyncGenerator[str, None]:
    """Somebody else's web server, with one page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        writer.write(f"{head}{text}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_embedded_client_hears(tmp_path: Path) -> None:
    settings = Settings(server=Server(origins=("*",)))
    async with serving(settings, private=True) as app:
        text = FILE.read_text().replace("127.0.0.1:8600", app.url.removeprefix("ws://").removesuffix("/transcribe"))
        # a browser also asks such a page for an icon
        async with hosted(text) as url, page(url, args=plays(RECORDING)) as opened:
            await opened.get_by_role("button", name="Talk").click()
            words = opened.locator("#words")
            await expect(words).to_contain_text("If one server is lost, the next one takes over.", timeout=30_000)
            await expect(words).to_contain_text("The session continues without a break.", timeout=30_000)
            await opened.get_by_role("button", name="Talk").click()
