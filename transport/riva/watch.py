"""Looks after all streams of one endpoint, on a clock that stands still while our own event loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK = 0.1  # seconds between two looks: a stall is noticed at most two of them late
MOST = 3 * TICK  # what one tick counts for, however late it came


class Watch:
    """Calls everyone who asked for it at every tick, and counts the ticks as time.

    While the loop is blocked, answers arrive that nobody reads; so that time must not be held against a backend. After
    a late tick there is one more before the time that it added is looked at: whatever has arrived is read by then.

    To be used from one event loop. It ticks while somebody looks.

    Attributes:
        now: seconds.
        steady: streams of this endpoint have been seen to answer silence, so that new ones are expected to.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.steady = False
        self._looks: dict[Callable[[], None], None] = {}
        self._ticked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, look: Callable[[], None]) -> None:
        """Call `look` at every tick."""
        self._looks[look] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._ticked_at = loop.time()
            self._timer = loop.call_later(TICK, self._tick, loop)

    def remove(self, look: Callable[[], None]) -> None:
        """Call it no more. No effect if it is not called."""
        self._looks.pop(look, None)
        if not self._looks and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(TICK, self._tick, loop)
        for look in list(self._looks):
            look()
        passed = loop.time() - self._ticked_at
        self._ticked_at += passed
        self.now += min(passed, MOST)
