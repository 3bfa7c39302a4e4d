"""Clients over restarts of their server, on its port and with its journal: nothing is missing or comes twice."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from tests.system.speaking import SAID, words
from tests.system.test_command_line import VOXTREE
from transport.cli.recording import RECORDING

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECONDS = 90  # for a recording of 12; only a hang gets there


class Server:
    """`voxtree serve` as a process that can be started again on its port."""

    def __init__(self, *arguments: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._arguments = [*map(str, arguments)]
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/transcribe"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *VOXTREE,
            "serve",
            "--port",
            str(self.port),
            "--set",
            "admin.port=0",
            *self._arguments,
            stdout=-1,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        assert await self.process.stdout.readline()

    async def end(self, number: signal.Signals) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        await self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("store", ["sqlite", "memory"])
async def test_a_recording_is_transcribed_whole_over_a_restart(
    number: signal.Signals, store: str, tmp_path: Path
) -> None:
    server = Server("--set", f"journal.store={store}", "--set", f"journal.path={tmp_path / 'journal.db'}")
    await server.start()
    command = [*VOXTREE, "transcribe", str(RECORDING), "--url", server.url, "--realtime"]
    client = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
    assert client.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            first = await client.stdout.readline()
            await server.end(number)
            await server.start()
            out, err = await client.communicate()
    finally:
        await server.end(signal.SIGKILL)
        if client.returncode is None:
            client.kill()
    assert client.returncode == 0, err
    assert words((first + out).decode()) == SAID
    told = err.decode()
    assert "reconnecting …" in told
    assert ("connected again" if store == "sqlite" else "going on in a new one") in told
