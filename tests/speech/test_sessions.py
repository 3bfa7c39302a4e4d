"""Whole sessions over a backend that fails: every word comes once, whatever breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import Context

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.address import Ref
from actors.mailbox import Mailbox
from actors.speech.errors import (
    ChunkTooLarge,
    ConnectionFailed,
    ModelNotFound,
    ServerBusy,
    SessionInUse,
    SpeechError,
    StreamLost,
)
from actors.speech.journal.body import Bodies
from actors.speech.journal.port import JournalStore
from actors.speech.link import Link
from actors.speech.messages import Done, Gap, Problem, Ready, SessionEvent, SessionMessage, Status, Transcript
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionConfig
from actors.speech.recogniser import Recogniser
from actors.speech.record import SessionRecord
from actors.speech.reports import Ending, SessionEnded, SessionReport
from actors.speech.sessions import Sessions
from supervisor.reports import ChildEnded, ChildStarted, Event
from supervisor.spec import Child, Restart
from supervisor.testing import settle, virtual_backend
from supervisor.tree import Supervisor
from tests.speech.fakes import GAP, PAUSE, RATE, WORD, FakeBackend, in_memory, speech
from tests.speech.spools import open_spools

CONFIG = RecognitionConfig(sample_rate=RATE)
FRAME = RATE // 10 * 2  # bytes of 100 ms


@asynccontextmanager
async def running(
    *backends: FakeBackend,
    max_sessions: int = 100,
    spool_seconds: float = 0.0,
    store: JournalStore | None = None,
    bodies: Bodies | None = None,
    listener: Callable[[SessionReport], None] = lambda report: None,
    on_event: Callable[[Event], None] | None = None,
) -> AsyncGenerator[Sessions, None]:
    pool = BackendPool(backends)
    keeping, journal = in_memory(store, bodies)
    sessions = Sessions(
        lambda: tree.value("sessions"),
        pool,
        keeping,
        max_sessions=max_sessions,
        log_seconds=60.0,
        spool_seconds=spool_seconds,
        listener=listener,
    )
    tree = Supervisor([journal, Child("pool", pool.run), sessions.child()], on_event=on_event)
    async with tree:
        yield sessions


async def talk(session: Link, pcm: bytes, pace: float = 0.1) -> None:
    for start in range(0, len(pcm), FRAME):
        if session.has_room(FRAME):
            session.audio_at_once(pcm[start : start + FRAME])
        else:
            await session.audio(pcm[start : start + FRAME])
        await anyio.sleep(pace)
    await session.stop()


async def told(session: Link) -> list[SessionEvent]:
    """Everything the client is told until the session is over."""
    events: list[SessionEvent] = []
    while not events or not (isinstance(events[-1], Done) or (isinstance(events[-1], Problem) and events[-1].fatal)):
        events.append(await session.next_event())
    return events


async def converse(session: Link, pcm: bytes, pace: float = 0.1) -> list[SessionEvent]:
    events: list[SessionEvent] = []

    async def listen() -> None:
        events.extend(await told(session))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await talk(session, pcm, pace)
    return events


def endings(reports: list[SessionReport]) -> list[tuple[Ending, str | None]]:
    return [(report.ending, report.code) for report in reports if isinstance(report, SessionEnded)]


def finals(events: list[SessionEvent]) -> list[Transcript]:
    return [event for event in events if isinstance(event, Transcript) and event.is_final and event.text]


def words(events: list[SessionEvent]) -> str:
    return " ".join(final.text for final in finals(events))


def numbers(first: int, last: int) -> str:
    return " ".join(map(str, range(first, last + 1)))


def states(events: list[SessionEvent]) -> list[str]:
    return [event.state for event in events if isinstance(event, Status)]


async def until_said(session: Link, text: str) -> list[SessionEvent]:
    """What the client is told until these words are final."""
    events: list[SessionEvent] = []
    while words(events) != text:
        events.append(await session.next_event())
    return events


async def test_a_session_says_every_word_and_is_done() -> None:
    backend = FakeBackend()
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG)
        events = await converse(session, speech(1, 4) + speech(5, 3))
        assert len(sessions) == 0
    first = events[0]
    assert isinstance(first, Ready)
    assert (first.session_id, first.config, first.position, first.resumed) == ("s1", CONFIG, 0, False)
    assert [final.text for final in finals(events)] == ["1 2 3 4", "5 6 7"]
    assert isinstance(events[-1], Done)
    assert backend.live == 0


async def test_a_stream_lost_in_mid_word_costs_nothing_and_doubles_nothing() -> None:
    def fail(stream: int, heard: int) -> SpeechError | None:
        return StreamLost() if stream == 1 and heard > 6 * WORD + WORD // 2 else None

    async with running(FakeBackend(fail=fail)) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), speech(1, 3) + speech(4, 5) + speech(9, 2))
    assert words(events) == "1 2 3 4 5 6 7 8 9 10"
    states = [event.state for event in events if isinstance(event, Status)]
    assert states == ["recovering", "streaming"]


async def test_a_client_in_a_hurry_waits_for_the_session_and_loses_nothing() -> None:
    async with running(FakeBackend()) as sessions:
        pcm = b"".join(speech(first, 20) for first in range(1, 400, 20))  # 110 s of speech, the log holds 60
        events = await converse(await sessions.open("s1", CONFIG), pcm, pace=0.0)
    assert words(events) == " ".join(map(str, range(1, 401)))


async def test_backends_that_are_down_delay_the_words_and_the_client_is_told() -> None:
    async with running(FakeBackend(fail=down_until(8.0))) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), speech(1, 10) + speech(11, 40))
    assert words(events) == " ".join(map(str, range(1, 51)))
    states = [event.state for event in events if isinstance(event, Status)]
    assert states == ["recovering", "delayed", "streaming"]


def down_until(seconds: float) -> Callable[[int, int], SpeechError | None]:
    """How every stream fails for so many seconds from now on."""
    began = anyio.current_time()
    return lambda stream, heard: ConnectionFailed() if anyio.current_time() - began < seconds else None


def assert_tiled(events: list[SessionEvent], end: int) -> None:
    """Finals and gaps are numbered from 1 and cover the session without a hole, up to its last word."""
    pieces = [e for e in events if isinstance(e, Gap) or (isinstance(e, Transcript) and e.is_final)]
    assert [piece.seq for piece in pieces] == list(range(1, len(pieces) + 1))
    assert [piece.start for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end <= end


async def test_a_long_outage_is_bridged_on_disk_while_the_speaker_goes_on() -> None:
    pcm = b"".join(speech(first, 20) for first in range(1, 1200, 20))  # 330 s
    async with running(FakeBackend(fail=down_until(200.0)), spool_seconds=600.0) as sessions:
        began = anyio.current_time()
        events = await converse(await sessions.open("s1", CONFIG), pcm)
        took = anyio.current_time() - began
    assert words(events) == " ".join(map(str, range(1, 1201)))
    assert_tiled(events, len(pcm) // 2)
    assert took < 340  # the speaker was never made to wait


async def test_an_outage_past_all_bounds_costs_the_oldest_words_and_says_exactly_which() -> None:
    pcm = b"".join(speech(first, 20) for first in range(1, 1200, 20))
    down = down_until(200.0)
    async with running(FakeBackend(fail=down, answer=lambda: down(0, 0)), spool_seconds=60.0) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), pcm)
    gaps = [event for event in events if isinstance(event, Gap)]
    assert_tiled(events, len(pcm) // 2)
    assert [(gap.end - gap.start, gap.code) for gap in gaps] == [(5 * RATE, "AUDIO_004")] * len(gaps)
    assert 75 <= sum(gap.end - gap.start for gap in gaps) / RATE <= 85  # 200 s of outage, 120 of them held
    heard = [int(word) for word in words(events).split()]
    assert all(said not in heard for said in range(1, 150))
    # All behind the last gap is there once; the word that the gap's end cut may show, as it was heard in part.
    assert heard in (list(range(heard[0], 1201)), [heard[0], *range(heard[0] + 1, 1201)])
    assert abs(memoryview(pcm).cast("H").tolist().index(heard[0]) - gaps[-1].end) <= PAUSE + WORD + GAP


async def test_a_client_in_a_hurry_waits_through_an_outage_and_loses_nothing() -> None:
    pcm = b"".join(speech(first, 20) for first in range(1, 1200, 20))
    async with running(FakeBackend(fail=down_until(900.0)), spool_seconds=60.0) as sessions:
        session = await sessions.open("s1", CONFIG)
        events: list[SessionEvent] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk, session, pcm, 0.0)
            await anyio.sleep(890)
            assert session.record.log.end <= 60 * RATE
            events = await told(session)
    assert words(events) == " ".join(map(str, range(1, 1201)))
    assert [event.state for event in events if isinstance(event, Status)] == ["recovering", "delayed", "streaming"]
    assert not any(isinstance(event, Gap) for event in events)


async def test_audio_in_one_large_message_is_not_given_up_either() -> None:
    pcm = b"".join(speech(first, 20) for first in range(1, 800, 20))  # 220 s
    async with running(FakeBackend()) as sessions:
        session = await sessions.open("s1", CONFIG)
        events: list[SessionEvent] = []

        async def listen() -> None:
            events.extend(await told(session))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await session.audio(pcm)
            await session.stop()
    assert words(events) == " ".join(map(str, range(1, 801)))


async def test_what_is_sent_after_stop_does_not_wait_for_room_it_will_not_use() -> None:
    async with running(FakeBackend(fail=down_until(1000.0))) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3))
        await session.stop()
        with anyio.fail_after(10.0):
            for _ in range(100):
                await session.audio(bytes(2 * RATE))
                await anyio.lowlevel.checkpoint()
        assert session.record.log.end == len(speech(1, 3)) // 2
        session.disconnected()


async def test_at_once_there_is_room_for_what_the_mailbox_and_the_log_hold_and_no_more() -> None:
    second = bytes(2 * RATE)
    async with running(FakeBackend(fail=down_until(1000.0))) as sessions:
        session = await sessions.open("s1", CONFIG)
        assert not session.has_room(2 * len(second))  # that would be more than a piece
        for _ in range(3):
            while session.has_room(len(second)):
                session.audio_at_once(second)
            await anyio.sleep(1.0)
        log = session.record.log
        assert (log.start, log.end) == (0, 60 * RATE)
        assert not session.has_room(len(second))
        session.disconnected()


@pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")])
async def test_audio_may_come_from_a_callback_outside_of_all_tasks() -> None:
    pcm, outside = speech(1, 20), Context()  # in which nobody has said what kind of loop this is
    async with running(FakeBackend()) as sessions:
        session = await sessions.open("s1", CONFIG)
        for start in range(0, len(pcm), FRAME):
            asyncio.get_running_loop().call_soon(session.audio_at_once, pcm[start : start + FRAME], context=outside)
            await anyio.sleep(0.1)
        await session.stop()
        events = await told(session)
    assert words(events) == " ".join(map(str, range(1, 21)))


async def test_a_slow_backend_does_not_stop_live_speech_and_what_overtakes_its_stream_is_a_gap() -> None:
    """The stream that reads what is forced out ends in order; another goes on behind the gap."""
    backend = FakeBackend(fail=down_until(5.0))  # so that it begins with something to catch up with, and never does
    backend.catch_up = 0.5  # times real time
    pcm = b"".join(speech(first, 20) for first in range(1, 1600, 20))  # 440 s
    async with running(backend, spool_seconds=60.0) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), pcm)
    heard = [int(word) for word in words(events).split()]
    gaps = [event for event in events if isinstance(event, Gap)]
    lost = set(range(1, 1601)) - set(heard)
    samples = memoryview(pcm).cast("H").tolist()
    assert_tiled(events, len(pcm) // 2)
    assert heard == sorted(heard)
    assert gaps
    assert lost
    for word in lost:
        first = samples.index(word)
        assert any(gap.start < first + WORD and first < gap.end for gap in gaps), word


async def test_a_session_that_ends_leaves_nothing_on_disk() -> None:
    before = open_spools()
    async with running(FakeBackend(fail=down_until(1000.0)), spool_seconds=600.0) as sessions:
        session = await sessions.open("s1", CONFIG)
        for _ in range(80):
            await session.audio(bytes(2 * RATE))
            await anyio.sleep(1.0)
        assert len(open_spools()) == len(before) + 1
        session.disconnected()
        await anyio.sleep(61.0)
        assert len(open_spools()) == len(before)


async def test_a_second_backend_takes_over_from_the_first() -> None:
    def fail(stream: int, heard: int) -> SpeechError | None:
        return StreamLost() if heard > WORD else None

    failing, healthy = FakeBackend("failing", fail=fail), FakeBackend("healthy")
    healthy.max_streams = 1_000_000  # so that it is the less loaded one only while the other rests
    async with running(failing, healthy) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), speech(1, 12))
    assert words(events) == " ".join(map(str, range(1, 13)))


async def test_a_stream_that_fails_of_what_a_session_survives_is_replaced_all_the_same() -> None:
    def fail(stream: int, heard: int) -> SpeechError | None:
        return ChunkTooLarge() if stream == 1 and heard > WORD else None

    async with running(FakeBackend(fail=fail)) as sessions:
        with anyio.fail_after(60):
            events = await converse(await sessions.open("s1", CONFIG), speech(1, 5))
    assert words(events) == "1 2 3 4 5"


async def test_an_error_without_remedy_ends_the_session_and_says_which() -> None:
    async with running(FakeBackend(fail=lambda *_: ModelNotFound("no model for 'xx'"))) as sessions:
        session = await sessions.open("s1", CONFIG)
        events = await told(session)
        await talk(session, speech(1, 1))  # what is sent afterwards hurts nobody
        assert len(sessions) == 0
    assert events[-1] == Problem(code="RIVA_002", detail="no model for 'xx'", fatal=True, known=True)


async def test_finalize_gives_the_words_so_far_as_a_final() -> None:
    async with running(FakeBackend()) as sessions:
        session = await sessions.open("s1", CONFIG)
        pcm = speech(1, 3, pause=0)
        await session.audio(pcm)
        await session.finalize()
        events: list[SessionEvent] = []
        while not finals(events):
            events.append(await session.next_event())
        assert words(events) == "1 2 3"
        session.disconnected()


async def test_endless_speech_is_settled_in_pieces_and_no_word_is_lost() -> None:
    pcm = speech(1, 400)  # 100 s without a pause
    async with running(FakeBackend()) as sessions:
        events = await converse(await sessions.open("s1", CONFIG), pcm)
    assert words(events) == numbers(1, 400)
    assert len(finals(events)) >= 3


async def test_a_backend_that_is_behind_a_fast_client_is_given_its_time() -> None:
    backend = FakeBackend(delay=3.0)
    async with running(backend) as sessions:
        pcm = b"".join(speech(first, 20) for first in range(1, 400, 20))  # 110 s
        events = await converse(await sessions.open("s1", CONFIG), pcm, pace=0.0)
    assert [final.text.split()[0] for final in finals(events)] == [str(first) for first in range(1, 400, 20)]
    assert backend.opened == 1


async def test_a_silence_that_no_backend_reports_does_not_stop_a_client_for_ever() -> None:
    async with running(FakeBackend()) as sessions:
        pcm = speech(1, 3) + bytes(2 * 150 * RATE) + speech(4, 3)
        events = await converse(await sessions.open("s1", CONFIG), pcm, pace=0.0)
    assert words(events) == "1 2 3 4 5 6"


async def test_a_client_that_stays_away_frees_its_place_and_its_stream() -> None:
    backend = FakeBackend()
    async with running(backend, max_sessions=1) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3))
        session.disconnected()
        await anyio.sleep(59)
        assert (len(sessions), backend.live) == (1, 1)
        await anyio.sleep(2)
        assert (len(sessions), backend.live) == (0, 0)
        await sessions.open("s1", CONFIG)


async def test_an_opening_that_is_cancelled_leaves_no_session_behind() -> None:
    backend = FakeBackend()
    async with running(backend, max_sessions=1) as sessions:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await sessions.open("s1", CONFIG)
        await anyio.sleep(1)
        assert (scope.cancelled_caught, len(sessions), backend.live) == (True, 0, 0)


async def test_sessions_past_the_limit_or_of_a_taken_name_are_refused() -> None:
    async with running(FakeBackend(), max_sessions=2) as sessions:
        await sessions.open("a", CONFIG)
        with pytest.raises(SessionInUse):
            await sessions.open("a", CONFIG)
        await sessions.open("b", CONFIG)
        with pytest.raises(ServerBusy, match="all 2 sessions are taken") as refused:
            await sessions.open("c", CONFIG)
        assert refused.value.retry_after == 5.0


async def test_sessions_that_arrive_together_take_one_place_each() -> None:
    async with running(FakeBackend(), max_sessions=4) as sessions, anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(sessions.open, f"s{number}", CONFIG)
        await settle()
        assert (len(sessions), sessions.ready()) == (4, False)


async def test_without_a_limit_there_are_as_many_sessions_as_working_backends_have_streams() -> None:
    pool = BackendPool([FakeBackend("a", room=2), FakeBackend("b", room=1)])
    keeping, journal = in_memory()
    sessions = Sessions(lambda: tree.value("sessions"), pool, keeping, max_sessions=None, log_seconds=60.0)
    tree = Supervisor([journal, sessions.child()])
    async with tree:
        await sessions.open("s1", CONFIG)
        pool.drain("a")
        assert not sessions.ready()
        with pytest.raises(ServerBusy, match="all 1 sessions are taken"):
            await sessions.open("s2", CONFIG)
        pool.drain("b")
        with pytest.raises(ServerBusy, match="no recogniser is there"):
            await sessions.open("s2", CONFIG)
        pool.undrain("a")
        await sessions.open("s2", CONFIG)


async def test_a_session_that_drains_says_its_last_words_and_asks_to_reconnect() -> None:
    async with running(FakeBackend()) as sessions:
        session = await sessions.open("s1", CONFIG)
        await session.audio(speech(1, 3, pause=RATE // 10))
        await anyio.sleep(0.1)
        session.drain(10.0)
        events = await told(session)
    assert words(events) == "1 2 3"
    assert events[-1] == Problem(code="CONN_006", fatal=True)


async def test_a_session_actor_that_crashes_loses_no_word() -> None:
    async with running(FakeBackend()) as sessions:
        session = await sessions.open("s1", CONFIG)

        async def crash_now_and_then() -> None:
            for _ in range(4):
                await anyio.sleep(1.3)
                session.ref.tell("no message a session knows")  # type: ignore[arg-type]

        events: list[SessionEvent] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(crash_now_and_then)
            events = await converse(session, speech(1, 10) + speech(11, 10) + speech(21, 10))
    assert words(events) == " ".join(map(str, range(1, 31)))


async def test_a_backend_that_breaks_every_stream_at_once_ends_in_a_plain_error() -> None:
    """A defect, no error of the catalogue: restarts do not help, so the session gives up instead of spinning."""

    def fail(stream: int, heard: int) -> SpeechError | None:
        raise KeyError("a defect")

    reports: list[SessionReport] = []
    async with running(FakeBackend(fail=fail), listener=reports.append) as sessions:
        events = await told(await sessions.open("s1", CONFIG))
        assert len(sessions) == 0
    assert events[-1] == Problem(code="SYS_001", fatal=True, known=True)
    assert endings(reports) == [(Ending.FAILED, "SYS_001")]


async def test_a_session_that_is_stopped_with_its_server_has_not_failed() -> None:
    reports: list[SessionReport] = []
    async with running(FakeBackend(), listener=reports.append) as sessions:
        session = await sessions.open("s1", CONFIG)
    assert (await told(session))[-1] == Problem(code="CONN_006", fatal=True, known=True)
    assert endings(reports) == [(Ending.DRAINED, None)]


async def test_many_sessions_at_once_are_kept_apart() -> None:
    heard: dict[int, str] = {}
    async with running(FakeBackend(room=30)) as sessions:

        async def one(number: int) -> None:
            session = await sessions.open(f"s{number}", CONFIG)
            heard[number] = words(await converse(session, speech(100 * number + 1, 5)))

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(one, number)
    assert heard == {n: " ".join(str(100 * n + k) for k in range(1, 6)) for n in range(30)}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=15, deadline=None)
@given(
    utterances=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    faults=st.lists(st.integers(0, 12 * WORD), max_size=8),
    pace=st.sampled_from([0.0, 0.02, 0.1]),
    seed=st.integers(0, 1000),
)
def test_every_word_comes_exactly_once_wherever_streams_break(
    backend: str, utterances: list[int], faults: list[int], pace: float, seed: int
) -> None:
    """Stream k of the backend breaks after `faults[k]` samples; pauses between restarts are random."""

    def fail(stream: int, heard: int) -> SpeechError | None:
        return StreamLost() if stream <= len(faults) and heard >= faults[stream - 1] else None

    async def run() -> list[SessionEvent]:
        random.seed(seed)
        first, pcm = 1, b""
        for count in utterances:
            pcm += speech(first, count)
            first += count
        async with running(FakeBackend(fail=fail)) as sessions:
            return await converse(await sessions.open("s", CONFIG), pcm, pace)

    name, options = virtual_backend(backend)
    events = anyio.run(run, backend=name, backend_options=options)
    assert words(events) == " ".join(str(n) for n in range(1, sum(utterances) + 1))
    said = [event for event in events if isinstance(event, Transcript) and event.is_final]
    assert [final.seq for final in said] == list(range(1, len(said) + 1))
    assert [final.start for final in said[1:]] == [final.end for final in said[:-1]]


async def test_a_session_that_cannot_be_resumed_ends_with_its_client() -> None:
    backend = FakeBackend()
    async with running(backend) as sessions:
        session = await sessions.open("s1", CONFIG, resumable=False)
        await session.audio(speech(1, 4))
        session.disconnected()
        await anyio.sleep(0.1)
        assert len(sessions) == 0
    assert backend.live == 0


async def test_a_recogniser_whose_session_is_over_ends_in_order() -> None:
    """Results come all the time, also while a session ends."""
    seen: list[Event] = []
    backend = FakeBackend()
    record, ref = SessionRecord("s1", CONFIG, 60.0), Ref[SessionMessage]("session:s1", Mailbox(8))
    pool = BackendPool([backend])
    recogniser = Child("recogniser", Recogniser(record, ref, pool).run, restart=Restart.TEMPORARY)
    async with Supervisor([Child("pool", pool.run), recogniser], on_event=seen.append):
        ref.close()
        await settle()
    ended = [event for event in seen if event.path[-1] == "recogniser" and not isinstance(event, ChildStarted)]
    assert [type(event) for event in ended] == [ChildEnded]
    assert backend.live == 0
