"""Whole sessions of voxtree on a scripted Riva: each word once, at its time, whatever the plan breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.speech.messages import Done, Problem, Transcript
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionConfig
from actors.speech.sessions import Sessions
from bench.riva.ledger import Ledger, Score, total
from bench.riva.plan import read
from bench.riva.process import RivaProcess
from bench.riva.report import Report
from bench.riva.server import ScriptedRiva
from bench.riva.words import CodedSpeech
from supervisor.tree import Supervisor
from tests.speech.fakes import in_memory
from transport.riva import Endpoint, RivaBackend

pytestmark = pytest.mark.anyio

WORDS = 60
PATIENCE = 30.0  # seconds; a session takes one or two


@asynccontextmanager
async def sessions(address: str) -> AsyncIterator[Sessions]:
    async with RivaBackend(Endpoint(name="riva", address=address, catch_up=100.0)) as backend:
        keeping, journal = in_memory()
        pool = BackendPool([backend])
        opened = Sessions(lambda: tree.value("sessions"), pool, keeping, max_sessions=10, log_seconds=60.0)
        tree = Supervisor([journal, opened.child()])
        async with tree:
            yield opened


async def converse(sessions: Sessions, speech: CodedSpeech, pause: asyncio.Event | None = None) -> Score:
    """Speak, and account for what comes back. `pause`: what is waited for in the middle."""
    config = RecognitionConfig(sample_rate=speech.rate)
    session = await sessions.open(f"s{speech.tag}", config)
    ledger = Ledger(speech)

    async def talk() -> None:
        for number, chunk in enumerate(speech.chunks()):
            if pause is not None and number == speech.samples // speech.rate * 5:
                await pause.wait()
            await session.audio(chunk)
        await session.stop()

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        tasks.create_task(talk())
        event = None
        while not (isinstance(event, Done) or (isinstance(event, Problem) and event.fatal)):
            event = await session.next_event()
            if isinstance(event, Transcript) and event.is_final:
                ledger.final(event.text, [word.start for word in event.words])
    return ledger.score()


async def run(*faults: dict[str, Any], count: int = 1, **speech: Any) -> tuple[Score, Report]:
    """So many sessions at once on one scripted Riva."""
    async with ScriptedRiva(read({"faults": faults})) as riva, sessions(riva.address) as opened:
        speeches = [CodedSpeech(words=WORDS, tag=tag, **speech) for tag in range(1, count + 1)]
        return total(await asyncio.gather(*(converse(opened, one) for one in speeches))), riva.report()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
async def test_every_word_comes_once_and_at_its_time(rate: int) -> None:
    score, report = await run(rate=rate)
    assert (score.sent, score.flawless) == (WORDS, True), score
    assert (report.words, report.scraps, report.ended) == (WORDS, 0, {"OK": 1})


async def test_sessions_do_not_hear_one_another() -> None:
    score, report = await run(count=5)
    assert (score.sent, score.flawless, report.opened) == (5 * WORDS, True, 5), score


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "preset": "socket_closed", "at": {"position": 3.35}},
        {"action": "status", "preset": "sequence_expired", "at": {"after_final": 1}},
        {"action": "status", "preset": "socket_closed"},
        {"action": "end", "at": {"position": 4.0}},
        {"action": "goaway", "at": {"position": 2.0}, "grace": 0.0},
        {"action": "down", "at": {"position": 2.0}, "seconds": 0.1},
        {"action": "slow_finals", "seconds": 0.3},
        {"action": "empty_finals"},
        {"action": "overlap_finals"},
        {"action": "utterance_times"},
    ],
    ids=lambda fault: str(fault["action"]) + str(fault.get("at", "")),
)
async def test_what_the_plan_breaks_costs_no_word_and_doubles_none(fault: dict[str, Any]) -> None:
    score, report = await run(fault | {"times": 2})
    assert (score.sent, score.flawless) == (WORDS, True), score
    assert report.faults[0].times >= 1


@pytest.mark.slow
async def test_a_riva_that_is_killed_and_comes_back_costs_no_word_and_doubles_none() -> None:
    async with RivaProcess() as riva, sessions(riva.address) as opened:
        killed = asyncio.Event()
        talking = asyncio.create_task(converse(opened, CodedSpeech(words=WORDS, tag=1), killed))
        while (await riva.report()).words < WORDS // 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await riva.kill()
        killed.set()
        await asyncio.sleep(0.1)  # words are spoken while nobody hears them
        await riva.restart()
        score = await talking
    assert (score.sent, score.flawless) == (WORDS, True), score
