"""The pool as sessions, watchers and operators use it, in virtual time; its decisions have tests of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import anyio
import pytest

from actors.speech.backends.events import BackendDown, BackendUp, BreakerOpened, Health, PoolEvent, SessionMoved, Why
from actors.speech.errors import (
    BackendDraining,
    ConnectionFailed,
    ModelNotFound,
    QuotaExceeded,
    SpeechError,
    StreamLost,
)
from actors.speech.pool import BackendPool, Elsewhere, Lease
from actors.speech.ports import RecognitionConfig, Tier
from supervisor.breaker import BreakerState
from supervisor.spec import Child
from supervisor.testing import settle
from supervisor.tree import Supervisor
from tests.speech.fakes import FakeBackend

CONFIG = RecognitionConfig()


def no_wait() -> None:
    raise AssertionError("a backend should have been free")


def ignored() -> None:
    """Somebody waits, and that is not what the test is about."""


def pair(room: int = 100) -> tuple[FakeBackend, FakeBackend]:
    return FakeBackend("first", room=room), FakeBackend("spare", tier=Tier.FALLBACK, room=room)


@asynccontextmanager
async def watched(*backends: FakeBackend, events: list[PoolEvent] | None = None) -> AsyncGenerator[BackendPool, None]:
    """A pool whose questions are asked; all that answer have answered."""
    pool = BackendPool(backends, listener=(events if events is not None else []).append)
    async with Supervisor([Child("pool", pool.run)]):
        await settle()
        yield pool


async def name_of_next(pool: BackendPool, session: str = "next") -> str:
    async with pool.lease(session, CONFIG, on_wait=ignored) as lease:
        return lease.backend.name


async def fail(pool: BackendPool, session: str, error: SpeechError) -> None:
    with pytest.raises(type(error)):
        async with pool.lease(session, CONFIG, on_wait=no_wait):
            raise error


async def test_the_best_backend_is_lent_without_waiting() -> None:
    first, spare = pair(room=1)
    pool = BackendPool([spare, first])
    async with AsyncExitStack() as stack:
        lent = [await stack.enter_async_context(pool.lease(f"s{n}", CONFIG, on_wait=no_wait)) for n in range(2)]
    assert [lease.backend for lease in lent] == [first, spare]
    assert (pool.capacity, pool.degraded(spare), pool.degraded(first)) == (2, True, False)


async def test_who_finds_no_room_waits_and_says_so_once_if_it_lasts() -> None:
    pool = BackendPool([FakeBackend(room=1)])
    told: list[str] = []
    got: list[tuple[str, float]] = []

    async def wait(session: str) -> None:
        async with pool.lease(session, CONFIG, on_wait=lambda: told.append(session)):
            got.append((session, round(anyio.current_time() - began, 3)))
            await anyio.sleep(0.2)

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks, pool.lease("s", CONFIG, on_wait=no_wait):
        tasks.start_soon(wait, "p")
        await settle()
        tasks.start_soon(wait, "q")
        await anyio.sleep(0.1)
        assert told == []
    assert (told, got) == (["q"], [("p", 0.1), ("q", 0.3)])


async def test_who_gives_up_waiting_leaves_the_queue_to_the_others() -> None:
    pool = BackendPool([FakeBackend(room=1)])
    got: list[str] = []

    async def wait(session: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with pool.lease(session, CONFIG, on_wait=ignored):
                got.append(session)

    async with anyio.create_task_group() as tasks:
        async with pool.lease("s", CONFIG, on_wait=no_wait):
            scopes = [anyio.CancelScope() for _ in range(3)]
            for session, scope in zip("pqr", scopes, strict=True):
                tasks.start_soon(wait, session, scope)
                await settle()
            scopes[0].cancel()
            await anyio.sleep(3)
            scopes[1].cancel()  # in the same moment in which the place becomes free
        await settle()
    assert got == ["r"]
    assert pool.snapshot().waiting == 0
    assert pool.snapshot().backends[0].streams == 0


async def test_a_session_goes_elsewhere_at_once_when_its_stream_fails() -> None:
    events: list[PoolEvent] = []
    first, spare = pair()
    async with watched(first, spare, events=events) as pool:
        began = anyio.current_time()
        await fail(pool, "s", StreamLost())
        assert await name_of_next(pool, "s") == "spare"
        assert anyio.current_time() == began
    assert SessionMoved(session="s", source="first", target="spare", why=Why.FAILOVER) in events


async def test_a_backend_that_does_not_answer_is_not_lent_and_its_return_is_seen_within_a_second() -> None:
    events: list[PoolEvent] = []
    first, spare = pair()
    first.answer = lambda: ConnectionFailed("refused") if anyio.current_time() < back_at else None
    back_at = anyio.current_time() + 100
    async with watched(first, spare, events=events) as pool:
        assert await name_of_next(pool) == "spare"
        await anyio.sleep(99)
        assert (await name_of_next(pool), pool.capacity) == ("spare", 100)
        await anyio.sleep(2)
        assert (await name_of_next(pool, "new"), pool.capacity) == ("first", 200)
    down, up = [event for event in events if isinstance(event, BackendDown | BackendUp) and event.name == "first"]
    assert isinstance(up, BackendUp)
    assert 100 <= up.seconds <= 101
    assert isinstance(down, BackendDown)
    assert (down.name, down.code, str(down.error)) == ("first", "RIVA_001", "RIVA_001 RIVA_CONNECTION_FAILED: refused")
    paced = [later - sooner for sooner, later in pairwise(first.asked)]
    assert all(0.1 <= gap <= 6 for gap in paced)


async def test_a_question_that_is_never_answered_is_one_that_failed() -> None:
    class Silent(FakeBackend):
        async def probe(self) -> None:
            await super().probe()
            await anyio.sleep_forever()

    silent, spare = Silent("silent"), FakeBackend("spare", tier=Tier.FALLBACK)
    async with watched(silent, spare) as pool:
        assert await name_of_next(pool) == "spare"
        await anyio.sleep(30)
        state = pool.snapshot().backends[0]
        assert (state.health, state.breaker, state.last_code) == (Health.SUSPECT, BreakerState.OPEN, "RIVA_006")


async def test_a_defect_in_a_question_restarts_the_questions_and_no_session_notices() -> None:
    class Defective(FakeBackend):
        async def probe(self) -> None:
            await super().probe()
            if len(self.asked) == 2:
                raise KeyError("a defect")

    backend = Defective()
    async with watched(backend) as pool, pool.lease("s", CONFIG, on_wait=no_wait):
        await anyio.sleep(20)
        assert len(backend.asked) > 3
        assert await name_of_next(pool) == "fake"


async def test_signs_lead_to_a_question_and_not_to_a_verdict() -> None:
    first, spare = pair()
    async with watched(first, spare) as pool:
        pool.suspect("first")
        assert await name_of_next(pool, "at once") == "spare"
        await settle()
        assert await name_of_next(pool, "later") == "first"
        pool.down("first", ConnectionFailed("its process ended"))
        await settle()
        assert await name_of_next(pool, "now") == "spare"
        pool.ready("first")
        await settle()
        assert await name_of_next(pool, "in the end") == "first"
        with pytest.raises(KeyError):
            pool.suspect("unknown")


async def test_a_session_whose_language_is_not_there_may_lease_again_until_nobody_has_it() -> None:
    first, spare = pair()
    pool = BackendPool([first, spare])
    with pytest.raises(Elsewhere):
        async with pool.lease("s", CONFIG, on_wait=no_wait) as lease:
            raise ModelNotFound("no 'xx'", endpoint=lease.backend.name)
    with pytest.raises(ModelNotFound):
        async with pool.lease("s", CONFIG, on_wait=no_wait) as lease:
            raise ModelNotFound("no 'xx'", endpoint=lease.backend.name, backend_detail="has a (streaming: en-US)")
    with pytest.raises(ModelNotFound) as refused:
        async with pool.lease("t", CONFIG, on_wait=no_wait):
            pass
    assert (refused.value.detail, refused.value.endpoint) == ("no 'xx'", "first")


async def test_a_quota_is_waited_for_as_long_as_its_server_says() -> None:
    async with watched(FakeBackend()) as pool:
        await fail(pool, "s", QuotaExceeded(retry_after=7.5))
        began = anyio.current_time()
        async with pool.lease("s", CONFIG, on_wait=ignored):
            assert anyio.current_time() - began == pytest.approx(7.5, abs=0.02)


async def test_a_stream_of_a_drained_backend_is_ended_when_its_time_is_up() -> None:
    first, spare = pair()
    async with watched(first, spare) as pool:

        async def speak_for_ever() -> None:
            async with pool.lease("s", CONFIG, on_wait=no_wait):
                pool.drain("first", seconds=30)
                await anyio.sleep_forever()

        began = anyio.current_time()
        with pytest.raises(BackendDraining, match="had its time to move"):
            await speak_for_ever()
        assert anyio.current_time() - began == pytest.approx(30)
        assert await name_of_next(pool, "s") == "spare"
        pool.undrain("first")
        assert await name_of_next(pool, "new") == "first"


async def test_an_error_of_a_stream_that_is_recalled_in_the_same_moment_is_the_streams() -> None:
    async with watched(*pair()) as pool:

        async def be_recalled_and_fail() -> None:
            async with pool.lease("s", CONFIG, on_wait=no_wait):
                pool.drain("first", seconds=0)
                raise StreamLost()

        with pytest.raises(StreamLost):
            await be_recalled_and_fail()


async def test_a_session_moves_at_the_end_of_an_utterance_when_it_is_told_to() -> None:
    first, spare = pair()
    first.answer = lambda: ConnectionFailed() if anyio.current_time() < back_at else None
    back_at = anyio.current_time() + 40
    async with watched(first, spare) as pool:
        async with pool.lease("s", CONFIG, on_wait=no_wait) as lease:
            assert lease.backend is spare
            for _ in range(39):  # utterances
                await anyio.sleep(1)
                assert not lease.should_move()
            await anyio.sleep(32)
            assert lease.should_move()
        assert await name_of_next(pool, "s") == "first"


async def test_backends_come_and_go_and_one_that_left_can_be_closed() -> None:
    first, spare = pair()
    async with watched(first, spare) as pool:
        closed: list[float] = []

        async def close() -> None:
            await pool.left(first)
            closed.append(anyio.current_time())

        async with anyio.create_task_group() as tasks, pool.lease("s", CONFIG, on_wait=no_wait) as lease:
            new = FakeBackend("new")
            pool.reconfigure([new, spare])
            tasks.start_soon(close)
            await settle()
            assert await name_of_next(pool) == "new"
            assert [state.name for state in pool.snapshot().backends] == ["new", "spare", "first"]
            assert lease.should_move()
            await anyio.sleep(3)
            assert closed == []
            began = anyio.current_time()
        assert closed == [began]
        assert [state.name for state in pool.snapshot().backends] == ["new", "spare"]


async def test_only_the_first_answer_of_a_stream_is_counted() -> None:
    pool = BackendPool([FakeBackend()])

    async def speak(lease: Lease) -> None:
        for _ in range(3):
            lease.answered()

    async with pool.lease("s", CONFIG, on_wait=no_wait) as lease:
        assert pool.snapshot().backends[0].health is Health.UNKNOWN
        await speak(lease)
        assert pool.snapshot().backends[0].health is Health.READY


async def test_of_thousands_who_wait_for_one_backend_the_first_are_served_when_it_is_back() -> None:
    backend = FakeBackend(room=500)
    backend.answer = lambda: ConnectionFailed() if anyio.current_time() < back_at else None
    back_at = anyio.current_time() + 20
    got: list[int] = []

    async def wait(number: int) -> None:
        async with pool.lease(f"s{number}", CONFIG, on_wait=ignored):
            got.append(number)
            await anyio.sleep_forever()

    async with watched(backend) as pool, anyio.create_task_group() as tasks:
        for number in range(2000):
            tasks.start_soon(wait, number)
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(19)
        assert got == []
        await anyio.sleep(2.1)
        assert sorted(got) == list(range(500))
        assert pool.snapshot().waiting == 1500
        tasks.cancel_scope.cancel()


def test_a_pool_without_backends_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one backend"):
        BackendPool([])


# ---- by hand


async def test_a_breaker_opened_by_hand_lets_one_stream_try_when_its_time_is_up() -> None:
    first, spare = pair()
    events: list[PoolEvent] = []
    async with watched(first, spare, events=events) as pool:
        events.clear()
        pool.trip("first", seconds=20.0)
        assert [type(event) for event in events] == [BreakerOpened]
        assert pool.snapshot().backends[0].breaker is BreakerState.OPEN
        assert await name_of_next(pool) == "spare"
        await anyio.sleep(15)  # questions are answered all the while, and prove nothing
        assert await name_of_next(pool, "later") == "spare"
        await anyio.sleep(6)
        assert await name_of_next(pool, "last") == "first"
        assert pool.snapshot().backends[0].breaker is BreakerState.CLOSED


async def test_a_tripped_backend_keeps_the_streams_it_has() -> None:
    async with watched(*pair()) as pool, pool.lease("s", CONFIG, on_wait=no_wait) as lease:
        pool.trip("first")
        await anyio.sleep(5)
        assert lease.backend.name == "first"
        assert pool.snapshot().backends[0].streams == 1


async def test_a_breaker_is_closed_by_hand_whatever_opened_it() -> None:
    async with watched(*pair()) as pool:
        pool.trip("first", seconds=600.0)
        pool.mend("first")
        await settle()
        assert pool.snapshot().backends[0].breaker is BreakerState.CLOSED
        assert await name_of_next(pool) == "first"
        pool.mend("first")  # it is closed: nothing happens
        assert pool.snapshot().backends[0].breaker is BreakerState.CLOSED


async def test_nobody_can_trip_what_is_not_there() -> None:
    async with watched(*pair()) as pool:
        for order in (pool.trip, pool.mend):
            with pytest.raises(KeyError):
                order("nobody")


async def test_it_is_known_when_a_backend_is_asked_next() -> None:
    async with watched(*pair()) as pool:
        due = pool.snapshot().backends[0].probe_seconds
        assert due is not None
        assert 3.9 <= due <= 6.1
        pool.drain("first")
        assert pool.snapshot().backends[0].probe_seconds is None
