"""Virtual time for tests on both backends, and a recorder of supervision events.

In virtual time nothing waits: when every task is blocked, the clock jumps to the next deadline.
`anyio.sleep(3600)` returns at once, and `anyio.current_time()` shows exactly the hour that passed. Use it
as pytest's `anyio_backend`:

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return virtual_backend(request.param)

This is the one module of the package that knows the backends by name. It is opt-in: no other module
imports it.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, TypeVar, cast

from supervisor.reports import Event

__all__ = ["AutojumpLoop", "Recorder", "settle", "virtual_backend"]
E = TypeVar("E", bound=Event)


class Recorder:
    """An `on_event` that keeps what it hears, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def names(self) -> list[str]:
        """Each event as its kind and its path, such as `ChildStarted root/a`: easy to compare as a whole."""
        return [f"{type(event).__name__} {'/'.join(event.path)}" for event in self.events]


class AutojumpLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop whose clock starts at 0.0 and jumps to the next timer when nothing else can run.

    Real I/O still works: what is ready is served before the clock moves. A thread at work does not hold
    the clock, so tests that wait for threads with a timeout belong in real time.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._idle_waiters: list[asyncio.Future[None]] = []
        super().__init__(_IdleSelector(self))

    def time(self) -> float:
        return self._now

    async def idle(self) -> None:
        """Wait until every other task is blocked; no time passes."""
        waiter = self.create_future()
        self._idle_waiters.append(waiter)
        await waiter

    def on_idle(self) -> bool:
        """Called when only a timer could go on: wake who waits for that, or jump. False if there is no
        timer."""
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if waiters:
            return True
        # asyncio keeps its timers in this heap and offers no public view of the earliest one. Its own
        # deadline is used, not the selector's timeout: a sum of floats could fall short of it and never
        # reach it.
        timers = cast("list[asyncio.TimerHandle]", getattr(self, "_scheduled"))  # noqa: B009
        if not timers:
            return False
        self._now = max(self._now, timers[0].when())
        return True


class _IdleSelector(selectors.DefaultSelector):
    """Asks the loop what to do where a selector would block."""

    def __init__(self, loop: AutojumpLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0 or self._loop.on_idle():
            return ready
        return super().select(timeout)


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """Backend and options in virtual time, as anyio's pytest plugin and `anyio.run` take them.

    Args:
        name: `asyncio` or `trio` (which must be installed).
    """
    if name == "asyncio":
        return name, {"loop_factory": AutojumpLoop}
    from trio.testing import MockClock

    return name, {"clock": MockClock(autojump_threshold=0)}


async def settle() -> None:
    """Wait until every other task is blocked. No virtual time passes."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        from trio.testing import wait_all_tasks_blocked

        await wait_all_tasks_blocked()
        return
    if not isinstance(loop, AutojumpLoop):
        raise RuntimeError("settle() needs virtual time: run under virtual_backend(...)")
    await loop.idle()
