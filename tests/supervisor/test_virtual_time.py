from __future__ import annotations

import anyio
import pytest

from supervisor.testing import settle

pytestmark = pytest.mark.anyio


async def test_a_sleep_takes_virtual_time_only_and_exactly_its_own() -> None:
    start = anyio.current_time()
    for _ in range(1000):
        await anyio.sleep(86.4)
    assert anyio.current_time() - start == pytest.approx(86400)


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    woken: list[tuple[float, float]] = []
    start = anyio.current_time()

    async def sleeper(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, round(anyio.current_time() - start, 9)))

    async with anyio.create_task_group() as group:
        for seconds in (0.3, 7200.0, 0.1, 0.2):
            group.start_soon(sleeper, seconds)
    assert woken == [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3), (7200.0, 7200.0)]


async def test_a_timeout_fires_in_virtual_time() -> None:
    with anyio.move_on_after(0.7) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_settling_waits_for_the_others_and_takes_no_time() -> None:
    done: list[str] = []

    async def work() -> None:
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        done.append("work")
        await anyio.sleep(0.001)
        done.append("later")

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        before = anyio.current_time()
        await settle()
        assert (done, anyio.current_time()) == (["work"], before)
    assert done == ["work", "later"]
