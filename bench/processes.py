"""Processes that a measurement starts, strikes, and in any case ends. Reads `/proc`: Linux only."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from bench.rounds import ROOT
from transport.expected import ExpectedError

ANSWER_SECONDS = 60.0  # for the next line; a Python that has much to import on a busy machine takes a few
LAST_WORDS = 20  # lines of its log that are shown of a process that died
_LINE_BYTES = 4 * 1024 * 1024  # of the longest line: a log line with a traceback


class ProcessDied(ExpectedError):
    """A process ended, or went silent, when it was still needed. The message holds its last words."""

    exit_code = 1


class TooFewFiles(ExpectedError):
    """This process may not open as many connections as are needed. The message says what to do."""


class Process:
    """A process that lives while its context is entered, in a process group of its own.

    Args:
        arguments: what follows the program.
        program: what is run; Python by default.
        on_log: called with the time (`time.monotonic`) and each line of its standard error.
        environment: variables besides this process's own.
        inside: put before the command, as for another network namespace; it becomes the command, and keeps its id.
    """

    def __init__(
        self,
        *arguments: str,
        program: str = sys.executable,
        on_log: Callable[[float, str], None] = lambda at, line: None,
        environment: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        self._program = program
        self._arguments = arguments
        self._inside = inside
        self._on_log = on_log
        self._environment = environment or {}
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._inside,
            self._program,
            *self._arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **self._environment},
            start_new_session=True,  # Ctrl-C is for whoever measures, who then ends it
            limit=_LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read_log())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading

    async def line(self) -> str:
        """The next line of its output.

        Raises:
            ProcessDied: none came.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = (await self._process.stdout.readline()).decode()
        except TimeoutError:
            line = ""
        if not line:
            name = " ".join([Path(self._program).name, *self._arguments[:3]])
            raise ProcessDied("\n".join([f"`{name} …` said nothing more; its last words:", *self._last_words]))
        return line.rstrip("\n")

    async def ask(self, question: str) -> str:
        """Write a line to its input; the next line of its output.

        Raises:
            ProcessDied: there is no answer.
        """
        self.say(question)
        return await self.line()

    def say(self, line: str) -> None:
        """Write a line to its input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; the exit status, negative if a signal ended it."""
        return await self._process.wait()

    # ---- what it uses

    def memory(self) -> int:
        """Bytes of it that are in memory."""
        return memory(self.pid)

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def files(self) -> int:
        """Open file descriptors."""
        return files(self.pid)

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip("\n")
            self._last_words.append(text)
            self._on_log(time.monotonic(), text)


def memory(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def files(pid: int) -> int:
    """Its open file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def children(pid: int) -> list[int]:
    """The processes that its first thread has started, and that are there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def allow_files(count: int) -> None:
    """Let this process, and those that it starts, have so many open files.

    Raises:
        TooFewFiles: they may not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise TooFewFiles(f"{count} open files are needed and {hard} are allowed: raise the limit (`ulimit -Hn`)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))  # which the server inherits
