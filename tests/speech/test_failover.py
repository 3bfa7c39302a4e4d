"""Whole sessions over a pool whose backends die, come back, refuse and are replaced: how soon the words go on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

from actors.speech.backends.events import PoolEvent, SessionMoved
from actors.speech.errors import (
    ConnectionFailed,
    ModelNotFound,
    QuotaExceeded,
    SpeechError,
    StreamLost,
)
from actors.speech.link import Link
from actors.speech.messages import Done, Problem, SessionEvent, Transcript
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionConfig, Tier
from actors.speech.sessions import Sessions
from supervisor.reports import ChildFailed, Event
from supervisor.spec import Child
from supervisor.tree import Supervisor
from tests.speech.fakes import RATE, FakeBackend, in_memory, speech

FRAME = RATE // 10 * 2  # bytes of 100 ms
SPEECH = b"".join(speech(first, 12) for first in range(1, 97, 12))  # 28 s, an utterance each 3.5 s
WORDS = " ".join(map(str, range(1, 97)))
UTTERANCE = len(SPEECH) // 8


class Mortal(FakeBackend):
    """Works until it is killed; then its streams break, new ones are refused, and so are questions."""

    def __init__(self, name: str, *, tier: Tier = Tier.PRIMARY, room: int = 200, quota_key: str = "") -> None:
        super().__init__(
            name,
            tier=tier,
            room=room,
            quota_key=quota_key,
            fail=lambda stream, heard: self.wrong(lost=bool(heard)),
            answer=lambda: self.wrong(lost=False),
        )
        self.dead = False

    def wrong(self, *, lost: bool) -> SpeechError | None:
        if not self.dead:
            return None
        return StreamLost(endpoint=self.name) if lost else ConnectionFailed(endpoint=self.name)


class Hearing:
    """What one client is told, and when."""

    def __init__(self, session: Link, pcm: bytes) -> None:
        self.session = session
        self.pcm = pcm
        self.events: list[tuple[float, SessionEvent]] = []

    async def converse(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            for start in range(0, len(self.pcm), FRAME):
                await self.session.audio(self.pcm[start : start + FRAME])
                await anyio.sleep(0.1)
            await self.session.stop()

    async def _listen(self) -> None:
        over = False
        while not over:
            event = await self.session.next_event()
            self.events.append((anyio.current_time(), event))
            over = isinstance(event, Done) or (isinstance(event, Problem) and event.fatal)

    @property
    def words(self) -> str:
        finals = [event for _, event in self.events if isinstance(event, Transcript) and event.is_final]
        return " ".join(final.text for final in finals if final.text)

    def transcript_after(self, time: float) -> float:
        """Seconds from then to the next words."""
        return next(at - time for at, event in self.events if at > time and isinstance(event, Transcript))


class Running:
    def __init__(
        self, pool: BackendPool, sessions: Sessions, events: list[PoolEvent], tree_events: list[Event]
    ) -> None:
        self.pool = pool
        self.events = events
        self.tree_events = tree_events
        self._sessions = sessions

    async def converse(
        self,
        count: int,
        meanwhile: Callable[[], object] = lambda: None,
        *,
        at: float = 0.0,
        pcm: bytes = SPEECH,
        language: str = "en-US",
    ) -> list[Hearing]:
        """So many conversations at the same time; something happens so many seconds after their start."""
        config = RecognitionConfig(sample_rate=RATE, language=language)
        heard = [Hearing(await self._sessions.open(f"s{number}", config), pcm) for number in range(count)]
        async with anyio.create_task_group() as tasks:
            for hearing in heard:
                tasks.start_soon(hearing.converse)
            await anyio.sleep(at)
            meanwhile()
        return heard


@asynccontextmanager
async def running(*backends: FakeBackend) -> AsyncGenerator[Running, None]:
    events: list[PoolEvent] = []
    pool = BackendPool(backends, listener=events.append)
    keeping, journal = in_memory()
    sessions = Sessions(lambda: tree.value("sessions"), pool, keeping, max_sessions=None, log_seconds=60.0)
    tree_events: list[Event] = []
    tree = Supervisor([journal, Child("pool", pool.run), sessions.child()], on_event=tree_events.append)
    async with tree:
        yield Running(pool, sessions, events, tree_events)


async def test_a_hundred_sessions_go_on_within_300_ms_when_their_backend_is_killed() -> None:
    first, spare = Mortal("first"), Mortal("spare", tier=Tier.FALLBACK)
    killed_at = 0.0

    def kill() -> None:
        nonlocal killed_at
        first.dead, killed_at = True, anyio.current_time()

    async with running(first, spare) as server:
        heard = await server.converse(100, kill, at=5.05, pcm=SPEECH[: 3 * UTTERANCE])
    assert [hearing.words for hearing in heard] == [" ".join(map(str, range(1, 37)))] * 100
    waits = sorted(hearing.transcript_after(killed_at) for hearing in heard)
    assert waits[98] <= 0.3
    assert len([event for event in server.events if isinstance(event, SessionMoved)]) == 100


async def test_sessions_whose_only_backend_is_away_for_20_s_lose_nothing_and_go_on_soon_after() -> None:
    only = Mortal("only")
    back_at = 0.0

    async with running(only) as server, anyio.create_task_group() as tasks:

        async def kill() -> None:
            nonlocal back_at
            only.dead = True
            await anyio.sleep(20)
            only.dead, back_at = False, anyio.current_time()

        heard = await server.converse(25, lambda: tasks.start_soon(kill), at=8.05)
    assert [hearing.words for hearing in heard] == [WORDS] * 25
    assert max(hearing.transcript_after(back_at) for hearing in heard) <= 3.0


async def test_both_of_two_that_die_one_after_the_other_cost_nothing() -> None:
    first, spare = Mortal("first"), Mortal("spare", tier=Tier.FALLBACK)

    def turn() -> None:
        first.dead = True

    async with running(first, spare) as server, anyio.create_task_group() as tasks:

        async def other_way() -> None:
            await anyio.sleep(14)
            first.dead, spare.dead = False, True

        tasks.start_soon(other_way)
        heard = await server.converse(20, turn, at=7)
    assert [hearing.words for hearing in heard] == [WORDS] * 20


async def test_a_language_that_one_backend_lacks_is_recognised_by_the_other() -> None:
    def lacks(stream: int, heard: int) -> SpeechError | None:
        return ModelNotFound("no 'de-DE'", endpoint="english")

    german = FakeBackend("german", tier=Tier.FALLBACK)
    async with running(FakeBackend("english", fail=lacks), german) as server:
        heard = await server.converse(3, language="de-DE")
    assert [hearing.words for hearing in heard] == [WORDS] * 3
    assert german.opened == 3
    assert [event for event in server.tree_events if isinstance(event, ChildFailed)] == []  # which would be logged


async def test_a_spent_quota_sends_sessions_to_a_backend_with_another_one_at_once() -> None:
    spent_at = 0.0

    def refuse(stream: int, heard: int) -> SpeechError | None:
        return QuotaExceeded(retry_after=60.0) if spent_at and anyio.current_time() >= spent_at else None

    def spend() -> None:
        nonlocal spent_at
        spent_at = anyio.current_time()

    limited = [FakeBackend(name, fail=refuse, quota_key="account") for name in ("a", "b")]
    async with running(*limited, FakeBackend("own", tier=Tier.FALLBACK)) as server:
        heard = await server.converse(20, spend, at=5.05)
        opened = [backend.opened for backend in limited]
    assert [hearing.words for hearing in heard] == [WORDS] * 20
    assert max(hearing.transcript_after(spent_at) for hearing in heard) <= 0.3
    assert opened == [10, 10]  # nobody asked a second time while it was spent


async def test_backends_are_replaced_under_running_sessions() -> None:
    old, new = FakeBackend("riva"), FakeBackend("riva")
    async with running(old) as server:
        heard = await server.converse(10, lambda: server.pool.reconfigure([new], seconds=5.0), at=9)
    assert [hearing.words for hearing in heard] == [WORDS] * 10
    assert (old.live, new.opened) == (0, 10)
