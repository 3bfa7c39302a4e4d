"""Clients that cost next to nothing: `python -m bench.relay.speakers URL SESSIONS FRAME_MS`.

They speak WebSocket by hand, in frames that are made once: it is not for them that a machine is to be measured. Each
sends silence at its pace, all of them spread evenly over a frame's time. On standard input they are asked: `count`
prints the frames sent so far, `report` what there is to say since the last `count`.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

import msgspec

from bench.relay.figures import Report
from bench.relay.loops import run_on

ANSWER = "at {:07d}"  # tenths of a second; what the backend says
_HEARD = re.compile(rb"at (\d{7})")
_START = b'{"event":"start","config":{"sample_rate":16000}}'
_BYTES_PER_MS = 32
_TICK = 0.001  # seconds between two looks who is to speak: uvloop's clock knows nothing shorter
_OVERLAP = len(ANSWER.format(0)) - 1  # of what was read, looked at again with what comes next


def frame(payload: bytes, opcode: int) -> bytes:
    """A WebSocket frame from a client. Masked by zeros, which changes nothing, and is as good a mask as any other."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Speaker(asyncio.Protocol):
    """One client, from its connection on.

    Attributes:
        sent: frames so far.
        latencies: seconds from the frame that completed a tenth of a second to the answer that tells of it.
        lost: the server has closed the connection.
    """

    def __init__(self, url: str, frame_ms: int) -> None:
        parts = urlsplit(url)
        self._hello = (
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._frame_ms = frame_ms
        self._frame = frame(bytes(frame_ms * _BYTES_PER_MS), 2)
        self._completed: dict[int, float] = {}
        self._tail = b""
        self.open = asyncio.get_running_loop().create_future()
        self.sent = 0
        self.latencies: list[float] = []
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._transport.write(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone."""
        self.lost = True

    def data_received(self, data: bytes) -> None:
        """Take what was heard."""
        if not self.open.done():
            if b"\r\n\r\n" in data:
                self._transport.write(frame(_START, 1))
                self.open.set_result(None)
            return
        data = self._tail + data
        for number in _HEARD.findall(data):
            if (since := self._completed.pop(int(number), None)) is not None:
                self.latencies.append(time.perf_counter() - since)
        self._tail = data[-_OVERLAP:]

    def speak(self) -> None:
        """Send a frame."""
        self._transport.write(self._frame)
        self.sent += 1
        tenths, rest = divmod(self.sent * self._frame_ms, 100)
        if rest < self._frame_ms:
            self._completed[tenths] = time.perf_counter()


class Crowd:
    """Speakers that speak at the same time."""

    def __init__(self, speakers: Sequence[Speaker], frame_ms: int) -> None:
        self._speakers = speakers
        self._every = frame_ms / 1000
        self._late: list[float] = []
        self._counted = 0
        self._cpu = 0.0

    async def speak(self) -> None:
        """Speak for ever, one after another, each once in a frame's time."""
        began, apart, turn = time.perf_counter(), self._every / len(self._speakers), 0
        while True:
            now = time.perf_counter()
            while (due := began + turn * apart) <= now:
                self._speakers[turn % len(self._speakers)].speak()
                self._late.append(now - due)
                turn += 1
            await asyncio.sleep(max(due - now, _TICK))

    def count(self) -> int:
        """Frames so far; what is reported begins here."""
        self._late.clear()
        for speaker in self._speakers:
            speaker.latencies.clear()
        self._cpu = _cpu()
        self._counted = sum(speaker.sent for speaker in self._speakers)
        return self._counted

    def report(self) -> Report:
        """What has happened since."""
        latencies = [each for speaker in self._speakers for each in speaker.latencies] or [float("inf")]
        return Report(
            sent=sum(speaker.sent for speaker in self._speakers) - self._counted,
            answers=len(latencies),
            latency_p50=statistics.median(latencies),
            latency_p99=_p99(latencies),
            late_p99=_p99(self._late),
            cpu=_cpu() - self._cpu,
            lost=sum(speaker.lost for speaker in self._speakers),
        )


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))] if values else 0.0


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


async def main(url: str, sessions: int, frame_ms: int) -> None:
    """Connect, speak, and answer questions until there are no more."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    speakers = []
    for _ in range(sessions):
        _, speaker = await loop.create_connection(lambda: Speaker(url, frame_ms), parts.hostname, parts.port)
        await speaker.open
        speakers.append(speaker)
    crowd = Crowd(speakers, frame_ms)
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    speaking = asyncio.create_task(crowd.speak())
    print("speaking", flush=True)
    async for question in questions:
        print(crowd.count() if question == b"count\n" else msgspec.json.encode(crowd.report()).decode(), flush=True)
    speaking.cancel()


if __name__ == "__main__":
    run_on("uvloop", main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
