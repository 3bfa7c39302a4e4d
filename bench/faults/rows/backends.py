"""Backends that die, hang, refuse, flap, answer wrongly and answer slowly."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

from bench.faults.players import pair
from bench.faults.recovery import percentile
from bench.faults.stage import PATIENCE, Stage
from bench.riva import Plan
from bench.riva.faults import Action, At, GoAway, Slow, Status

EARLY = 0.3  # of the speech: when faults strike; the streams run by then, and much is still to be said


async def killed(stage: Stage) -> None:
    primary, _, voxtree = await stage.usual()
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        await primary.kill()


async def stopped(stage: Stage) -> None:
    primary, _, voxtree = await stage.usual()
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        primary.suspend()


async def all_gone(stage: Stage) -> None:
    """Both are killed, and come back at the same ports."""
    outage = min(20.0, max(4.0, stage.seconds))
    primary, fallback, voxtree = await stage.usual()
    async with stage.speech(voxtree.url, patience=PATIENCE + outage) as clock:
        await clock.at(EARLY)
        struck = time.monotonic()
        await primary.kill()
        await fallback.kill()
        await asyncio.sleep(outage)
        await asyncio.gather(primary.start(), fallback.start())
        stage.struck(struck)
    told = sum(any(heard.code == "delayed" for heard in talk.heard) for talk in stage.talks)
    stage.check("clients not told of the delay", len(stage.talks) - told, 0)


async def blackholed(stage: Stage) -> None:
    """Nothing passes between voxtree and the primary any more; no connection breaks."""
    primary, fallback = await stage.rivas(Plan(), Plan())
    proxy = await stage.proxy(primary.port)
    voxtree = await stage.voxtree(*pair(proxy.port, fallback.port))
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        proxy.blackhole()


async def half_open(stage: Stage) -> None:
    """What voxtree sends arrives, what the primary answers does not."""
    primary, fallback = await stage.rivas(Plan(), Plan())
    proxy = await stage.proxy(primary.port)
    voxtree = await stage.voxtree(*pair(proxy.port, fallback.port))
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        proxy.half_open()


async def goaways(stage: Stage) -> None:
    """The primary tells all connections to go, and two seconds later ends what still runs."""
    every = min(10.0, max(2.5, stage.seconds / 3))
    _, _, voxtree = await stage.usual(GoAway(at=At(server_time=every, repeat=every), grace=2.0))
    async with stage.speech(voxtree.url):
        pass
    stage.limit_delay(0.3)


async def exhausted(stage: Stage) -> None:
    """The primary has no quota left, and clients come all the time. Whoever asks it for a stream is a probe."""
    primary, _, voxtree = await stage.usual(Status(preset="rate_limited"))
    asked = [0]
    async with stage.speech(voxtree.url, spread=stage.seconds) as clock:
        for part in range(1, round(stage.seconds) + 1):
            await clock.at(part / stage.seconds - 1)
            asked.append((await primary.report()).opened)
    stage.facts["streams asked of the primary"] = asked[-1]
    each_second = [after - before for before, after in pairwise(asked)]
    stage.check("probes in a second, after the first five", max(each_second[5:], default=0), 1)


async def flapping(stage: Stage) -> None:
    """Half of the primary's streams fail after two seconds of audio."""
    _, _, voxtree = await stage.usual(Status(code="UNAVAILABLE", at=At(position=2.0), chance=0.5))
    async with stage.speech(voxtree.url):
        pass
    stage.limit_switches(max(1.0, stage.seconds / 30))


async def tampered(stage: Stage, fault: Action) -> None:
    """The primary's finals are not what they should be."""
    _, _, voxtree = await stage.usual(fault)
    async with stage.speech(voxtree.url):
        pass


async def slow(stage: Stage) -> None:
    """The primary takes ten seconds for one of audio; clients send as fast as they may, until it is replaced.

    What a server holds is bounded, so its memory grows until every session holds as much as it may, and no further.
    """
    held = 20.0  # seconds of audio, the least that can be set
    primary, _, voxtree = await stage.usual(Slow(factor=10, at="open"), settings={"session.log_seconds": held})
    words = max(stage.words, 120)
    memory: list[int] = []
    async with stage.speech(voxtree.url, words=words, pace=None, patience=2 * PATIENCE):
        for _ in range(30):
            await asyncio.sleep(0.5)
            memory.append(voxtree.process.memory())
        await primary.kill()
    half = len(memory) // 2
    stage.facts["MiB at most"] = max(memory) / 2**20
    stage.check("MiB gained while full", (max(memory[half:]) - memory[half]) / 2**20, 4, "MiB")
    most = percentile([talk.unsettled / talk.speech.rate for talk in stage.talks], 100) or 0.0
    stage.check("audio held for a client", most, held + 1, "s")
