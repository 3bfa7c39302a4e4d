"""The one task that calls many functions at their time."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from supervisor.testing import settle
from supervisor.timers import LITTER, Timer, Timers

pytestmark = pytest.mark.anyio


async def test_each_call_comes_at_its_own_time_whatever_the_order_they_were_asked_in() -> None:
    timers, calls = Timers(), list[tuple[str, float]]()
    began = anyio.current_time()

    def note(name: str) -> None:
        calls.append((name, round(anyio.current_time() - began, 6)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(timers.run)
        await settle()
        for name, seconds in (("late", 5.0), ("early", 1.0), ("middle", 3.0)):
            timers.after(seconds, partial(note, name))
        await anyio.sleep(10)
        timers.stop()
    assert calls == [("early", 1.0), ("middle", 3.0), ("late", 5.0)]


async def test_a_call_may_ask_for_the_next_one() -> None:
    timers, calls = Timers(), list[float]()
    began = anyio.current_time()

    def again() -> None:
        calls.append(round(anyio.current_time() - began, 6))
        if len(calls) < 3:
            timers.after(2.0, again)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(timers.run)
        timers.after(2.0, again)
        await anyio.sleep(10)
        timers.stop()
    assert calls == [2.0, 4.0, 6.0]


async def test_cancelled_timers_are_not_called_and_do_not_pile_up() -> None:
    timers, calls = Timers(), list[str]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(timers.run)
        kept = timers.after(4.0, lambda: calls.append("kept"))
        for _ in range(100 * LITTER):
            timers.after(3600.0, lambda: calls.append("cancelled")).cancel()
        held = len(timers._heap)
        await anyio.sleep(7200)
        kept.cancel()
        timers.stop()
    assert calls == ["kept"]
    assert held <= LITTER + 2


async def test_those_whose_time_never_comes_are_told_so_once() -> None:
    timers, calls = Timers(), list[str]()

    def timer(name: str, seconds: float) -> Timer:
        return timers.after(seconds, lambda: calls.append(f"{name} due"), lambda: calls.append(f"{name} orphaned"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(timers.run)
        timer("first", 1.0)
        timer("second", 60.0)
        timer("third", 60.0).cancel()
        timers.after(60.0, lambda: calls.append("silent due"))
        await anyio.sleep(2)
        timers.stop()
        timers.stop()
    assert (calls, timers.stopped) == (["first due", "second orphaned"], True)
