"""Who decodes next. Threads are held by events, never by time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from transport.embedded.scheduler import Priority, Scheduler

pytestmark = pytest.mark.anyio


class Gate:
    """Work that occupies a thread until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.entered = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self._open.wait(10)
        return "passed"

    def open(self) -> None:
        self._open.set()

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 10)


def noting(log: list[str], name: str) -> Callable[[], str]:
    def work() -> str:
        log.append(name)
        return name

    return work


async def test_the_most_urgent_job_goes_first_and_equals_in_the_order_they_came() -> None:
    log: list[str] = []
    async with Scheduler(1) as scheduler:
        gate = Gate()
        held = scheduler.submit(gate, Priority.FINAL)
        await gate.reached()
        jobs = [
            scheduler.submit(noting(log, f"{priority.name} {n}"), priority)
            for n in (1, 2)
            for priority in reversed(Priority)
        ]
        gate.open()
        results = [await job for job in [held, *jobs]]
    assert log == [f"{priority.name} {n}" for priority in Priority for n in (1, 2)]
    assert sorted(map(str, results)) == sorted(["passed", *log])


async def test_a_promoted_job_overtakes_and_runs_once() -> None:
    log: list[str] = []
    async with Scheduler(1) as scheduler:
        gate = Gate()
        scheduler.submit(gate, Priority.FINAL)
        await gate.reached()
        first = scheduler.submit(noting(log, "offline"), Priority.OFFLINE)
        early = scheduler.submit(noting(log, "early"), Priority.EARLY_END)
        final = scheduler.submit(noting(log, "final"), Priority.FINAL)
        scheduler.promote(first, Priority.FINAL)
        gate.open()
        assert [await job for job in (first, early, final)] == ["offline", "early", "final"]
    assert log == ["final", "offline", "early"]


async def test_a_dropped_job_never_runs_and_its_result_is_none() -> None:
    log: list[str] = []
    async with Scheduler(1) as scheduler:
        gate = Gate()
        scheduler.submit(gate, Priority.FINAL)
        await gate.reached()
        dropped = scheduler.submit(noting(log, "dropped"), Priority.INTERIM)
        scheduler.drop(dropped)
        gate.open()
        assert await dropped is None
        assert await scheduler.submit(noting(log, "last"), Priority.INTERIM) == "last"
    assert log == ["last"]


async def test_an_interim_that_waits_too_long_is_dropped_but_a_final_never_is() -> None:
    log: list[str] = []
    async with Scheduler(1) as scheduler:
        gate = Gate()
        scheduler.submit(gate, Priority.FINAL)
        await gate.reached()
        interim = scheduler.submit(noting(log, "interim"), Priority.INTERIM, max_wait=0.0)
        final = scheduler.submit(noting(log, "final"), Priority.FINAL)
        assert await interim is None
        gate.open()
        assert await final == "final"
    assert log == ["final"]


async def test_interims_leave_a_thread_to_the_finals() -> None:
    async with Scheduler(2) as scheduler:
        first, second = Gate(), Gate()
        running = scheduler.submit(first, Priority.FIRST_INTERIM)
        await first.reached()
        waiting = scheduler.submit(second, Priority.INTERIM)
        assert await scheduler.submit(lambda: "final", Priority.FINAL) == "final"
        assert not second.entered.is_set()
        first.open()
        second.open()
        assert (await running, await waiting) == ("passed", "passed")


async def test_one_thread_alone_takes_interims_too() -> None:
    async with Scheduler(1) as scheduler:
        assert await scheduler.submit(lambda: "interim", Priority.INTERIM) == "interim"


async def test_a_crash_is_raised_where_the_job_is_awaited_and_the_thread_lives_on() -> None:
    def crash() -> str:
        raise ZeroDivisionError("model")

    async with Scheduler(1) as scheduler:
        with pytest.raises(ZeroDivisionError, match="model"):
            await scheduler.submit(crash, Priority.FINAL)
        assert await scheduler.submit(lambda: "next", Priority.FINAL) == "next"


async def test_leaving_waits_for_the_job_in_hand() -> None:
    gate = Gate()
    async with Scheduler(1) as scheduler:
        job = scheduler.submit(gate, Priority.FINAL)
        await gate.reached()
        asyncio.get_running_loop().call_soon(gate.open)
    assert await job == "passed"
