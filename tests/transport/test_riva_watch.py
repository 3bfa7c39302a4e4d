"""The clock that stalls are judged by: it passes while the loop runs, and stands still while it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from supervisor.testing import AutojumpLoop, virtual_backend
from transport.riva.watch import MOST, TICK, Watch

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_backend("asyncio")


def block(seconds: float) -> None:
    """What a handler that computes for so long does to the loop, in virtual time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, AutojumpLoop)
    loop._now += seconds


async def test_time_passes_while_somebody_looks() -> None:
    watch, times = Watch(), list[float]()

    def look() -> None:
        times.append(watch.now)

    watch.add(look)
    await asyncio.sleep(10 * TICK + 0.01)
    watch.remove(look)
    assert times == pytest.approx([TICK * n for n in range(10)])
    await asyncio.sleep(3600)
    assert len(times) == 10
    watch.add(look)
    await asyncio.sleep(TICK + 0.01)
    assert watch.now == pytest.approx(11 * TICK)
    watch.remove(look)


async def test_time_in_which_the_loop_is_blocked_does_not_pass() -> None:
    watch = Watch()

    def look() -> None:
        pass

    watch.add(look)
    await asyncio.sleep(5 * TICK + 0.01)
    before = watch.now
    block(2.0)
    await asyncio.sleep(TICK)
    assert watch.now - before == pytest.approx(MOST + TICK)
    watch.remove(look)


async def test_what_arrived_while_the_loop_was_blocked_is_read_before_the_time_is_looked_at() -> None:
    watch, happened = Watch(), list[str]()

    def look() -> None:
        happened.append(f"looked at {watch.now / TICK:.0f}")

    watch.add(look)
    await asyncio.sleep(TICK + 0.01)
    asyncio.get_running_loop().call_soon(happened.append, "blocked, and read what came")
    block(2.0)
    await asyncio.sleep(2 * TICK)
    watch.remove(look)
    assert happened[:3] == ["looked at 0", "blocked, and read what came", "looked at 1"]
    assert happened[3] == f"looked at {1 + MOST / TICK:.0f}"


async def test_who_stops_looking_while_others_are_called_is_not_called() -> None:
    watch = Watch()

    def first() -> None:
        watch.remove(first)

    watch.add(first)
    await asyncio.sleep(1.0)
    assert watch.now == pytest.approx(TICK)  # it stood still once nobody looked
