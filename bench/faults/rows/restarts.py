"""The server dies or stops under its clients, and is started again at once, at the same port and with its journal."""

from __future__ import annotations

import asyncio
import signal
import time

from bench.faults.players import BY_HAND, Voxtree, free_port
from bench.faults.rows.backends import EARLY
from bench.faults.stage import Stage

AFTER_KILL, AFTER_STOP = 2.5, 2.0  # seconds from when the port is back until a session is
TO_STOP = 3.0  # seconds that sessions get to end
DEATHS = 3
ABNORMAL = "the connection was lost"  # what a client calls 1006: it ended without a closing handshake


async def killed(stage: Stage) -> None:
    """SIGKILL."""
    _, _, voxtree = await stage.usual(settings={"server.port": free_port()})
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        struck = time.monotonic()
        await voxtree.end(signal.SIGKILL)
        await _start(stage, voxtree, struck)
    stage.limit_resume(AFTER_KILL)


async def stopped(stage: Stage) -> None:
    """SIGTERM: everybody is told, and no connection just breaks."""
    _, _, voxtree = await stage.usual(settings={"server.port": free_port(), "server.shutdown_timeout": TO_STOP})
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        struck = time.monotonic()
        status = await voxtree.end(signal.SIGTERM)
        stage.facts["seconds to stop"] = time.monotonic() - struck
        await _start(stage, voxtree, struck)
    stage.limit_resume(AFTER_STOP)
    told = sum(any(heard.event == "goaway" for heard in talk.heard) for talk in stage.talks)
    reasons = [heard.code for talk in stage.talks for heard in talk.heard if heard.event == "reconnecting"]
    broken = sum(ABNORMAL in reason for reason in reasons)
    stage.check("exit status", abs(status), 0)
    stage.check("clients not told `goaway`", len(stage.talks) - told, 0)
    stage.check("connections that ended with 1006", broken, 0)


async def dies_having_committed(stage: Stage) -> None:
    """The server dies at the moment when words are in the journal and not sent, several times."""
    _, _, voxtree = await stage.usual(module=BY_HAND, settings={"server.port": free_port()})
    async with stage.speech(voxtree.url) as clock:
        for death in range(1, DEATHS + 1):
            await clock.at(death / (DEATHS + 2))
            struck = time.monotonic()
            voxtree.process.say("die")
            async with asyncio.timeout(clock.seconds):
                await voxtree.process.ended()
            await _start(stage, voxtree, struck)
    stage.facts["deaths"] = DEATHS
    stage.limit_resume(AFTER_KILL)


async def _start(stage: Stage, voxtree: Voxtree, struck: float) -> None:
    await voxtree.start()
    stage.struck(struck)
    stage.facts["seconds to start"] = time.monotonic() - struck
