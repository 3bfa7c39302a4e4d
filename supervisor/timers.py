"""All deadlines of a tree in one task: a timer costs a heap entry, not a task and a cancel scope."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import anyio


class Timer:
    """A call to come. `cancel` it when it is no longer wanted."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None  # its place in the heap goes when its time comes


class Timers:
    """Calls functions at their time, on anyio's clock, while `run` runs."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._changed = anyio.Event()
        self._stopped = False

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(anyio.current_time() + seconds, callback)
        heapq.heappush(self._heap, (timer.when, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._changed.set()
        return timer

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()

    async def run(self) -> None:
        while not self._stopped:
            self._changed = anyio.Event()
            with anyio.CancelScope(deadline=self._call_due()):
                await self._changed.wait()

    def _call_due(self) -> float:
        """Call what is due; when the next one is."""
        while self._heap:
            when, _, timer = self._heap[0]
            if timer.callback is not None and when > anyio.current_time():
                return when
            heapq.heappop(self._heap)
            if timer.callback is not None:
                timer.callback()
        return float("inf")
