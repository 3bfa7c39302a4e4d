"""All deadlines of a tree in one task: a timer costs a heap entry, not a task and a cancel scope."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import anyio

from supervisor.loops import Waiter, waiters

LITTER = 64  # cancelled timers that are left in the heap before it is worth clearing; asyncio's loop leaves 100


class Timer:
    """A call to come. `cancel` it when it is no longer wanted.

    Attributes:
        when: its time, on anyio's clock.
    """

    __slots__ = ("_timers", "callback", "on_orphaned", "when")

    def __init__(
        self, timers: Timers, when: float, callback: Callable[[], None], on_orphaned: Callable[[], None] | None
    ) -> None:
        self._timers = timers
        self.when = when
        self.callback: Callable[[], None] | None = callback
        self.on_orphaned = on_orphaned

    def cancel(self) -> None:
        """Do not call. No effect afterwards."""
        if self.callback is not None:
            self.callback = self.on_orphaned = None
            self._timers.litter()


class Timers:
    """Calls functions at their time, on anyio's clock, while `run` runs. What they raise ends the tree.

    Attributes:
        stopped: whether there will be no more calls.
        now: the clock.
    """

    def __init__(self, now: Callable[[], float] = anyio.current_time) -> None:
        self.stopped = False
        self.now = now
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._sleep: Waiter | None = None
        self._cancelled = 0  # of those in the heap
        self._wakes_at = float("inf")

    def after(
        self, seconds: float, callback: Callable[[], None], on_orphaned: Callable[[], None] | None = None
    ) -> Timer:
        """Call `callback` in `seconds`; or `on_orphaned`, if the tree ends before that and this is not cancelled."""
        timer = Timer(self, self.now() + seconds, callback, on_orphaned)
        heapq.heappush(self._heap, (timer.when, next(self._order), timer))
        if timer.when < self._wakes_at:
            self._wake()
        return timer

    def stop(self) -> None:
        """End, and say so to those who still wait for their time."""
        self.stopped = True
        self._wake()
        orphans, self._heap = self._heap, []
        for _, _, timer in orphans:
            if timer.on_orphaned is not None:
                timer.on_orphaned()

    def litter(self) -> None:
        """A timer was cancelled. Once most are, the heap is cleared of them: it grows with those that count."""
        self._cancelled += 1
        if self._cancelled > max(LITTER, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        new_waiter, new_scope = waiters(), type(anyio.CancelScope())  # each knows its loop: many timers come due
        while not self.stopped:
            sleep = self._sleep = new_waiter()
            self._wakes_at = self._call_due()
            with new_scope(deadline=self._wakes_at):
                await sleep

    def _wake(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    def _call_due(self) -> float:
        """Call what is due; when the next one is."""
        while self._heap:
            when, _, timer = self._heap[0]
            callback = timer.callback
            if callback is not None and when > self.now():
                return when
            heapq.heappop(self._heap)
            if callback is None:
                self._cancelled -= 1
            else:
                timer.callback = timer.on_orphaned = None
                callback()
        return float("inf")
