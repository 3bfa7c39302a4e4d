"""How a session's streams follow one another: filled, replaced, ended, and never missed by the one who speaks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import anyio
import pytest

from actors.speech.errors import ConnectionFailed, SpeechError, StreamLost
from actors.speech.listening import FIRST_ANSWER_SECONDS, FIRST_SECONDS, LEADING_SECONDS
from actors.speech.messages import Done, SessionEvent, Status, Transcript
from actors.speech.ports import Tier
from actors.speech.silence import FILL_AFTER, KEEP_ALIVE
from tests.speech.fakes import GAP, PAUSE, RATE, WORD, FakeBackend, Habits, speech
from tests.speech.test_sessions import CONFIG, converse, finals, numbers, running, states, talk, told, until_said, words

UTTERANCE = 10 * 0.25 + PAUSE / RATE  # seconds of ten words and the pause behind them


def utterances(count: int) -> bytes:
    """As many utterances of ten words, numbered through."""
    return b"".join(speech(first, 10) for first in range(1, 10 * count, 10))


# ---- clients that send nothing


async def test_words_become_final_though_the_client_sends_nothing_more() -> None:
    async with running(FakeBackend()) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3, pause=0))
        began = anyio.current_time()
        await until_said(session, "1 2 3")
        assert anyio.current_time() - began <= FILL_AFTER + 1.0
        session.disconnected()


async def test_a_muted_client_keeps_its_stream_and_its_clock() -> None:
    backend = FakeBackend()
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3))
        await anyio.sleep(600)
        assert 600 / KEEP_ALIVE < len(backend.messages) < 800 / KEEP_ALIVE
        await session.audio(speech(4, 2))
        await session.stop()
        events = await told(session)
    assert words(events) == numbers(1, 5)
    assert [(word.start, word.end) for word in finals(events)[-1].words] == [(1250, 1450), (1500, 1700)]
    assert backend.opened == 1


async def test_a_backend_without_finals_ends_the_utterance_of_a_client_that_sends_nothing_more() -> None:
    async with running(FakeBackend(habits=Habits(finals=False))) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3, pause=0))
        said = finals(await until_said(session, "1 2 3"))
        assert said[-1].provisional
        session.disconnected()


@pytest.mark.parametrize("away", [0.5, FILL_AFTER + 0.1, 9.0, 40.0])
async def test_a_word_in_which_the_network_stalls_is_heard_whole(away: float) -> None:
    """Silence is filled in, which cuts the word; the next stream hears it from its beginning."""
    backend, audio = FakeBackend(), speech(301, 4)
    cut = 2 * (3 * (WORD + GAP) + WORD // 2)  # bytes: in the middle of the last word
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(audio[:cut])
        await anyio.sleep(away)
        await session.audio(audio[cut:])
        await session.stop()
        events = await told(session)
    assert words(events) == numbers(301, 304)
    last = finals(events)[-1].words[-1]
    assert (last.start, last.end) == (3 * (WORD + GAP), 3 * (WORD + GAP) + WORD)
    assert backend.opened <= 3


async def test_the_last_sound_of_a_client_that_sends_nothing_more_is_kept_back_until_it_stops() -> None:
    backend, audio = FakeBackend(), speech(301, 2)
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(audio[: 2 * (WORD + GAP + WORD // 2)])
        await until_said(session, "301")
        await anyio.sleep(30)
        await session.stop()
        assert words(await told(session)) == "302"
    assert backend.opened == 2


# ---- streams that are replaced


def opening_late(stream: int) -> float:
    return 0.0 if stream == 1 else 2.0


async def test_an_old_stream_is_replaced_between_utterances_and_nobody_notices() -> None:
    backend = FakeBackend(max_stream_age=4 * UTTERANCE, opening=opening_late)
    arrivals: list[tuple[float, Transcript]] = []
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)

        async def listen() -> None:
            while not isinstance(event := await session.next_event(), Done):
                events.append(event)
                if isinstance(event, Transcript):
                    arrivals.append((anyio.current_time(), event))

        events: list[SessionEvent] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await talk(session, utterances(20))
    assert words(events) == numbers(1, 200)
    assert len(finals(events)) == 20
    assert 3 < backend.opened < 7
    assert states(events) == []
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(arrivals)]
    assert max(gaps) < 2 * PAUSE / RATE  # the old stream was listened to until the next one was open
    assert backend.live == 0


async def test_a_muted_stream_is_replaced_too() -> None:
    backend = FakeBackend(max_stream_age=60)
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3))
        await anyio.sleep(600)
        await session.audio(speech(4, 3))
        await session.stop()
        events = await told(session)
    assert words(events) == numbers(1, 6)
    assert (9 <= backend.opened <= 12, states(events)) == (True, [])


async def test_an_old_stream_goes_on_while_the_next_one_cannot_be_opened() -> None:
    def fail(stream: int, heard: int) -> SpeechError | None:
        return ConnectionFailed() if 1 < stream < 4 else None

    backend = FakeBackend(max_stream_age=4 * UTTERANCE, fail=fail)
    async with running(backend) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), utterances(12))
    assert words(events) == numbers(1, 120)
    assert (backend.opened >= 4, states(events)) == (True, [])


@pytest.mark.parametrize("room", [1, 2])
async def test_an_old_stream_makes_room_for_the_next_one_only_when_it_is_very_old(room: int) -> None:
    backend = FakeBackend(max_stream_age=4 * UTTERANCE, room=room)
    async with running(backend) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), utterances(11))
    assert words(events) == numbers(1, 110)
    assert backend.opened == {1: 2, 2: 3}[room]
    assert states(events) == []


@pytest.mark.parametrize("opening", [0.0, 1.0])
async def test_a_stream_that_the_pool_wants_elsewhere_moves_at_the_end_of_its_utterance(opening: float) -> None:
    down = True

    def trouble() -> SpeechError | None:
        return StreamLost() if down else None

    primary = FakeBackend("primary", fail=lambda *_: trouble(), answer=trouble, opening=lambda _: opening)
    fallback = FakeBackend("fallback", tier=Tier.FALLBACK)
    async with running(primary, fallback) as sessions:
        await anyio.sleep(1.0)  # the pool has found out who works
        session = await sessions.open("s1", CONFIG)

        async def recover() -> None:
            nonlocal down
            await anyio.sleep(4 * UTTERANCE)
            down = False

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recover)
            events = await converse(session, utterances(40))
    assert words(events) == numbers(1, 400)
    assert {final.source for final in finals(events)[-4:]} == {Tier.PRIMARY}
    assert finals(events)[1].source is Tier.FALLBACK
    assert states(events) == ["degraded", "streaming"]
    assert primary.opened == 1


async def test_a_stream_that_fails_while_it_is_being_replaced_is_recovered_from() -> None:
    def fail(stream: int, heard: int) -> SpeechError | None:
        return StreamLost() if stream == 1 and heard > 4.5 * UTTERANCE * RATE else None

    backend = FakeBackend(max_stream_age=4 * UTTERANCE, opening=opening_late, fail=fail)
    async with running(backend) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), utterances(8))
    assert words(events) == numbers(1, 80)


async def test_a_stream_that_fails_after_it_was_replaced_is_not_missed() -> None:
    backend = FakeBackend(max_stream_age=4 * UTTERANCE, habits=lambda stream: Habits(ends=stream > 2))
    async with running(backend) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), utterances(12))
    assert words(events) == numbers(1, 120)
    assert states(events) == []


# ---- backends that do not end anything


async def test_a_backend_that_never_gives_finals_loses_and_doubles_nothing() -> None:
    pcm = b"".join(speech(first, 5, pause=4 * RATE) for first in range(1, 30, 5)) + speech(31, 4, pause=0)
    async with running(FakeBackend(habits=Habits(finals=False, steady=True))) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), pcm)
    assert words(events) == numbers(1, 34)
    assert [final.provisional for final in finals(events)] == [True] * 7
    assert states(events) == []


async def test_the_last_words_of_a_backend_that_does_not_end_its_stream_are_final_after_a_while() -> None:
    async with running(FakeBackend(habits=Habits(finals=False, ends=False))) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), speech(1, 4, pause=0))
    assert (words(events), events[-1]) == (numbers(1, 4), Done(position=RATE, seq=1))


async def test_a_backend_that_hangs_with_audio_it_has_not_heard_is_replaced() -> None:
    def habits(stream: int) -> Habits:
        return Habits(deaf_after=500, ends=False) if stream == 1 else Habits()

    backend = FakeBackend(habits=habits)
    async with running(backend) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), speech(1, 8, pause=0))
    assert (words(events), backend.opened) == (numbers(1, 8), 2)


async def test_a_backend_that_hangs_before_the_last_word_of_a_session_is_replaced() -> None:
    """Though it had heard nearly all: of silence at the end half a second may be left unheard, of a word nothing."""
    audio = speech(301, 4, pause=RATE // 5)
    left = 2 * (RATE // 5 + GAP + WORD)  # bytes: the last word, and the silence behind it

    def habits(stream: int) -> Habits:
        return Habits(deaf_after=(len(audio) - left) // 2, ends=False, steady=True) if stream == 1 else Habits()

    backend = FakeBackend(habits=habits)
    async with running(backend) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), audio)
    assert (words(events), backend.opened) == (numbers(301, 304), 2)


# ---- how soon


async def test_audio_is_sent_at_once_and_what_has_piled_up_in_messages_of_half_a_second_after_a_smaller_one() -> None:
    backend = FakeBackend(opening=lambda stream: 2.0)
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        frame = speech(301, 1)[: RATE // 50 * 2]  # 20 ms of what can be a word
        for _ in range(200):
            await session.audio(frame)
            await anyio.sleep(0.02)
        session.disconnected()
    assert sum(backend.messages) == 200 * RATE // 50
    assert backend.messages[:4] == [round(FIRST_SECONDS * RATE), RATE // 2, RATE // 2, RATE // 2]
    assert set(backend.messages[-20:]) == {RATE // 50}


WORD_AFTER_WORD, SILENCE = speech(301, 20, pause=0), bytes(4 * RATE * 2)  # silence is answered by a steady backend only


@pytest.mark.parametrize(
    ("audio", "habits", "least", "most"),
    [
        (SILENCE, Habits(steady=True), 0.0, 0.0),
        (SILENCE, Habits(), FIRST_ANSWER_SECONDS, FIRST_ANSWER_SECONDS),
        (WORD_AFTER_WORD, Habits(), 0.8 * FIRST_SECONDS / 4, 1.2 * FIRST_SECONDS / 4),  # four times as fast as spoken
    ],
    ids=["answered", "not answered", "answered with words"],
)
async def test_a_stream_that_begins_behind_is_sent_more_when_it_has_answered_or_not_for_a_while(
    audio: bytes, habits: Habits, least: float, most: float
) -> None:
    sent: list[float] = []

    def note(stream: int, heard: int) -> None:
        sent.append(anyio.current_time())

    async with running(FakeBackend(opening=lambda stream: 3.0, fail=note, habits=habits)) as sessions:
        session = await sessions.open("s1", CONFIG)
        for at in range(0, len(audio), RATE // 10 * 2):
            await session.audio(audio[at : at + RATE // 10 * 2])
            await anyio.sleep(0.1)
        session.disconnected()
    opened, first, second, *_ = sent
    assert first == opened
    assert least - 1e-6 <= second - first <= most + 1e-6


@pytest.mark.parametrize(
    ("silent", "first"),
    [(0.5, 0.5 + FIRST_SECONDS), (2.0, 2.0 + FIRST_SECONDS), (3.0, LEADING_SECONDS + FIRST_SECONDS)],
)
async def test_the_silence_before_the_first_word_goes_with_it(silent: float, first: float) -> None:
    """So that the first answer has words in it."""
    backend = FakeBackend(opening=lambda stream: silent + 1.0)
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(bytes(2 * round(silent * RATE)) + speech(301, 5, pause=0))
        await anyio.sleep(silent + 2.0)
        session.disconnected()
    assert backend.messages[0] == round(first * RATE)


@pytest.mark.parametrize("unsettled", [0.3, 3.0, 20.0])
async def test_a_fallback_is_heard_without_any_pause_after_the_first_backend_is_lost(unsettled: float) -> None:
    lost: list[float] = []

    def fail(stream: int, heard: int) -> SpeechError | None:
        if heard < unsettled * RATE:
            return None
        lost.append(anyio.current_time())
        return StreamLost()

    primary, fallback = FakeBackend("primary", fail=fail), FakeBackend("fallback", tier=Tier.FALLBACK)
    async with running(primary, fallback) as sessions:
        session = await sessions.open("s1", CONFIG)
        fresh = 0.0

        async def listen() -> None:
            nonlocal fresh
            while not (isinstance(event := await session.next_event(), Transcript) and event.source is Tier.FALLBACK):
                pass
            fresh = anyio.current_time()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await talk(session, speech(1, 100))
        session.disconnected()
    assert fresh == lost[0]


def hanging_for(seconds: float) -> Callable[[int], float]:
    return lambda stream: seconds if stream == 2 else 0.0


async def test_a_client_that_sends_nothing_is_told_in_time_that_its_words_are_late() -> None:
    lost = False

    def fail(stream: int, heard: int) -> SpeechError | None:
        return StreamLost() if lost and stream == 1 else None

    async with running(FakeBackend(fail=fail, opening=hanging_for(30.0))) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3, pause=0))
        await anyio.sleep(0.1)
        lost = True
        times: dict[str, float] = {}
        while "streaming" not in times:
            event = await session.next_event()
            if isinstance(event, Status):
                times[event.state] = anyio.current_time()
        await session.stop()
        assert words(await told(session)) == "1 2 3"
    assert times["delayed"] - times["recovering"] == pytest.approx(3.0)
    assert times["streaming"] - times["recovering"] == pytest.approx(30.0, abs=2.0)
