"""A process of clients: `python -m bench.load.clients URL [OPTIONS]`.

They speak WebSocket by hand, in frames that are made once, and send them when they are due, whatever the server does.
One that is refused comes back when it was told to. On standard input they are told, each time in a line: `add N`
connects N more, and says how many there are to be then; `count` begins to count, `report` says what was counted since;
`visit N M` has N sessions of a second or less, M of them at the same time, and says how many were told all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from ssl import create_default_context
from urllib.parse import urlsplit

import msgspec

from bench.load.report import ANSWER_SECONDS, Tally
from bench.load.schedule import Schedule, phase
from bench.load.speaker import RATE, READINGS, Speaker, State
from bench.load.websocket import BINARY, frame
from transport.loops import run

KEY = "VOXTREE_BENCH_KEY"  # the variable with who we are: arguments are seen by everybody on a machine
BYTES_PER_MS = RATE * 2 // 1000
_TICK = 0.001  # seconds between two looks who is to speak: uvloop's clock knows nothing shorter
_AGAIN = (1.0, 2.0)  # seconds until one comes back that was not told when
_OPENING = 64  # connections that are being opened at the same time
_VISIT_FRAMES = 10  # of a short session
_PATIENCE = 20.0  # seconds for a server to answer a handshake, and to end a short session


class Clients:
    """All clients of this process.

    Args:
        number, of: of the processes, from 0, and how many there are: together they are spread evenly.
        slower: how many times as long as it lasts a frame's turn is; 0: they say nothing.
        audio: 16-bit mono at 16 kHz that they say again and again.
        together: they complete the same tenths of a second within the time of a frame; otherwise at any time.
    """

    def __init__(
        self,
        url: str,
        frame_ms: int,
        reading: str,
        audio: bytes,
        *,
        number: int = 0,
        of: int = 1,
        slower: float = 1.0,
        together: bool = False,
    ) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme in ("wss", "https")
        self._host, self._netloc = parts.hostname or "", parts.netloc
        self._port = parts.port or (443 if self._secure else 80)
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._key = os.environ.get(KEY)
        self._frame_ms = frame_ms
        self._reading = READINGS[reading]
        size = frame_ms * BYTES_PER_MS
        self._frames = [frame(audio[at : at + size], BINARY) for at in range(0, len(audio) - size + 1, size)]
        self._silent = slower == 0
        self._together = together
        self._schedule: Schedule[Speaker] = Schedule(frame_ms / 1000 * (slower or 1.0))
        self._number, self._of = number, of
        self._wanted = 0
        self._tally = Tally()
        self._began, self._cpu = time.monotonic(), _cpu()
        self._speakers: set[Speaker] = set()
        self._opening = asyncio.Semaphore(_OPENING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, sessions: int) -> int:
        """So many more: as soon as each is open, or was refused for the first time; how many there are to be."""
        numbers = range(self._wanted, self._wanted + sessions)
        self._wanted += sessions
        await asyncio.gather(*(self._come(number) for number in numbers))
        return self._wanted

    async def speak(self) -> None:
        """Have everybody speak whose turn it is, for ever."""
        while True:
            now = time.monotonic()
            for speaker, due in self._schedule.due(now):
                speaker.speak(due)
                self._tally.late.add(time.monotonic() - due)
            upcoming = self._schedule.next
            await asyncio.sleep(_TICK if upcoming is None else max(upcoming - time.monotonic(), _TICK))

    def count(self) -> None:
        """Begin to count."""
        fresh = Tally()
        for name in Tally.__struct_fields__:
            setattr(self._tally, name, getattr(fresh, name))
        self._began, self._cpu = time.monotonic(), _cpu()

    def report(self) -> Tally:
        """What was counted since."""
        now = time.monotonic()
        for speaker in self._speakers:
            speaker.overdue(now)
        self._tally.seconds = now - self._began
        self._tally.cpu = _cpu() - self._cpu
        self._tally.open = sum(speaker.state is State.OPEN for speaker in self._speakers)
        return self._tally

    async def visit(self, sessions: int, at_once: int) -> int:
        """Have so many short sessions; how many were told all, and left."""
        places = asyncio.Semaphore(at_once)

        async def one() -> bool:
            async with places:
                return await self._visit()

        return sum(await asyncio.gather(*(one() for _ in range(sessions))))

    async def _visit(self) -> bool:
        news = asyncio.Event()
        speaker = await self._connected(lambda _: news.set())
        if speaker is None:
            return False
        await _within(_PATIENCE, news, speaker)
        if speaker.state is State.OPEN:
            for _ in range(_VISIT_FRAMES):
                speaker.speak(time.monotonic())
            speaker.stop()
            news.clear()
            await _within(_PATIENCE, news, speaker)
        return speaker.was_told_all

    async def _come(self, number: int) -> None:
        """Connect; one that was refused or lost its connection comes back later."""
        news = asyncio.Event()

        def changed(speaker: Speaker) -> None:
            news.set()
            if speaker.state is State.OPEN and not self._silent:
                self._schedule.join(speaker, self._first(number))
            elif speaker.state in (State.REFUSED, State.LOST):
                self._schedule.leave(speaker)
                self._speakers.discard(speaker)
                self._later(number, speaker.retry_after)

        async with self._opening:
            speaker = await self._connected(changed)
            if speaker is None:
                self._later(number, None)
                return
            if speaker.state in (State.CONNECTING, State.OPEN):
                self._speakers.add(speaker)
            await _within(_PATIENCE, news, speaker)

    def _first(self, number: int) -> float:
        """When a client is to send its first frame: soon, and evenly among the others."""
        period = max(self._schedule.every, ANSWER_SECONDS)
        at = phase(number * self._of + self._number, self._schedule.every if self._together else period)
        now = time.monotonic()
        return now + (at - now) % period

    def _later(self, number: int, after: float | None) -> None:
        async def come() -> None:
            # Those who were refused together do not come back together.
            await asyncio.sleep(random.uniform(*_AGAIN) if after is None else random.uniform(1.0, 1.5) * after)
            await self._come(number)

        task = asyncio.create_task(come())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, changed: Callable[[Speaker], None]) -> Speaker | None:
        def make() -> Speaker:
            return Speaker(
                self._path,
                self._netloc,
                self._key,
                self._frames,
                self._frame_ms,
                self._schedule.every,
                self._reading,
                self._tally,
                changed,
            )

        try:
            _, speaker = await asyncio.get_running_loop().create_connection(
                make, self._host, self._port, ssl=create_default_context() if self._secure else None
            )
        except OSError:
            self._tally.lost += 1
            return None
        return speaker


async def _within(seconds: float, news: asyncio.Event, speaker: Speaker) -> None:
    """Wait for news of a client; without any it hangs up, and counts as lost."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        speaker.give_up()


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


async def _answer(clients: Clients, question: Sequence[str]) -> str:
    match question:
        case ["add", sessions]:
            return str(await clients.add(int(sessions)))
        case ["visit", sessions, at_once]:
            return str(await clients.visit(int(sessions), int(at_once)))
        case ["count"]:
            clients.count()
            return "counting"
        case _:
            return msgspec.json.encode(clients.report()).decode()


async def main(args: argparse.Namespace) -> None:
    """Speak, and answer questions until there are no more."""
    loop = asyncio.get_running_loop()
    audio = args.audio.read_bytes() if args.audio else bytes(args.frame_ms * BYTES_PER_MS)
    clients = Clients(
        args.url,
        args.frame_ms,
        args.reading,
        audio,
        number=args.number,
        of=args.of,
        slower=args.slower,
        together=args.together,
    )
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    speaking = asyncio.create_task(clients.speak())
    print("ready", flush=True)
    async for question in questions:
        print(await _answer(clients, question.decode().split()), flush=True)
    speaking.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--frame-ms", type=int, default=20)
    parser.add_argument("--reading", choices=READINGS, default="position")
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--slower", type=float, default=1.0)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--number", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    run(main(parser.parse_args()))
