"""Two servers on hosts of their own: one is lost, both are restarted in turn, one is cut off from part of the world."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

from bench.balancers import Balancer, HAProxy
from bench.faults.hosts import Hosts, hosts
from bench.faults.recovery import percentile, recovery
from bench.faults.rows.backends import EARLY
from bench.faults.rows.restarts import ABNORMAL
from bench.faults.stage import PATIENCE, Stage
from bench.faults.talk import Talk

LOST = 10.0  # seconds until the words of a lost host's clients come again
TO_STOP = 4.0  # seconds that sessions get to end
TAKEN_OVER = "CONN_010"
HELD = 3.0  # seconds for which two servers believe to own the same sessions
ON_ITS_WAY = 0.1  # seconds, within which what the server had sent before may still arrive


async def lost(stage: Stage, *, balancer: type[Balancer] = HAProxy) -> None:
    """Its cable is pulled: nothing is reset, nobody is told."""
    async with hosts(stage, balancer) as here, stage.speech(here.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        await here.network.unplug("a")
    assert stage.strike is not None
    at = stage.strike.at
    moved = _moved(stage.talks, at)
    took = [each for talk in moved if (each := recovery(talk, at)) is not None]
    stage.facts["clients of the lost host"] = len(moved)
    stage.check("hosts lost that had no clients", int(not moved), 0)
    stage.check("of these, those whose words did not come again", len(moved) - len(took), 0)
    stage.check("first fresh words of these, p99", percentile(took, 99) or 0.0, LOST, "s")
    _tile(stage)


async def restarted(stage: Stage, *, balancer: type[Balancer] = HAProxy) -> None:
    """One after the other is told to stop, and started again when it has."""
    settings = {"server.shutdown_timeout": TO_STOP}
    async with hosts(stage, balancer, settings) as here, stage.speech(here.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        for name, voxtree in here.voxtrees.items():
            stage.check(f"exit status of {name}", abs(await voxtree.end(signal.SIGTERM)), 0)
            await here.until(name, "DOWN")
            await voxtree.start()
            await here.until(name, "UP")
    reasons = [heard.code for talk in stage.talks for heard in talk.heard if heard.event == "reconnecting"]
    stage.facts["times that clients went elsewhere"] = len(reasons)
    stage.check("connections that ended with 1006", sum(ABNORMAL in reason for reason in reasons), 0)
    _tile(stage)


async def deposed(stage: Stage) -> None:
    """A server is cut off from the journal, and its clients still reach it and talk on. Others, who know all that they
    know, come to the other server with their sessions: both believe that they own them. Then the first one reaches the
    journal again."""
    async with hosts(stage) as here:
        async with stage.speech(here.url_of("a")) as clock:
            await clock.at(EARLY)
            stage.struck()
            await here.network.part("a", "database")
            others = [talk.twin() for talk in stage.talks]
            limit = clock.seconds + PATIENCE
            running = [asyncio.create_task(other.run(here.url_of("b"), limit=limit)) for other in others]
            await asyncio.sleep(HELD)
            await here.network.join("a", "database")
        await asyncio.gather(*running)
        await _fenced(stage, here)
    assert stage.strike is not None
    parted = stage.strike.at + ON_ITS_WAY
    said = sum(one.event in ("final", "gap") and one.at > parted for talk in stage.talks for one in talk.heard)
    told = sum(talk.failure == TAKEN_OVER for talk in stage.talks)
    stage.check("finals and gaps of the deposed server", said, 0)
    stage.check("its clients that were not told of it", len(stage.talks) - told, 0)
    stage.talks[:] = others
    _tile(stage)


async def unreachable(stage: Stage) -> None:
    """A server still reaches the journal, and nobody reaches it: it goes on writing for sessions that others own."""
    async with hosts(stage) as here:
        async with stage.speech(here.url) as clock:
            await clock.at(EARLY)
            stage.struck()
            await here.network.part("a", "balancer")
            await here.until("a", "DOWN")
        await _fenced(stage, here)
    assert stage.strike is not None
    stage.facts["clients of the host cut off"] = len(_moved(stage.talks, stage.strike.at))
    _tile(stage)


async def _fenced(stage: Stage, here: Hosts) -> None:
    """The journal refused what the deposed server wrote, and there was something."""
    refused = await here.metric("a", "voxtree_fenced_writes_total")
    stage.facts["writes of the deposed server that were refused"] = refused
    stage.check("deposed servers that wrote nothing", int(not refused), 0)


def _moved(talks: Iterable[Talk], since: float) -> list[Talk]:
    """Who lost its connection since then."""
    return [talk for talk in talks if any(one.event == "reconnecting" and one.at >= since for one in talk.heard)]


def _tile(stage: Stage) -> None:
    stage.check("finals and gaps that do not tile", sum(talk.holes for talk in stage.talks), 0)
