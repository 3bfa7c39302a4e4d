"""The watchdog sees real threads stand still in real time, so these few tests take some."""

from __future__ import annotations

import threading
import time

import anyio
import anyio.lowlevel
import pytest

from supervisor.reports import Event, LoopBlocked, LoopRecovered
from supervisor.spec import Child
from supervisor.testing import Recorder
from supervisor.tree import Supervisor
from supervisor.watchdog import Watchdog

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def block_the_loop(told: threading.Event) -> None:
    told.wait(10.0)  # returns when the watchdog has seen it: a defect shows as a missing event, not as a hang
    time.sleep(0.15)  # some periods more


@BACKENDS
def test_a_blocked_loop_is_told_while_it_stands_and_again_when_it_goes_on(backend: str) -> None:
    told, live, record = threading.Event(), list[tuple[LoopBlocked, int]](), Recorder()
    recovered: anyio.Event

    def on_blocked(event: LoopBlocked) -> None:
        if "block_the_loop" in event.stack:  # a busy machine may hold the loop up elsewhere, too
            live.append((event, threading.get_ident()))
            told.set()

    def listen(event: Event) -> None:
        record(event)
        if isinstance(event, LoopRecovered) and live:
            recovered.set()

    async def main() -> None:
        nonlocal recovered
        recovered = anyio.Event()
        watchdog = Watchdog(0.05, on_blocked=on_blocked)
        async with Supervisor([Child("watchdog", watchdog.run)], on_event=listen):
            await anyio.sleep(0.02)
            block_the_loop(told)
            await recovered.wait()

    anyio.run(main, backend=backend)
    [(blocked, thread)] = live
    assert any(event is blocked for event in record.of(LoopBlocked))
    assert thread != threading.get_ident()
    assert (blocked.path, blocked.seconds >= 0.05) == (("root", "watchdog"), True)
    assert record.of(LoopRecovered)[-1].seconds >= blocked.seconds
    assert [thread.name for thread in threading.enumerate() if thread.name == "root/watchdog"] == []


@BACKENDS
def test_a_loop_that_only_waits_is_not_blocked(backend: str) -> None:
    record = Recorder()

    async def main() -> None:
        async with Supervisor([Child("watchdog", Watchdog(2.0).run)], on_event=record):
            assert "root/watchdog" in [thread.name for thread in threading.enumerate()]
            await anyio.sleep(0.05)

    anyio.run(main, backend=backend)
    assert record.of(LoopBlocked) == []


def test_a_callback_that_fails_is_logged_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    told, record = threading.Event(), Recorder()

    def broken(event: LoopBlocked) -> None:
        told.set()
        raise RuntimeError

    async def main() -> None:
        async with Supervisor([Child("watchdog", Watchdog(0.05, on_blocked=broken).run)], on_event=record):
            for _ in range(2):
                told.clear()
                block_the_loop(told)
                await anyio.sleep(0.03)

    anyio.run(main)
    assert len(record.of(LoopBlocked)) >= 2
    assert {r.getMessage() for r in caplog.records} == {"on_blocked of root/watchdog failed"}


def sleep_until_logged(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(200):  # one round is enough, if the thread gets its turn
        if not caplog.records:
            time.sleep(0.06)


def test_by_default_a_block_is_logged_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Supervisor([Child("watchdog", Watchdog(0.05).run)]):
            sleep_until_logged(caplog)

    anyio.run(main)
    assert "event loop has stood still" in caplog.records[0].getMessage()
    assert "time.sleep(0.06)" in caplog.records[0].getMessage()


def test_a_watchdog_needs_a_time() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Watchdog(0.0)
