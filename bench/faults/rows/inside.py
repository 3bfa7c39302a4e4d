"""Defects of voxtree itself: actors that crash, an event loop that stands still."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from datetime import datetime
from urllib.parse import urljoin

from bench.alert_sink import AlertSink
from bench.faults.players import BY_HAND, LogLine
from bench.faults.recovery import percentile
from bench.faults.rows.backends import EARLY
from bench.faults.stage import Stage
from transport.admin.board import STANDSTILL

ADMIN_PATHS = ("/livez", "/readyz", "/metrics", "/console", "/debug/state.json")


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
    stormy = max(1, stage.sessions // 10)
    async with AlertSink() as sink:
        to = {"name": "operators", "type": "webhook", "url": sink.url}
        _, _, voxtree = await stage.usual(module=BY_HAND, settings={"alerts.sinks": [to]})
        async with stage.speech(voxtree.url, stage.sessions - stormy) as clock:
            await clock.at(EARLY)
            before = await _processor(voxtree.process.cpu)
            async with stage.speech(voxtree.url, stormy, name="storm", counts=False, spread=0.1):
                during = await _processor(voxtree.process.cpu)
        alerts = {body["key"] for body in sink.bodies if body["status"] == "firing"}
    stage.check("alerts, if not one", abs(len(alerts) - 1), 0)
    stage.check("processor time besides the usual", 100 * (during - before), 20, "%")
    gave_up = {line.path for line in voxtree.log if line.msg.endswith("/session") and "gave up" in line.msg}
    stage.check("sessions that spin on", stormy - len(gave_up), 0)


async def blocked(stage: Stage) -> None:
    """Nothing runs for two seconds, and no backend is to blame."""
    _, _, voxtree = await stage.usual(module=BY_HAND)
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        voxtree.process.say("block 2")
        took = await asyncio.to_thread(_answers, voxtree.console)
    told = sum(any(heard.event == "status" for heard in talk.heard) for talk in stage.talks)
    stage.check("clients told of a failing backend", told, 0)
    stage.check("blocks that were not logged", 1 - sum("stood still" in line.msg for line in voxtree.log), 0)
    stage.check("answers of the admin port meanwhile", -len(took), -len(ADMIN_PATHS))
    stage.check("the slowest of them", 1000 * max(took, default=0.0), 100, "ms")
    voxtree.process.say(f"block {STANDSTILL + 2}")
    stage.check("livez that does not tell of a standstill", await asyncio.to_thread(_is_told, voxtree.console), 0)


def _answers(console: str) -> list[float]:
    """Seconds that the admin port takes, while the loop stands still, for each answer."""
    took: list[float] = []
    until = time.monotonic() + 2
    while _silence(console) < 0.5 and time.monotonic() < until:  # signs of life come every quarter of a second
        pass
    for path in ADMIN_PATHS:
        asked = time.perf_counter()
        _ask(console, path)
        seconds = time.perf_counter() - asked
        if _silence(console) > 0.5:  # it still does
            took.append(seconds)
    return took


def _is_told(console: str) -> int:
    """0 as soon as /livez says that the loop is dead; 1 if it never does."""
    until = time.monotonic() + STANDSTILL + 10
    while time.monotonic() < until:
        if _ask(console, "/livez")[0] == 503:
            return 0
        time.sleep(0.1)
    return 1


def _silence(console: str) -> float:
    """Seconds since the loop's last sign of life."""
    silence: float = json.loads(_ask(console, "/debug/state.json")[1])["silence"]
    return silence


def _ask(console: str, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urljoin(console, path), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


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
