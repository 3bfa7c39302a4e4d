"""The pool: tiers, room, rest after a failure."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import anyio
import pytest

from actors.speech.errors import ModelNotFound, QuotaExceeded, StreamLost
from actors.speech.pool import REST_QUOTA, BackendPool
from actors.speech.ports import RecognitionBackend, Tier
from tests.speech.fakes import FakeBackend


def no_wait() -> None:
    raise AssertionError("a backend should have been free")


async def leased(pool: BackendPool, stack: AsyncExitStack) -> RecognitionBackend:
    return (await stack.enter_async_context(pool.lease(on_wait=no_wait))).backend


async def test_the_best_tier_with_room_is_lent_and_the_least_loaded_in_it() -> None:
    first, second = FakeBackend("first", room=2), FakeBackend("second", room=2)
    spare = FakeBackend("spare", tier=Tier.FALLBACK)
    pool = BackendPool([spare, first, second])
    async with AsyncExitStack() as stack:
        lent = [await leased(pool, stack) for _ in range(5)]
    assert lent == [first, second, first, second, spare]
    assert (pool.capacity, pool.degraded(spare), pool.degraded(first)) == (104, True, False)


async def test_who_finds_no_room_waits_and_says_so_once() -> None:
    backend = FakeBackend(room=1)
    pool = BackendPool([backend])
    told: list[str] = []
    got: list[float] = []

    async def second() -> None:
        async with pool.lease(on_wait=lambda: told.append("waiting")):
            got.append(anyio.current_time())

    async with anyio.create_task_group() as tasks, pool.lease(on_wait=no_wait):
        began = anyio.current_time()
        tasks.start_soon(second)
        await anyio.sleep(7)
        assert (told, got) == (["waiting"], [])
    assert (told, got) == (["waiting"], [began + 7])


async def test_a_backend_that_failed_rests_and_the_next_one_takes_over() -> None:
    first, spare = FakeBackend("first"), FakeBackend("spare", tier=Tier.FALLBACK)
    pool = BackendPool([first, spare])
    with pytest.raises(StreamLost):
        async with pool.lease(on_wait=no_wait):
            raise StreamLost()
    async with pool.lease(on_wait=no_wait) as lease:
        assert lease.backend is spare
    await anyio.sleep(0.1)
    async with pool.lease(on_wait=no_wait) as lease:
        assert lease.backend is first


async def rest_after(pool: BackendPool, *errors: Exception) -> float:
    for error in errors:
        with pytest.raises(type(error)):
            async with pool.lease(on_wait=lambda: None):
                raise error
    began = anyio.current_time()
    async with pool.lease(on_wait=lambda: None):
        return anyio.current_time() - began


async def test_rest_doubles_with_each_failure_in_a_row_up_to_a_bound() -> None:
    rests = [await rest_after(BackendPool([FakeBackend()]), *[StreamLost()] * times) for times in (1, 2, 3, 12)]
    assert rests == pytest.approx([0.1, 0.2, 0.4, 5.0])


async def test_many_streams_that_fail_together_count_as_one_failure() -> None:
    pool = BackendPool([FakeBackend()])

    async def fail() -> None:
        with suppress(StreamLost):
            async with pool.lease(on_wait=no_wait):
                await anyio.sleep(1)
                raise StreamLost()

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(fail)
    assert await rest_after(pool) == pytest.approx(0.1)


async def test_a_quota_is_left_alone_for_as_long_as_its_server_says() -> None:
    assert await rest_after(BackendPool([FakeBackend()]), QuotaExceeded()) == pytest.approx(REST_QUOTA)
    hinted = QuotaExceeded(retry_after=1.5)
    assert await rest_after(BackendPool([FakeBackend()]), hinted) == pytest.approx(1.5)


async def test_an_error_of_the_request_is_not_held_against_the_backend() -> None:
    assert await rest_after(BackendPool([FakeBackend()]), ModelNotFound()) == 0


async def test_a_backend_that_is_seen_to_work_again_is_lent_at_once() -> None:
    pool = BackendPool([FakeBackend("a")])
    with pytest.raises(QuotaExceeded):
        async with pool.lease(on_wait=no_wait):
            raise QuotaExceeded(retry_after=60)
    began = anyio.current_time()

    async def work_again() -> None:
        await anyio.sleep(2)
        pool.back("a")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work_again)
        async with pool.lease(on_wait=lambda: None):
            assert anyio.current_time() == began + 2


async def test_a_backend_that_is_known_to_be_down_is_not_lent_until_it_is_back() -> None:
    first, spare = FakeBackend("first"), FakeBackend("spare", tier=Tier.FALLBACK)
    pool = BackendPool([first, spare])
    pool.down("first")
    await anyio.sleep(3600)
    async with pool.lease(on_wait=no_wait) as lease:
        assert lease.backend is spare
    pool.back("first")
    async with pool.lease(on_wait=no_wait) as lease:
        assert lease.backend is first


def test_a_pool_without_backends_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one backend"):
        BackendPool([])
