"""A server that runs out of file descriptors says so, and goes on with the clients it has."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench.riva import CodedSpeech, ScriptedRiva
from tests.system.test_command_line import VOXTREE
from transport.client import Client, Final

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SPARE = 3  # file descriptors
SPEECH = CodedSpeech(words=20)


async def test_a_server_without_file_descriptors_keeps_its_clients_and_tells_its_operator(tmp_path: Path) -> None:
    async with ScriptedRiva() as riva, asyncio.timeout(60):
        server = await asyncio.create_subprocess_exec(
            *VOXTREE, "serve", "--port", "0", "--set", "admin.port=0", "--set", "log.format=json",
            "--set", f"journal.path={tmp_path / 'j.db'}",
            "--set", "backends.0.name=riva", "--set", f"backends.0.address={riva.address}", stdout=-1, stderr=-1,
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            url = (await server.stdout.readline()).decode().split()[-1]
            async with Client(url).session(sample_rate=SPEECH.rate) as session, AsyncExitStack() as others:
                await session.send(SPEECH.read(0, SPEECH.samples // 2))
                opened = len(os.listdir(f"/proc/{server.pid}/fd"))
                limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (opened + SPARE, limits[1]))
                port = int(url.split(":")[2].split("/")[0])
                for _ in range(2 * SPARE):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    others.callback(writer.close)
                while "SYS_002" not in (line := (await server.stderr.readline()).decode()):
                    assert line, "the server has ended"
                await session.send(SPEECH.read(SPEECH.samples // 2, SPEECH.samples))
                session.stop()
                said = [event.text async for event in session if isinstance(event, Final)]
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
            async with Client(url).session(sample_rate=SPEECH.rate) as session:  # there is room again
                assert session.id
        finally:
            server.terminate()
            await server.communicate()
    logged = json.loads(line)
    assert (logged["code"], logged["severity"], logged["level"]) == ("SYS_002", "CRITICAL", "critical")
    assert " ".join(said).split() == [f"w{number}" for number in range(20)]
