"""While no backend is left: what is asked of the cache, and what the client is told of its answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from actors.address import Ref
from actors.base import Actor, handler
from actors.hosting import actor_child
from actors.mailbox import Mailbox
from actors.speech.errors import ConnectionFailed, SpeechError
from actors.speech.link import Link
from actors.speech.messages import (
    CacheMessage,
    Done,
    ForgetOld,
    Learn,
    Recall,
    Recalled,
    SessionEvent,
    Status,
    Transcript,
)
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionConfig, Recollection, Utterance
from actors.speech.sessions import Sessions
from actors.speech.signal import Signal
from supervisor.tree import Supervisor
from tests.speech.fakes import RATE, FakeBackend, in_memory, speech

LOUD = 1000  # words of smaller numbers would be silence to an ear that goes by loudness
PAUSE = RATE  # samples, a second
CONFIG = RecognitionConfig(sample_rate=RATE)


def said(first: int, words: int) -> bytes:
    """An utterance and its pause, loud enough to be heard."""
    return speech(LOUD + first, words, pause=PAUSE)


def texts(first: int, words: int) -> str:
    return " ".join(str(LOUD + number) for number in range(first, first + words))


class PerfectCache(Actor[CacheMessage]):
    """Knows an utterance by the numbers in it."""

    def __init__(self, learned: dict[tuple[str, ...], str], asked: list[Utterance]) -> None:
        self._learned = learned
        self._asked = asked

    @handler
    def learn(self, message: Learn) -> None:
        self._learned[numbers(message.utterance)] = message.text

    @handler
    def recall(self, message: Recall) -> Recollection | None:
        self._asked.append(message.utterance)
        text = self._learned.get(numbers(message.utterance))
        return None if text is None else Recollection(text, 0.9)

    @handler
    def forget(self, message: ForgetOld) -> None: ...


class FailingCache(PerfectCache):
    @handler
    def recall(self, message: Recall) -> Recollection | None:
        raise KeyError("a defect")


def numbers(utterance: Utterance) -> tuple[str, ...]:
    samples = memoryview(utterance.pcm).cast("H").tolist()
    changes = (now for before, now in zip([0, *samples], samples, strict=False) if now not in (0, before))
    return tuple(map(str, changes))


class World:
    """Sessions over one backend that is there or not, and one cache."""

    def __init__(self, cache: type[PerfectCache]) -> None:
        self.up = True
        self.learned: dict[tuple[str, ...], str] = {}
        self.asked: list[Utterance] = []
        ref: Ref[CacheMessage] = Ref("cache", Mailbox(16))
        keeping, journal = in_memory()
        self.sessions = Sessions(
            lambda: tree.value("sessions"),
            BackendPool([FakeBackend(fail=self._fail)]),
            keeping,
            max_sessions=10,
            log_seconds=60.0,
            cache=ref,
        )
        children = [
            journal,
            Supervisor.child("cache", [actor_child("index", lambda: cache(self.learned, self.asked), ref=ref)]),
            self.sessions.child(),
        ]
        tree = self.tree = Supervisor(children)

    def _fail(self, stream: int, heard: int) -> SpeechError | None:
        return None if self.up else ConnectionFailed()


@asynccontextmanager
async def world(cache: type[PerfectCache] = PerfectCache) -> AsyncGenerator[World, None]:
    made = World(cache)
    async with made.tree:
        yield made


class Client:
    """Speaks in real time and keeps what it is told."""

    def __init__(self, session: Link) -> None:
        self.session = session
        self.events: list[SessionEvent] = []
        self._told = Signal()

    async def speak(self, pcm: bytes) -> None:
        size = RATE // 5
        for start in range(0, len(pcm), size):
            await self.session.audio(pcm[start : start + size])
            await anyio.sleep(0.1)

    async def listen(self) -> None:
        while not (self.events and isinstance(self.events[-1], Done)):
            self.events.append(await self.session.next_event())
            self._told.notify()

    async def until(self, state: str) -> None:
        while self.states[-1] != state:
            await self._told.wait()

    @property
    def recalled(self) -> list[Recalled]:
        return [event for event in self.events if isinstance(event, Recalled)]

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, Status)]

    @property
    def finals(self) -> str:
        return " ".join(
            event.text for event in self.events if isinstance(event, Transcript) and event.is_final and event.text
        )


@asynccontextmanager
async def client(world: World, name: str = "s", config: RecognitionConfig = CONFIG) -> AsyncGenerator[Client, None]:
    """A client that stops when the block is left, and waits until all was told."""
    made = Client(await world.sessions.open(name, config))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.listen)
        yield made
        await made.session.stop()


async def teach(world: World, *utterances: bytes) -> None:
    async with client(world, "teacher") as teacher:
        await teacher.speak(b"".join(utterances))


async def test_words_heard_before_are_shown_while_no_backend_is_left_and_the_final_follows() -> None:
    async with world() as here:
        await teach(here, said(1, 6), said(20, 8))
        assert sorted(here.learned.values()) == [texts(1, 6), texts(20, 8)]
        async with client(here) as speaker:
            here.up = False
            await speaker.speak(bytes(2 * RATE) + said(1, 6) + said(50, 6) + said(20, 8) + bytes(2 * RATE))
            assert [(one.text, one.similarity) for one in speaker.recalled] == [(texts(1, 6), 0.9), (texts(20, 8), 0.9)]
            assert speaker.finals == ""
            assert speaker.session.record.timeline.confirmed == 0
            here.up = True
    assert speaker.finals == " ".join((texts(1, 6), texts(50, 6), texts(20, 8)))
    first, second = speaker.recalled
    spoken = [final for final in speaker.events if isinstance(final, Transcript) and final.is_final and final.text]
    assert abs(first.start - spoken[0].words[0].start) <= 0.2 * RATE
    assert abs(first.end - spoken[0].words[-1].end) <= 0.2 * RATE
    assert first.end < second.start


async def test_each_utterance_is_asked_for_once_though_the_backend_comes_and_goes() -> None:
    async with world() as here, client(here) as speaker:
        here.up = False
        await speaker.speak(said(1, 6) + bytes(2 * 5 * RATE))
        here.up = True
        await speaker.until("streaming")
        here.up = False  # before it has said anything
        await speaker.speak(said(20, 6) + bytes(2 * 5 * RATE))
        assert speaker.states == ["recovering", "delayed", "streaming", "recovering", "delayed"]
        assert [numbers(one) for one in here.asked] == [
            tuple(texts(1, 6).split()),
            tuple(texts(20, 6).split()),
        ]
        here.up = True
    assert speaker.finals == f"{texts(1, 6)} {texts(20, 6)}"


async def test_a_short_recovery_asks_for_nothing() -> None:
    async with world() as here, client(here) as speaker:
        here.up = False
        await speaker.speak(said(1, 6)[: 2 * RATE])
        here.up = True
        await speaker.speak(said(1, 6)[2 * RATE :])
    assert here.asked == []


async def test_the_last_utterance_is_asked_for_though_no_pause_follows_it() -> None:
    async with world() as here:
        await teach(here, said(1, 6))
        async with client(here) as speaker:
            here.up = False
            await speaker.speak(speech(LOUD + 1, 6, pause=0))
            await speaker.session.stop()
            await anyio.sleep(10.0)
            assert [one.text for one in speaker.recalled] == [texts(1, 6)]
            here.up = True


async def test_a_client_that_wants_finals_only_is_shown_nothing_else() -> None:
    async with world() as here:
        await teach(here, said(1, 6))
        quiet = RecognitionConfig(sample_rate=RATE, interim_results=False)
        async with client(here, config=quiet) as speaker:
            here.up = False
            await speaker.speak(said(1, 6) + bytes(2 * 5 * RATE))
            here.up = True
    assert len(here.asked) == 1
    assert speaker.recalled == []


async def test_what_waited_on_disk_is_looked_through_too() -> None:
    async with world() as here:
        await teach(here, said(1, 6))
        here.sessions._spool_seconds = 600.0
        async with client(here) as speaker:
            here.up = False
            await speaker.speak(bytes(2 * RATE) + said(1, 6) + said(20, 6) * 30 + bytes(2 * RATE))
            assert [one.text for one in speaker.recalled] == [texts(1, 6)]
            assert len(here.asked) == 31
            here.up = True


async def test_a_cache_that_fails_costs_nothing_but_its_help() -> None:
    async with world(FailingCache) as here, client(here) as speaker:
        here.up = False
        await speaker.speak(said(1, 6) + bytes(2 * 5 * RATE))
        here.up = True
    assert speaker.finals == texts(1, 6)
    assert speaker.states == ["recovering", "delayed", "streaming"]


async def test_a_session_that_crashes_goes_on_asking() -> None:
    async with world() as here:
        await teach(here, said(1, 6))
        async with client(here) as speaker:
            here.up = False
            speaker.session.ref.tell("no message a session knows")  # type: ignore[arg-type]
            await speaker.speak(bytes(2 * RATE) + said(1, 6) + bytes(2 * 5 * RATE))
            assert [one.text for one in speaker.recalled] == [texts(1, 6)]
            here.up = True
    assert speaker.finals == texts(1, 6)


async def test_without_a_cache_there_is_nobody_to_ask() -> None:
    async with world() as here:
        here.sessions._cache = None
        async with client(here) as speaker:
            here.up = False
            await speaker.speak(said(1, 6) + bytes(2 * 5 * RATE))
            here.up = True
    assert (here.asked, here.learned, speaker.finals) == ([], {}, texts(1, 6))


@pytest.mark.parametrize(("words", "learned"), [(3, False), (6, True)])
async def test_finals_of_a_second_and_more_are_learned(words: int, learned: bool) -> None:
    async with world() as here:
        await teach(here, said(1, words))
    assert bool(here.learned) is learned
