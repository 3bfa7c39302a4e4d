"""Errors by chance: which, how often, and that sessions survive those that they should."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.speech.catalogue import CATALOGUE, Retry
from actors.speech.errors import SpeechError
from actors.speech.injection import (
    OPPORTUNITIES,
    Faults,
    FaultyBackend,
    FaultySessionActor,
    Opportunity,
    chance,
    check_rates,
)
from actors.speech.messages import Done, Problem, SessionEvent
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionBackend
from actors.speech.sessions import Sessions
from supervisor.testing import virtual_backend
from supervisor.tree import Supervisor
from tests.speech.fakes import FakeBackend, in_memory, speech
from tests.speech.test_sessions import CONFIG, converse, words

RETRIED = [code for code in OPPORTUNITIES if CATALOGUE[code].retry in (Retry.NOW, Retry.BACKOFF, Retry.RATE_LIMIT)]
rates = st.floats(0, 1)


def always(code: str) -> Faults:
    return Faults({code: 1.0})


# ---- chance


def test_all_can_be_injected_but_what_only_the_server_itself_can_know() -> None:
    ends_of_connections = {"CONN_002", "CONN_004", "CONN_006", "CONN_007", "CONN_008", "CONN_009", "CONN_010"}
    before_the_session = {"CONN_011", "CONN_012"}
    ends_of_patience = {"RIVA_013", "AUDIO_004", "AUDIO_006", "AUDIO_007"}
    stores = {"JOURNAL_001", "JOURNAL_002", "JOURNAL_003"}
    the_server = {"SYS_001", "SYS_002", "SYS_003", "SYS_004", "SYS_005", "SYS_006", "SYS_007", "ALERT_001"}
    assert (
        set(CATALOGUE) - set(OPPORTUNITIES)
        == ends_of_connections | before_the_session | ends_of_patience | stores | the_server
    )


@pytest.mark.parametrize("code", OPPORTUNITIES)
def test_an_error_happens_at_its_own_opportunity_only(code: str) -> None:
    drawn = {each: always(code).draw(each, "s1", endpoint="riva") for each in Opportunity}
    error = drawn.pop(OPPORTUNITIES[code])
    assert error is not None
    assert (error.code, error.detail, error.endpoint) == (code, "injected", "riva")
    assert set(drawn.values()) == {None}


def test_what_a_refused_client_needs_to_know_is_told() -> None:
    error = always("CONN_005").draw(Opportunity.SESSION, "s1")
    assert error is not None
    assert error.retry_after == 5.0


def test_a_rate_of_nothing_never_happens_and_one_of_one_always() -> None:
    faults = Faults({"RIVA_005": 0.0, "RIVA_001": 1.0}, random=lambda: 0.0)
    assert faults.draw(Opportunity.STREAMING, "s1") is None
    faults = Faults({"RIVA_001": 1.0}, random=lambda: 0.9999999999999999)
    assert faults.draw(Opportunity.OPENING, "s1") is not None


def test_the_same_numbers_give_the_same_errors() -> None:
    def drawn() -> list[str | None]:
        faults = Faults({"RIVA_005": 0.2, "riva_006": 0.1, "RIVA_009": 0.1}, random=random.Random(5).random)
        errors = [faults.draw(Opportunity.STREAMING, "s1") for _ in range(500)]
        return [error and error.code for error in errors]

    counts = {code: drawn().count(code) for code in ("RIVA_005", "RIVA_006", "RIVA_009")}
    assert drawn() == drawn()
    assert counts == {"RIVA_005": 116, "RIVA_006": 42, "RIVA_009": 36}


@given(rates, st.lists(st.floats(0, 10), max_size=20))
def test_audio_in_pieces_is_in_the_same_danger_as_the_whole_of_it(rate: float, pieces: list[float]) -> None:
    survived = 1.0
    for piece in pieces:
        survived *= 1 - chance(rate, piece)
    assert 1 - survived == pytest.approx(chance(rate, sum(pieces)), abs=1e-9)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"RIVA_01": 0.1}, "'RIVA_01' cannot be injected; allowed are CONN_001, CONN_003, "),
        ({"RIVA_013": 0.1}, "'RIVA_013' cannot be injected; allowed are CONN_001, CONN_003, "),
        ({"RIVA_001": 1.1}, "RIVA_001: a probability lies between 0 and 1, 1.1 does not"),
        ({"RIVA_001": -0.5}, "RIVA_001: a probability lies between 0 and 1, -0.5 does not"),
        ({"RIVA_001": float("nan")}, "RIVA_001: a probability lies between 0 and 1, nan does not"),
    ],
)
def test_what_cannot_be_injected_is_refused(wrong: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|allowed are") as refused:
        check_rates(wrong)
    assert str(refused.value).startswith(problem)
    with pytest.raises(ValueError, match=r"between 0 and 1|allowed are"):
        Faults(wrong)


def test_each_fault_is_told_with_whom_it_befalls() -> None:
    told: list[tuple[str, str]] = []
    faults = Faults({"AUDIO_003": 1.0}, on_fault=lambda error, whom: told.append((error.code, whom)))
    faults.draw(Opportunity.AUDIO, "s1")
    faults.draw(Opportunity.OPENING, "s1/1")
    assert told == [("AUDIO_003", "s1")]


def test_the_rates_in_force_can_be_shown() -> None:
    faults = Faults({"RIVA_005": 0.25, "audio_003": 1e-3})
    assert str(faults) == (
        "AUDIO_003 at 0.001 for each message of a client that holds audio,"
        " RIVA_005 at 0.25 for each second of audio that a backend is sent"
    )


# ---- whole sessions


@asynccontextmanager
async def running(faults: Faults, *backends: RecognitionBackend) -> AsyncGenerator[Sessions, None]:
    keeping, journal = in_memory()
    sessions = Sessions(
        lambda: tree.value("sessions"),
        BackendPool([FaultyBackend(backend, faults) for backend in backends]),
        keeping,
        max_sessions=10,
        log_seconds=60.0,
        actor=lambda record, keeping: FaultySessionActor(record, keeping, faults),
    )
    tree = Supervisor([journal, sessions.child()])
    async with tree:
        yield sessions


@pytest.mark.parametrize("code", [code for code in OPPORTUNITIES if code.startswith("RIVA")])
async def test_what_befalls_a_backend_reaches_the_session_as_its_own_error(code: str) -> None:
    seen: list[tuple[str, str]] = []
    faults = Faults({code: 1.0}, on_fault=lambda error, whom: seen.append((str(error), whom)))
    backend = FaultyBackend(FakeBackend("riva"), faults)
    with pytest.raises(SpeechError) as caught:  # noqa: PT012
        async with backend.open(CONFIG, label="s1/1") as stream:
            assert OPPORTUNITIES[code] is Opportunity.STREAMING
            await stream.send(bytes(200))
    assert seen == [(str(caught.value), "s1/1")]
    assert str(caught.value).startswith(f"{code} {CATALOGUE[code].name}: injected, endpoint 'riva'")


async def test_a_backend_without_a_fault_is_the_backend_itself() -> None:
    backend = FaultyBackend(FakeBackend("riva", room=3), Faults({}))
    assert (backend.name, backend.max_streams, backend.catch_up, backend.tier.value) == ("riva", 3, 4.0, "primary")
    async with backend.open(CONFIG, label="s1/1") as stream:
        await stream.send(speech(1, 2, pause=0))
        await stream.force_final()
        await stream.send(speech(3, 1, pause=0))
        await stream.finish()
        assert [result.text async for result in stream if result.is_final] == ["1 2", "3"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_word_comes_exactly_once_whatever_chance_does(backend: str, seed: int) -> None:
    happened: list[str] = []
    faults = Faults(
        dict.fromkeys(RETRIED, 0.05) | {"UNKNOWN": 0.01},
        random=random.Random(seed).random,
        on_fault=lambda error, whom: happened.append(error.code),
    )

    async def run() -> list[SessionEvent]:
        random.seed(seed)
        async with running(faults, FakeBackend("a"), FakeBackend("b")) as sessions:
            pcm = b"".join(speech(first, 5) for first in range(1, 61, 5))  # 21 s
            return await converse(await sessions.open("s1", CONFIG), pcm)

    name, options = virtual_backend(backend)
    events = anyio.run(run, backend=name, backend_options=options)
    assert isinstance(events[-1], Done)
    assert words(events) == " ".join(map(str, range(1, 61)))
    assert happened


async def test_an_error_without_remedy_ends_the_session_as_a_real_one_does() -> None:
    async with running(always("RIVA_010"), FakeBackend()) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), speech(1, 1))
    assert events[-1] == Problem(code="RIVA_010", detail="injected", fatal=True, known=True)


async def test_an_actor_that_crashes_with_every_message_ends_its_session_in_a_plain_error() -> None:
    async with running(always("UNKNOWN"), FakeBackend()) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), speech(1, 5))
        assert len(sessions) == 0
    assert events[-1] == Problem(code="SYS_001", fatal=True, known=True)


@pytest.mark.parametrize("end", [lambda session: session.disconnected(), lambda session: session.drain(10.0)])
async def test_the_message_that_ends_a_session_is_not_one_to_crash_with(end: Callable[[object], None]) -> None:
    backend = FakeBackend()
    async with running(Faults({"UNKNOWN": 0.5}, random=random.Random(1).random), backend) as sessions:
        end(await sessions.open("s1", CONFIG))
        await anyio.sleep(100)
        assert (len(sessions), backend.live) == (0, 0)
