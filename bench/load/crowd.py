"""The clients of a load, in processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import msgspec

from bench.load.clients import KEY
from bench.load.report import Report, Tally, summed
from bench.processes import Process

PROCESSES = 2


class Crowd:
    """Clients of one server, who come while the context is entered, and are gone after it.

    Args:
        url: `ws://HOST:PORT/transcribe`, or wss.
        frame_ms: audio in a message; `processes` of clients, over which sessions are spread.
        slower: how many times as long as it lasts a frame's turn is: 1.0 is real time; 0: they say nothing.
        reading: by what answers are told, see `bench.load.speaker`.
        audio: a file of 16-bit mono at 16 kHz that they say; None: silence.
        together: they complete the same tenths of a second within the time of a frame; otherwise at any time.
        key: who we are.
    """

    def __init__(
        self,
        url: str,
        frame_ms: int = 20,
        *,
        processes: int = PROCESSES,
        slower: float = 1.0,
        reading: str = "position",
        audio: Path | None = None,
        together: bool = False,
        key: str | None = None,
    ) -> None:
        shared = ["--frame-ms", str(frame_ms), "--slower", str(slower), "--reading", reading, "--of", str(processes)]
        shared += ["--audio", str(audio.resolve())] if audio is not None else []
        shared += ["--together"] if together else []
        self._processes = [
            Process(
                *("-m", "bench.load.clients", url, *shared, "--number", str(number)),
                environment={} if key is None else {KEY: key},
            )
            for number in range(processes)
        ]
        self._stack = AsyncExitStack()
        self._sessions = 0

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for process in self._processes:
                await stack.enter_async_context(process)
            for process in self._processes:
                await process.line()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def pids(self) -> Sequence[int]:
        """The processes."""
        return [process.pid for process in self._processes]

    async def add(self, sessions: int) -> None:
        """So many more clients; comes back when each is in, or was refused for the first time.

        Raises:
            ProcessDied: a process of clients did not live so long; so do those below.
        """
        await self._ask_each("add", self._shares(sessions))
        self._sessions += sessions

    async def count(self) -> None:
        """Begin to count."""
        await self._ask_all("count")

    async def report(self) -> Report:
        """What was counted since."""
        return summed([msgspec.json.decode(line, type=Tally) for line in await self._ask_all("report")])

    async def measure(self, seconds: float) -> Report:
        """Count for so many seconds."""
        await self.count()
        await asyncio.sleep(seconds)
        return await self.report()

    async def visit(self, sessions: int, at_once: int) -> int:
        """Have so many sessions of a second or less, so many of them at the same time; how many were told all."""
        some = max(1, at_once // len(self._processes))
        told = await self._ask_each("visit", self._shares(sessions), str(some))
        return sum(map(int, told))

    def _shares(self, sessions: int) -> list[int]:
        """Of those who come, how many each process gets: first those that have fewer."""
        count = len(self._processes)
        return [sum((self._sessions + k) % count == number for k in range(sessions)) for number in range(count)]

    async def _ask_all(self, question: str) -> list[str]:
        return await asyncio.gather(*(process.ask(question) for process in self._processes))

    async def _ask_each(self, verb: str, numbers: Sequence[int], more: str = "") -> list[str]:
        return await asyncio.gather(
            *(
                process.ask(f"{verb} {number} {more}".rstrip())
                for process, number in zip(self._processes, numbers, strict=True)
            )
        )
