"""Clients that do not read what they are told."""

from __future__ import annotations

from bench.faults.stage import Stage
from bench.proxy import Line

WINDOW = 4096  # bytes that wait in the kernel for a slow reader
PER_SESSION = 256  # KiB
LONG = 300  # words, whose interims fill all buffers of a client that reads nothing
CUT_OFF = "CONN_007"


async def slow_readers(stage: Stage) -> None:
    """Every tenth client gets 1 KB/s: enough for its finals, too little for all interims."""
    await _beside_others(stage, Line(rate=1000), counts=True, words=stage.words)


async def non_readers(stage: Stage) -> None:
    """Every tenth client reads nothing from some point on. It is to be told so and cut off; the others count."""
    slow = await _beside_others(stage, Line(rate=0.01), counts=False, words=max(LONG, stage.words))
    stage.check("clients who read nothing and were kept", slow - stage.facts["clients cut off"], 0)


async def _beside_others(stage: Stage, line: Line, *, counts: bool, words: int) -> int:
    """Play it; how many are slow."""
    _, _, voxtree = await stage.usual()
    proxy = await stage.proxy(voxtree.port, window=WINDOW)
    slow = max(1, stage.sessions // 10)
    async with (
        stage.speech(f"ws://127.0.0.1:{proxy.port}/transcribe", slow, name="slow", words=words, counts=counts),
        stage.speech(voxtree.url, stage.sessions - slow) as clock,
    ):
        await clock.at(0.1)
        before = voxtree.process.memory()
        proxy.down = line
        await clock.at(1)
        gained = voxtree.process.memory() - before
    stage.check("memory gained for each slow client", gained / slow / 1024, PER_SESSION, "KiB")
    stage.facts["clients cut off"] = sum(CUT_OFF in line.msg for line in voxtree.log)
    return slow
