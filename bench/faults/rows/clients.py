"""Clients that do not read what they are told.

What they cost is told from what clients cost anyway by a second server, to which the same clients say the same and read
everything: a server's memory grows in its first minute, whoever its clients are. That growth differs by one or two MiB
from run to run, so that the slow ones have to be many.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import msgspec
from websockets.exceptions import ConnectionClosed

from bench.faults.players import Voxtree
from bench.faults.stage import Stage
from bench.faults.talk import CHUNK_SECONDS
from bench.proxy import DIRECT, Line
from bench.riva import CodedSpeech
from transport.client.dialling import Dialler
from transport.wire.voxtree_v1_schema import StartConfig, StartMessage

WINDOW = 4096  # bytes that wait in the kernel for a slow reader
PER_SESSION = 256  # KiB
LONG = 300  # words: more than 30 s of them are still to come when all buffers of a client that reads nothing are full
LOOK = 0.25  # seconds between two looks at the memory
CUT_OFF = "CONN_007"


async def slow_readers(stage: Stage) -> None:
    """Every second client gets 1 KB/s: enough for its finals, too little for all interims. None is to be cut off."""
    cut_off = await _beside_others(stage, Line(rate=1000), counts=True, words=stage.words)
    stage.check("clients who read and were cut off", cut_off, 0)


async def non_readers(stage: Stage) -> None:
    """Every second client reads nothing from some point on. It is to be told so and cut off; the others count."""
    cut_off = await _beside_others(stage, Line(rate=0.01), counts=False, words=max(LONG, stage.words))
    stage.check("clients who read nothing and were kept", _slow(stage) - cut_off, 0)


def _slow(stage: Stage) -> int:
    return max(1, stage.sessions // 2)


async def _beside_others(stage: Stage, line: Line, *, counts: bool, words: int) -> int:
    """Play it; how many were cut off."""
    async with stage.apart() as usual:
        _, without = await _played(usual, DIRECT, counts=counts, words=words)
    voxtree, gained = await _played(stage, line, counts=counts, words=words)
    stage.facts["MiB gained, were all read"] = without / 2**20
    stage.facts["MiB gained"] = gained / 2**20
    stage.check("memory gained for each slow client", (gained - without) / _slow(stage) / 1024, PER_SESSION, "KiB")
    cut_off = sum(CUT_OFF in line.msg for line in voxtree.log)
    stage.facts["clients cut off"] = cut_off
    return cut_off


async def _played(stage: Stage, line: Line, *, counts: bool, words: int) -> tuple[Voxtree, int]:
    """A server, some of whose clients are at the end of such a line; and how much memory it gains since, at most."""
    _, _, voxtree = await stage.usual()
    proxy = await stage.proxy(voxtree.port, window=WINDOW)
    slow = _slow(stage)
    url = f"ws://127.0.0.1:{proxy.port}/transcribe"
    async with (
        _watched(voxtree) as memory,
        stage.speech(url, slow, name="slow", words=words) if counts else _deaf(stage, url, slow, words),
        stage.speech(voxtree.url, stage.sessions - slow) as clock,
    ):
        await clock.at(0.1)
        proxy.down = line
        memory[:] = [voxtree.process.memory()]
    return voxtree, max(memory) - memory[0]


@asynccontextmanager
async def _watched(voxtree: Voxtree) -> AsyncGenerator[list[int], None]:
    """The server's memory, noted again and again while the body runs."""
    memory: list[int] = []

    async def watch() -> None:
        while True:
            memory.append(voxtree.process.memory())
            await asyncio.sleep(LOOK)

    watching = asyncio.create_task(watch())
    try:
        yield memory
    finally:
        watching.cancel()


@asynccontextmanager
async def _deaf(stage: Stage, url: str, clients: int, words: int) -> AsyncGenerator[None, None]:
    """Clients who talk on, whatever they hear or do not hear. One of the library would soon try another connection."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(_talk_on(url, stage.coded(words)))
        yield


async def _talk_on(url: str, speech: CodedSpeech) -> None:
    connection = await Dialler(url).dial(f"deaf-{speech.tag}")
    start = StartMessage(StartConfig(encoding="pcm16", sample_rate=speech.rate, channels=1))
    with suppress(ConnectionClosed):
        await connection.send(msgspec.json.encode(start).decode())
        for chunk in speech.chunks(CHUNK_SECONDS):
            await connection.send(chunk)
            await asyncio.sleep(CHUNK_SECONDS)
    connection.transport.abort()
