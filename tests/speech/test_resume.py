"""Sessions that lose their client, their process or their journal's answers, and go on: each word comes once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from actors.speech.errors import (
    AudioNotKept,
    GoingAway,
    JournalUnavailable,
    ResumeFailed,
    ServerBusy,
    SessionInUse,
    SpeechError,
    TakenOver,
)
from actors.speech.journal.body import Bodies, TextPolicy
from actors.speech.journal.memory import MemoryStore
from actors.speech.journal.port import JournalStore, Operation, Outcome
from actors.speech.link import Link
from actors.speech.messages import (
    Ack,
    Attach,
    ClientGone,
    Done,
    Gap,
    Problem,
    Ready,
    Resume,
    SessionEvent,
    SessionMessage,
    Status,
    Stop,
    Transcript,
)
from actors.speech.reports import AudioGivenUp, SessionReport
from actors.speech.session_core import SessionCore
from actors.speech.sessions import Sessions
from supervisor.reports import ErrorSurvived, Event
from supervisor.testing import settle
from tests.speech.fakes import RATE, WORD, FakeBackend, speech
from tests.speech.test_sessions import CONFIG, FRAME, finals, running, talk, words

FIRST, SECOND, THIRD = speech(1, 3), speech(4, 3), speech(7, 3)
ALL = FIRST + SECOND + THIRD


class Caller:
    """A client by the book: it keeps its audio, has its finals once, and comes back with what it knows."""

    def __init__(self, sessions: Sessions, pcm: bytes = ALL, session_id: str = "s1", user: str = "") -> None:
        self.sessions = sessions
        self.finals: list[Transcript | Gap] = []
        self.events: list[SessionEvent] = []
        self.forgot = 0  # samples that it has no more
        self.last: Ready
        self.link: Link
        self._pcm = pcm
        self._id = session_id
        self._user = user

    async def open(self) -> None:
        self.link = await self.sessions.open(self._id, CONFIG, user=self._user)
        await self._hear_ready()

    async def resume(self, token: str | None = None, seq: int | None = None) -> None:
        last = self.finals[-1] if self.finals else None
        resume = Resume(
            token=self.last.token if token is None else token,
            seq=(last.seq if last else 0) if seq is None else seq,
            end=last.end if last else 0,
            oldest=self.forgot,
        )
        self.link = await self.sessions.resume(self._id, resume, CONFIG, user=self._user)
        await self._hear_ready()

    async def say(self, until: int) -> None:
        """Say everything from where the server wants it up to a sample, in real time."""
        for start in range(2 * self._at, 2 * until, FRAME):
            await self.link.audio(self._pcm[start : min(start + FRAME, 2 * until)])
            await anyio.sleep(0.1)
        self._at = until

    async def hear(self, count: int) -> None:
        """Listen until there are so many finals with words, and gaps."""
        while len([final for final in self.finals if isinstance(final, Gap) or final.text]) < count:
            await self._hear_one()

    async def hear_end(self) -> None:
        """Say that it is all, and listen to the end."""
        await self.link.stop()
        while not isinstance(self.events[-1], Done):
            await self._hear_one()

    @property
    def words(self) -> str:
        return words(self.finals)

    async def _hear_ready(self) -> None:
        await self._hear_one()
        ready = self.events[-1]
        assert isinstance(ready, Ready)
        self.last, self._at = ready, ready.position

    async def _hear_one(self) -> None:
        event = await self.link.next_event()
        self.events.append(event)
        if isinstance(event, Gap) or (isinstance(event, Transcript) and event.is_final):
            before = self.finals[-1] if self.finals else None
            if before is None or event.seq > before.seq:
                assert (event.seq, event.start) == ((before.seq + 1, before.end) if before else (1, 0))
                self.finals.append(event)
            else:
                assert event == self.finals[event.seq - 1]


@asynccontextmanager
async def another_process(store: JournalStore, **options: Bodies) -> AsyncGenerator[Sessions, None]:
    """What a server is that comes after one that was killed: the store is all it knows."""
    async with running(FakeBackend(), store=store, **options) as sessions:  # type: ignore[arg-type]
        yield sessions


def end_of(pcm: bytes) -> int:
    return len(pcm) // 2


async def test_a_lost_client_comes_back_to_what_was_recognised_meanwhile() -> None:
    async with running(FakeBackend()) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST))
        await caller.hear(1)
        await caller.say(end_of(FIRST + SECOND))
        caller.link.disconnected()
        await anyio.sleep(40.0)
        await caller.resume()
        assert (caller.last.resumed, caller.last.position) == (True, end_of(FIRST + SECOND))
        await caller.say(end_of(ALL))
        await caller.hear_end()
        assert caller.words == "1 2 3 4 5 6 7 8 9"
        assert caller.finals[-1].end == end_of(ALL)
        await settle()
        assert len(sessions) == 0


@pytest.mark.parametrize("into", [RATE // 10, RATE // 4])
async def test_a_word_that_a_client_was_lost_in_is_heard_whole_however_long_it_is_away(into: int) -> None:
    async with running(FakeBackend()) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST) + into)
        caller.link.disconnected()
        await anyio.sleep(50.0)
        assert caller.link.record.timeline.confirmed <= end_of(FIRST) + WORD
        assert caller.link.record.timeline.seq == 1
        await caller.resume()
        await anyio.sleep(1.0)
        await caller.say(end_of(ALL))
        await caller.hear_end()
    assert caller.words == "1 2 3 4 5 6 7 8 9"


async def test_a_session_outlives_its_process() -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with running(FakeBackend(), store=store) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST + SECOND) - RATE // 4)
        await caller.hear(1)
        epoch = caller.last.epoch
    async with another_process(store) as sessions:
        caller.sessions = sessions
        await caller.resume()
        assert (caller.last.resumed, caller.last.position) == (True, caller.finals[-1].end)
        assert caller.last.epoch > epoch
        await caller.say(end_of(ALL))
        await caller.hear_end()
    assert caller.words == "1 2 3 4 5 6 7 8 9"


async def test_what_was_committed_and_not_received_is_sent_again() -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with running(FakeBackend(), store=store) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST + SECOND))  # and hears nothing of what comes back
        await anyio.sleep(5.0)
    async with another_process(store) as sessions:
        caller.sessions = sessions
        await caller.resume()
        await caller.say(end_of(ALL))
        await caller.hear_end()
    assert caller.words == "1 2 3 4 5 6 7 8 9"


async def test_the_newest_connection_has_the_session_and_the_older_one_is_told() -> None:
    async with running(FakeBackend()) as sessions:
        old = Caller(sessions)
        await old.open()
        await old.say(end_of(FIRST))
        await old.hear(1)
        new = Caller(sessions)
        new.last, new.finals = old.last, list(old.finals)
        await new.resume()
        while not isinstance(old.events[-1], Problem):
            await old._hear_one()
        assert old.events[-1] == Problem(code="CONN_010", fatal=True)
        await old.link.audio(bytes(2 * RATE))  # which is in nobody's way
        old.link.disconnected()
        await new.say(end_of(ALL))
        await new.hear_end()
    assert new.words == "1 2 3 4 5 6 7 8 9"


async def test_a_server_that_is_full_takes_the_sessions_of_one_that_died_and_no_new_ones() -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with (
        running(FakeBackend(), store=store) as dies,
        running(FakeBackend(room=1), store=store, max_sessions=1) as full,
    ):
        callers = [Caller(dies, session_id=f"s{number}") for number in range(2)]
        for caller in callers:
            await caller.open()
            await caller.say(end_of(FIRST))
            await caller.hear(1)
        await full.open("its own", CONFIG)
        with pytest.raises(ServerBusy):
            await full.open("a new one", CONFIG)
        callers[0].sessions = callers[1].sessions = full
        await callers[0].resume()  # there is no stream for it, so it waits
        with pytest.raises(ServerBusy):  # memory has an end, too
            await callers[1].resume()


async def test_an_owner_that_was_deposed_says_nothing_more() -> None:
    """Two processes believe that they own the session. The one that was not asked last has nothing it may send."""
    store = MemoryStore(clock=anyio.current_time)
    async with running(FakeBackend(), store=store) as first, another_process(store) as second:
        old = Caller(first)
        await old.open()
        await old.say(end_of(FIRST))
        await old.hear(1)
        new = Caller(second)
        new.last, new.finals = old.last, list(old.finals)
        await new.resume()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(old.say, end_of(ALL))
            await new.say(end_of(ALL))
        await new.hear_end()
        while not isinstance(old.events[-1], Problem):
            await old._hear_one()
        assert old.events[-1] == Problem(code="CONN_010", fatal=True)
        assert old.words == "1 2 3"
    assert new.words == "1 2 3 4 5 6 7 8 9"


async def test_a_token_works_until_the_next_one_has_arrived() -> None:
    async with running(FakeBackend()) as sessions:
        caller = Caller(sessions)
        await caller.open()
        first = caller.last.token
        await caller.resume()
        caller.link.disconnected()  # as if its `ready` had been lost
        await caller.resume(token=first)
        caller.link.confirmed()
        await settle()
        with pytest.raises(TakenOver):
            await caller.resume(token=first)
        await caller.say(end_of(FIRST))
        await caller.hear(1)
        assert caller.words == "1 2 3"


@pytest.mark.parametrize("wait", [0.0, 61.0])
async def test_a_wrong_token_and_one_that_comes_too_late_are_refused_alike(wait: float) -> None:
    async with running(FakeBackend()) as sessions:
        caller = Caller(sessions)
        await caller.open()
        if wait:
            caller.link.disconnected()
            await anyio.sleep(wait)
        with pytest.raises(ResumeFailed) as refused:
            await caller.resume(token=caller.last.token if wait else "guess")
        assert str(refused.value) == "CONN_008 CONN_RESUME_FAILED"


async def test_a_client_that_has_kept_less_than_is_wanted_is_told_of_the_gap_in_its_place() -> None:
    backend = FakeBackend()
    async with running(backend) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST) + RATE // 4)  # into the first word of the second utterance
        caller.link.disconnected()
        await anyio.sleep(1.0)
        caller.forgot = end_of(FIRST + SECOND)
        await caller.resume()
        assert caller.last.position == end_of(FIRST + SECOND)
        await caller.say(end_of(ALL))
        await caller.hear_end()
    gap = next(final for final in caller.finals if isinstance(final, Gap))
    assert (gap.start, gap.end, gap.code) == (end_of(FIRST) + RATE // 4, end_of(FIRST + SECOND), "AUDIO_007")
    assert caller.words == "1 2 3 4 7 8 9"


async def test_a_process_that_starts_behind_a_gap_declares_it() -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with running(FakeBackend(), store=store) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST))
        await caller.hear(1)
    caller.forgot = end_of(FIRST + SECOND)
    reports: list[SessionReport] = []
    events: list[Event] = []
    async with running(FakeBackend(), store=store, listener=reports.append, on_event=events.append) as sessions:
        caller.sessions = sessions
        await caller.resume()
        await caller.say(end_of(ALL))
        await caller.hear_end()
    gap = next(final for final in caller.finals if isinstance(final, Gap))
    assert (gap.end, gap.code) == (end_of(FIRST + SECOND), "AUDIO_007")
    assert caller.words == "1 2 3 7 8 9"
    lost = AudioGivenUp(session="s1", seconds=(gap.end - gap.start) / RATE, code="AUDIO_007")
    assert [report for report in reports if isinstance(report, AudioGivenUp)] == [lost]
    errors = [event.error for event in events if isinstance(event, ErrorSurvived)]
    assert [type(error) for error in errors] == [AudioNotKept]


async def test_a_journal_that_lost_its_end_never_uses_a_number_again() -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with running(FakeBackend(), store=store) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST + SECOND))
        await caller.hear(2)
    tables = store._tables
    kept = tables._entries["s1"][:1]
    tables._entries["s1"] = kept
    tables._rows["s1"] = type(tables._rows["s1"])(
        epoch=1, config=tables._rows["s1"].config, token=tables._rows["s1"].token, since=anyio.current_time(),
        seq=kept[-1].seq, end=kept[-1].end,
    )  # fmt: skip
    async with another_process(store) as sessions:
        caller.sessions = sessions
        await caller.resume()
        assert caller.last.position == caller.finals[-1].end
        await caller.say(end_of(ALL))
        await caller.hear_end()
    assert caller.words == "1 2 3 4 5 6 7 8 9"


@pytest.mark.parametrize("restart", [False, True])
async def test_a_journal_without_words_has_them_recognised_again(restart: bool) -> None:
    bodies = Bodies(TextPolicy.NONE)
    store = MemoryStore(clock=anyio.current_time)
    async with (
        running(FakeBackend(), store=store, bodies=bodies) as sessions,
        another_process(store, bodies=bodies) as others,
    ):
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST))
        await caller.hear(1)
        caller.link.acknowledge(caller.finals[-1].seq)
        await caller.say(end_of(FIRST + SECOND))
        await anyio.sleep(5.0)  # and does not hear what comes
        acked = [event for event in caller.events if isinstance(event, Ack)]
        assert all(ack.durable == 0 for ack in acked)
        caller.link.disconnected()
        caller.sessions = others if restart else sessions
        await caller.resume()
        assert caller.last.position == caller.finals[-1].end
        await caller.say(end_of(ALL))
        await caller.hear_end()
    assert caller.words == "1 2 3 4 5 6 7 8 9"


async def test_a_client_that_missed_the_end_gets_it_when_it_comes_back_and_then_it_is_forgotten() -> None:
    async with running(FakeBackend()) as sessions:
        caller = Caller(sessions, FIRST)
        await caller.open()
        await caller.say(end_of(FIRST))
        await caller.link.stop()
        caller.link.disconnected()
        await anyio.sleep(10.0)
        assert len(sessions) == 0
        await caller.resume()
        while not isinstance(caller.events[-1], Done):
            await caller._hear_one()
        assert caller.words == "1 2 3"
        caller.link.delivered()
        await settle()
        with pytest.raises(ResumeFailed):
            await caller.resume()


async def test_an_id_is_taken_while_it_is_connected_and_free_when_its_client_has_gone() -> None:
    async with running(FakeBackend()) as sessions:
        caller = Caller(sessions)
        await caller.open()
        with pytest.raises(SessionInUse):
            await sessions.open("s1", CONFIG)
        caller.link.disconnected()
        await settle()
        other = Caller(sessions)
        await other.open()
        assert (other.last.resumed, len(sessions)) == (False, 1)
        with pytest.raises(ResumeFailed):
            await caller.resume()
        await other.say(end_of(FIRST))
        await other.hear(1)
        assert other.words == "1 2 3"


@pytest.mark.parametrize("into", [RATE // 20, RATE // 10, RATE // 4])
async def test_a_draining_server_leaves_its_sessions_to_the_next_one(into: int) -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with running(FakeBackend(), store=store) as sessions:
        caller = Caller(sessions)
        await caller.open()
        await caller.say(end_of(FIRST) + into)
        caller.link.drain(10.0)
        while not isinstance(caller.events[-1], Problem):
            await caller._hear_one()
        assert caller.events[-1] == Problem(code=GoingAway.entry.code, fatal=True)
    async with another_process(store) as sessions:
        caller.sessions = sessions
        await caller.resume()
        await caller.say(end_of(ALL))
        await caller.hear_end()
    assert caller.words == "1 2 3 4 5 6 7 8 9"  # the word that was cut is left to who hears it whole


@pytest.mark.parametrize("fatal", [Stop, Attach, ClientGone])
async def test_a_message_that_an_actor_died_of_is_tried_once_more(
    fatal: type[SessionMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    decide, died = SessionCore._decide, []

    def die_once(core: SessionCore, message: SessionMessage, now: float) -> object:
        if isinstance(message, fatal) and not died:
            died.append(message)
            raise RuntimeError("a defect")
        return decide(core, message, now)

    monkeypatch.setattr(SessionCore, "_decide", die_once)
    async with running(FakeBackend()) as sessions:
        caller = Caller(sessions, FIRST)
        await caller.open()
        await caller.say(end_of(FIRST))
        await caller.resume()
        await caller.hear_end()
        if fatal is ClientGone:
            other = Caller(sessions, FIRST, "s2")
            await other.open()
            other.link.disconnected()
            await anyio.sleep(70.0)
            assert len(sessions) == 0
    assert len(died) == 1
    assert caller.words == "1 2 3"


class Slow(MemoryStore):
    """A store that takes its time, or fails, when told to."""

    def __init__(self) -> None:
        super().__init__(clock=anyio.current_time)
        self.until = 0.0
        self.error: SpeechError | None = None

    async def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        while anyio.current_time() < self.until:
            if self.error is not None:
                raise self.error
            await anyio.sleep(0.1)
        return await super().commit(operations)


async def test_who_comes_while_the_journal_does_not_answer_is_asked_to_come_again() -> None:
    store = Slow()
    async with running(FakeBackend(), store=store) as sessions:
        caller = Caller(sessions)
        await caller.open()
        caller.link.disconnected()
        await settle()
        store.until = anyio.current_time() + 8.0
        with pytest.raises(ServerBusy) as refused:
            await sessions.open("s2", CONFIG)
        assert refused.value.retry_after == 5.0
        await anyio.sleep(5.0)
        assert len(sessions) == 1
        await sessions.open("s2", CONFIG)  # the place that was asked for in vain was given up
        await caller.resume()


@pytest.mark.parametrize("error", [None, JournalUnavailable("the disk is gone")])
async def test_finals_wait_for_the_journal_and_the_client_is_told(error: SpeechError | None) -> None:
    store = Slow()
    async with running(FakeBackend(), store=store) as sessions:
        session = await sessions.open("s1", CONFIG)
        store.until, store.error = anyio.current_time() + 8.0, error
        events: list[tuple[float, SessionEvent]] = []
        began = anyio.current_time()

        async def listen() -> None:
            while not events or not isinstance(events[-1][1], Done):
                event = await session.next_event()
                events.append((anyio.current_time() - began, event))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await talk(session, ALL)
    said = [event for _, event in events]
    assert words(said) == "1 2 3 4 5 6 7 8 9"
    assert min(at for at, event in events if event in finals(said)) >= 8.0
    assert all(event.durable == 0 for at, event in events if isinstance(event, Ack) and at < 8.0)
    told = [(event.state, event.code) for event in said if isinstance(event, Status)]
    assert told == [("delayed", "JOURNAL_001"), ("streaming", None)]
