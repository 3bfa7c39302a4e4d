"""Clients whose connections are cut, and who come back: soon, late, too late, twice."""

from __future__ import annotations

import asyncio
import time

from bench.faults.players import Voxtree
from bench.faults.rows.backends import EARLY
from bench.faults.stage import PATIENCE, Stage
from bench.faults.talk import Talk
from bench.proxy import Proxy, Tripwire

RESUMED = 0.5  # seconds from when the network is back
SHORT_KEEP = 3.0  # seconds of audio
SHORT_WINDOW = 2.0  # seconds for which a session is kept
NOT_KEPT, UNKNOWN_SESSION, TAKEN_OVER = "AUDIO_007", "CONN_008", "CONN_010"


async def away(stage: Stage, *, seconds: float) -> None:
    """No connection lasts and none can be made, for a while. Everybody talks on."""
    _, proxy = await _behind_a_proxy(stage)
    async with stage.speech(_url(proxy), patience=PATIENCE + seconds) as clock:
        await clock.at(EARLY)
        await _unplugged(stage, proxy, seconds)
    stage.limit_resume(RESUMED)


async def away_too_long(stage: Stage) -> None:
    """The same for longer than clients keep audio. What they dropped is declared, and nothing else."""
    _, proxy = await _behind_a_proxy(stage)
    seconds = 2 * SHORT_KEEP
    async with stage.speech(_url(proxy), patience=PATIENCE + seconds, keep=SHORT_KEEP) as clock:
        await clock.at(EARLY)
        await _unplugged(stage, proxy, seconds)
    told = [talk for talk in stage.talks if any(heard.code == NOT_KEPT for heard in talk.heard)]
    declared = [(end - start) / talk.speech.rate for talk in stage.talks for start, end in talk.gaps]
    stage.facts["longest gap, s"] = max(declared, default=0.0)
    stage.check("clients told of no gap", len(stage.talks) - len(told), 0)
    stage.check("words within gaps that came nevertheless", sum(map(_heard_in_gaps, stage.talks)), 0)
    stage.check("finals and gaps that do not tile", sum(talk.holes for talk in stage.talks), 0)


async def forgotten(stage: Stage) -> None:
    """The same for longer than the server keeps sessions. Clients are told to begin anew."""
    _, proxy = await _behind_a_proxy(stage, {"session.resume_window": SHORT_WINDOW})
    async with stage.speech(_url(proxy), counts=False, give_up_after=60.0) as clock:
        talks = clock.talks
        await clock.at(EARLY)
        await _unplugged(stage, proxy, 3 * SHORT_WINDOW)
    stage.strike = None
    right = sum(talk.failure == UNKNOWN_SESSION and talk.action == "new_session" for talk in talks)
    stage.facts["clients told to begin anew"] = right
    stage.check(f"clients not told {UNKNOWN_SESSION}, new_session", len(talks) - right, 0)
    lost = sum(talk.ledger.score(talk.settled).lost for talk in talks)
    stage.check("words lost that had been settled before", lost, 0)


async def cut_at_ready(stage: Stage, *, arrives: bool) -> None:
    """Everybody is cut, and again when the server says `ready`, twice: it may not know which token a client has."""
    _, proxy = await _behind_a_proxy(stage)
    async with stage.speech(_url(proxy)) as clock:
        await clock.at(EARLY)
        wire = proxy.tripwire = Tripwire(b'"event":"ready"', arrives=arrives, times=2 * stage.sessions)
        proxy.cut()
        stage.struck()
    stage.check("cuts that did not happen", wire.times, 0)
    stage.check("clients that are stranded", sum(talk.failure is not None for talk in stage.talks), 0)
    stage.check("finals and gaps that do not tile", sum(talk.holes for talk in stage.talks), 0)


async def twins(stage: Stage, *, cut: bool) -> None:
    """Everybody becomes two, who both resume if they are `cut`. One goes on; the other one is told that it was."""
    _, proxy = await _behind_a_proxy(stage)
    async with stage.speech(_url(proxy)) as clock:
        await clock.at(EARLY)
        others = [talk.twin() for talk in stage.talks]
        for talk in stage.talks:
            talk.is_silent = not cut  # so that the other one has all that the server has got
        limit = clock.seconds + PATIENCE
        running = [asyncio.create_task(other.run(_url(proxy), limit=limit)) for other in others]
        if cut:
            proxy.cut()
    await asyncio.gather(*running)
    pairs = list(zip(stage.talks, others, strict=True))
    one_each = sum(sorted(str(talk.failure) for talk in pair) == [TAKEN_OVER, "None"] for pair in pairs)
    stage.talks[:] = [other if one.failure is not None else one for one, other in pairs]
    stage.facts["sessions whose second client won"] = sum(talk in others for talk in stage.talks)
    for one in {str(talk.failure) for pair in pairs for talk in pair}:
        stage.facts[f"clients that ended with {one}"] = sum(str(talk.failure) == one for pair in pairs for talk in pair)
    stage.check("sessions without one winner and one taken over", len(pairs) - one_each, 0)


async def _behind_a_proxy(stage: Stage, settings: dict[str, object] | None = None) -> tuple[Voxtree, Proxy]:
    _, _, voxtree = await stage.usual(settings=settings)
    return voxtree, await stage.proxy(voxtree.port)


def _url(proxy: Proxy) -> str:
    return f"ws://127.0.0.1:{proxy.port}/transcribe"


async def _unplugged(stage: Stage, proxy: Proxy, seconds: float) -> None:
    struck = time.monotonic()
    await proxy.close()
    await asyncio.sleep(seconds)
    await proxy.open()
    stage.struck(struck)


def _heard_in_gaps(talk: Talk) -> int:
    """Words that lie within a gap as a whole, and came: then more was declared than was lost."""
    within = (
        talk.speech.word(number)
        for start, end in talk.gaps
        for number in talk.speech.between(start, end)
        if start <= talk.speech.word(number).start and talk.speech.word(number).end <= end
    )
    return sum(talk.ledger.came(word.number) for word in within)
