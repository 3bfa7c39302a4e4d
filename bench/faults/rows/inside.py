"""Defects of voxtree itself: actors that crash, an event loop that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from bench.faults.players import BY_HAND, LogLine
from bench.faults.recovery import percentile
from bench.faults.rows.backends import EARLY
from bench.faults.stage import Stage


async def commit_crashes(stage: Stage) -> None:
    """Each session's actor crashes whenever words have been committed and not been sent."""
    _, _, voxtree = await stage.usual(module=BY_HAND, settings={"log.level": "debug"})
    async with stage.speech(voxtree.url, name="commit"):
        pass
    stage.facts["crashes"] = len(_restarts(voxtree.log))


async def actor_crashes(stage: Stage) -> None:
    """Each message that an actor has handled crashes it with a probability of one percent."""
    settings = {"inject.rates.UNKNOWN": 0.01, "inject.seed": 1, "log.level": "debug"}
    _, _, voxtree = await stage.usual(settings=settings)
    async with stage.speech(voxtree.url):
        pass
    restarts = _restarts(voxtree.log)
    stage.facts["crashes"] = len(restarts)
    stage.check("restart p99", 1000 * (percentile(restarts, 99) or 0.0), 50, "ms")
    stage.check(
        "errors shown to clients", sum(heard.event == "error" for talk in stage.talks for heard in talk.heard), 0
    )


async def storm(stage: Stage) -> None:
    """The actors of some sessions crash at every message, until their restarts are used up. The others count."""
    _, _, voxtree = await stage.usual(module=BY_HAND)
    stormy = max(1, stage.sessions // 10)
    async with stage.speech(voxtree.url, stage.sessions - stormy) as clock:
        await clock.at(EARLY)
        before = await _processor(voxtree.process.cpu)
        async with stage.speech(voxtree.url, stormy, name="storm", counts=False, spread=0.1):
            during = await _processor(voxtree.process.cpu)
    stage.check("processor time besides the usual", 100 * (during - before), 20, "%")
    gave_up = {line.path for line in voxtree.log if line.msg.endswith("/session") and "gave up" in line.msg}
    stage.check("sessions that spin on", stormy - len(gave_up), 0)
    stage.not_yet.append("an alert")


async def blocked(stage: Stage) -> None:
    """Nothing runs for two seconds, and no backend is to blame."""
    _, _, voxtree = await stage.usual(module=BY_HAND)
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        voxtree.process.say("block 2")
    told = sum(any(heard.event == "status" for heard in talk.heard) for talk in stage.talks)
    stage.check("clients told of a failing backend", told, 0)
    stage.check("blocks that were not logged", 1 - sum("stood still" in line.msg for line in voxtree.log), 0)
    stage.not_yet.append("livez 503 and a console that answers")


def _restarts(log: Iterable[LogLine]) -> list[float]:
    """Seconds from each crash of a session's actor to the start of the next one."""
    crashed: dict[str, datetime] = {}
    took: list[float] = []
    for line in log:
        if not line.path.endswith("/session"):
            continue
        at = datetime.fromisoformat(line.ts)
        if line.code == "UNKNOWN" or " failed: crashed" in line.msg:
            crashed[line.path] = at
        elif line.msg.endswith(" started") and line.path in crashed:
            took.append((at - crashed.pop(line.path)).total_seconds())
    return took


async def _processor(cpu: Callable[[], float], seconds: float = 1.5) -> float:
    """The share of a core that a process takes."""
    before = cpu()
    await asyncio.sleep(seconds)
    return (cpu() - before) / seconds
