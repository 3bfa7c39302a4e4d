"""One of several workers fails or is replaced: its clients go on at a sibling, and the others notice nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator

import msgspec

from bench.faults.players import Voxtree
from bench.faults.recovery import percentile
from bench.faults.rows.backends import EARLY
from bench.faults.rows.restarts import ABNORMAL
from bench.faults.stage import Stage
from bench.faults.talk import Talk
from bench.processes import children
from transport.admin.state import WorkerRow
from transport.cli.admin_port import Seen

WORKERS = 2
NOTICED, AFTER_STANDSTILL, AFTER_KILL, AFTER_REPLACEMENT = 3.0, 6.0, 2.5, 2.0  # seconds
TO_STOP = 3.0  # seconds that sessions get to move
LOOK = 0.02
PATIENCE = 60.0  # for processes to start, on a machine with much to do


async def stopped(stage: Stage) -> None:
    """SIGSTOP: nothing ends, and nothing answers any more."""
    await _strike(stage, signal.SIGSTOP, AFTER_STANDSTILL)


async def killed(stage: Stage) -> None:
    """SIGKILL."""
    await _strike(stage, signal.SIGKILL, AFTER_KILL)


async def replaced(stage: Stage) -> None:
    """SIGUSR2: each gets a successor, while everybody speaks."""
    _, _, voxtree = await stage.usual(workers=WORKERS, settings={"server.shutdown_timeout": TO_STOP})
    before = {worker.pid for worker in _workers(voxtree)}
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        voxtree.process.signal(signal.SIGUSR2)
        async with asyncio.timeout(PATIENCE):
            await _until(lambda: before.isdisjoint(children(voxtree.process.pid)))
        assert stage.strike is not None
        stage.facts["seconds to replace all"] = time.monotonic() - stage.strike.at
    away = sorted(seconds for talk in stage.talks for seconds in _absences(talk))
    stage.facts["times that clients moved"] = len(away)
    stage.facts["away p50, ms"] = 1000 * (percentile(away, 50) or 0.0)
    stage.check("away p99", 1000 * (percentile(away, 99) or 0.0), 1000 * AFTER_REPLACEMENT, "ms")
    stage.check("clients that did not come back", sum(talk.failure is not None for talk in stage.talks), 0)
    stage.check("finals and gaps that do not tile", sum(talk.holes for talk in stage.talks), 0)
    reasons = [heard.code for talk in stage.talks for heard in talk.heard if heard.event == "reconnecting"]
    stage.check("connections that ended with 1006", sum(ABNORMAL in reason for reason in reasons), 0)


def _absences(talk: Talk) -> Iterator[float]:
    """How long a client was without its session each time, in seconds. Each goes when its worker's turn has come."""
    since: float | None = None
    for heard in talk.heard:
        if heard.event == "reconnecting":
            since = heard.at if since is None else since
        elif heard.event == "resumed" and since is not None:
            yield heard.at - since
            since = None


async def _strike(stage: Stage, number: signal.Signals, resumed: float) -> None:
    _, _, voxtree = await stage.usual(workers=WORKERS)
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        workers = await asyncio.to_thread(_workers, voxtree)
        struck = max(workers, key=lambda worker: worker.sessions)
        os.kill(struck.pid, number)
        stage.struck()
        async with asyncio.timeout(PATIENCE):
            await _until(lambda: struck.pid not in children(voxtree.process.pid))
        assert stage.strike is not None
        stage.check("seconds until it was gone", time.monotonic() - stage.strike.at, NOTICED)
        stage.facts["sessions that it had"] = struck.sessions
    stage.limit_resume(resumed, moved_only=True)
    stage.check("workers that are missing at the end", WORKERS - await _serving(voxtree), 0)


async def _serving(voxtree: Voxtree) -> int:
    """How many workers serve, once all do, or in the end."""
    count = 0
    for _ in range(round(PATIENCE)):
        count = sum(each.state == "serving" for each in await asyncio.to_thread(_workers, voxtree))
        if count == WORKERS:
            break
        await asyncio.sleep(1.0)
    return count


async def _until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110  (of other processes nobody tells us)
        await asyncio.sleep(LOOK)


def _workers(voxtree: Voxtree) -> list[WorkerRow]:
    with urllib.request.urlopen(f"{voxtree.console.removesuffix('/console')}/debug/state.json", timeout=10) as answer:
        return list(msgspec.json.decode(answer.read(), type=Seen).state.workers.values())
