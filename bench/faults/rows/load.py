"""More clients than there is room for, and clients that want nothing but harm: who speaks may not notice."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actors.speech.catalogue import UNKNOWN
from bench.faults.knocking import knocking
from bench.faults.players import Voxtree, pair
from bench.faults.recovery import delays, percentile
from bench.faults.stage import Stage
from bench.processes import Process
from bench.riva import Plan

OVERLOAD = 3  # times as many as there is room for
REFUSAL = 0.05  # seconds
LAST = 0.7  # of the speech
ADDED = 0.20  # of the 99th percentile of a word's delay
NOISE = 0.05  # seconds, below which two runs of the same differ
ATTACKERS = 2000
FEW = 256  # file descriptors
GROWTH = 256  # MB: 2,000 connections with a WebSocket that nobody uses are some 50
LOOK = 0.2  # seconds


async def overload(stage: Stage) -> None:
    """As many speak as there is room for; then the same, while twice as many more want to get in all the time."""
    primary, fallback = await stage.rivas(Plan(), Plan())
    settings = {"session.max_sessions": stage.sessions}
    voxtree = await stage.voxtree(*pair(primary.port, fallback.port), settings=settings)
    async with stage.speech(voxtree.url, name="alone") as alone:
        pass
    async with stage.speech(voxtree.url, name="beside") as beside:
        await beside.at(0.0)
        excess = (OVERLOAD - 1) * stage.sessions
        async with knocking(voxtree.url, excess, spread=stage.seconds / 2) as refusals:
            await beside.at(LAST)  # before the first of them has said all, and leaves its place
    usual, loaded = (
        percentile([delay for talk in clock.talks for delay in delays(talk)], 99) or 0.0 for clock in (alone, beside)
    )
    stage.check("delay p99 that refusing adds", 1000 * (loaded - usual), 1000 * max(NOISE, ADDED * usual), "ms")
    stage.check("refusal p99", 1000 * (percentile(refusals.seconds, 99) or float("inf")), 1000 * REFUSAL, "ms")
    stage.check("refused without a time to come back", refusals.untold, 0)
    stage.check("attempts not answered", refusals.failed, 0)
    stage.check("let in past the limit", refusals.let_in, 0)
    stage.facts["refused"] = len(refusals.seconds)
    stage.facts["refusal p50, ms"] = 1000 * (percentile(refusals.seconds, 50) or 0.0)
    stage.facts["longest wait named, s"] = max(refusals.waits, default=0.0)


async def attacked(stage: Stage, *, few_descriptors: bool = False) -> None:
    """Connections that drip, idle, flood and babble, all from the address that the honest ones come from."""
    primary, fallback = await stage.rivas(Plan(), Plan())
    voxtree = await stage.voxtree(*pair(primary.port, fallback.port))
    pid = voxtree.process.pid
    if few_descriptors:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (FEW + stage.sessions, hard))
    before = voxtree.process.memory() / 1e6
    arguments = ("-m", "bench.faults.attackers", str(voxtree.port), str(ATTACKERS))
    async with Process(*arguments) as attackers, _watched(voxtree.process) as peak:
        await attackers.line()  # all are at work
        stage.struck()
        async with stage.speech(voxtree.url):
            pass
        stage.facts["connections made by attackers"] = await _made(attackers)
    stage.check("memory added, MB", max(peak) - before, GROWTH)
    crashes = [line.msg for line in voxtree.log if line.code == UNKNOWN.code]
    stage.check("crashes in the log", len(crashes), 0)
    stage.details += [{"crash": crash, "right": False} for crash in crashes[:5]]
    await _still_serves(stage, voxtree)
    told = sum(any(heard.event == "error" for heard in talk.heard) for talk in stage.talks)
    stage.check("honest clients with an error", told, 0)


async def _still_serves(stage: Stage, voxtree: Voxtree) -> None:
    async with stage.speech(voxtree.url, 1, name="after", words=10):
        pass


async def _made(attackers: Process) -> float:
    return float(await attackers.ask("end"))


@asynccontextmanager
async def _watched(process: Process) -> AsyncGenerator[list[float], None]:
    """The memory of a process as often as is worth looking, in MB."""
    seen = [process.memory() / 1e6]

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK)
            seen.append(process.memory() / 1e6)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
