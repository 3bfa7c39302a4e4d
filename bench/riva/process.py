"""A scripted Riva in a process of its own, so that it can be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Self

import msgspec

from bench.riva.command import LISTENING
from bench.riva.plan import Plan
from bench.riva.report import Report

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds for the process to start, to report or to end; it needs one


class RivaProcess:
    """Runs `python -m bench riva` while its context is entered; it listens when that is.

    It ends with this process at the latest, even if this one is killed.

    Args:
        host, port: where it listens; 0: at any free port.
        tls: the files of a key and its certificate, PEM.

    Attributes:
        port: where it listens, the same one in each of its lives.
    """

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._tls = tls
        self._plan = plan or Plan()
        self._process: Process | None = None

    @property
    def address(self) -> str:
        """As clients write it."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Of its present life, or the last one."""
        return self._running.pid

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-riva-")
        try:
            self._file("plan").write_bytes(msgspec.json.encode(self._plan))
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.kill()
        self._folder.cleanup()

    async def start(self) -> None:
        """Begin a life; it is ready when this returns.

        Raises:
            RuntimeError: it could not; stderr has said why.
        """
        files: list[str | Path] = ["--plan", self._file("plan"), "--report", self._file("report")]
        if self._tls is not None:
            files += ["--key", self._tls[0], "--certificate", self._tls[1]]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench", "riva", "--exit-with-parent", "--host", self.host, "--port", str(self.port),
            *files, cwd=ROOT, stdin=PIPE, stdout=PIPE,
            env={"GRPC_VERBOSITY": "ERROR", **os.environ},  # a frozen one tells of each ping it missed
            start_new_session=True,  # Ctrl-C is for whoever measures, who then ends it
        )  # fmt: skip
        line = await self._line()
        if not line.startswith(LISTENING):
            raise RuntimeError(f"the scripted Riva did not start: exit status {await self._process.wait()}")
        self.port = int(line.rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        if self._running.returncode is None:
            self._running.send_signal(number)

    async def kill(self) -> None:
        """End it by SIGKILL, as a crash does."""
        self.signal(signal.SIGKILL)
        await self._running.wait()

    def suspend(self) -> None:
        """Freeze it by SIGSTOP: it holds its connections and does nothing."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `suspend`."""
        self.signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Begin another life on the same port; kills the present one if there is one."""
        if self._running.returncode is None:
            await self.kill()
        await self.start()

    async def terminate(self) -> Report:
        """End it by SIGTERM; what happened in this life."""
        self._running.terminate()
        async with asyncio.timeout(PATIENCE):
            await self._running.wait()
        return self._read()

    async def report(self) -> Report:
        """What has happened in this life so far."""
        self.signal(signal.SIGUSR1)
        await self._line()
        return self._read()

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("the scripted Riva was never started")
        return self._process

    async def _line(self) -> str:
        assert self._running.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._running.stdout.readline()).decode().strip()

    def _read(self) -> Report:
        return msgspec.json.decode(self._file("report").read_bytes(), type=Report)

    def _file(self, name: str) -> Path:
        return Path(self._folder.name, f"{name}.json")
