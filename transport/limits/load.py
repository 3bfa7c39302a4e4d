"""How late the event loop is, and whether it is too late to take anybody in."""

from __future__ import annotations

import math

import anyio
from anyio.abc import TaskStatus

PAUSE = 0.05  # seconds between two looks
MEMORY = 1.0  # seconds in which a lateness that has passed loses two thirds of its weight
CALM = 0.5  # of the limit, below which it is over: with one threshold the door would flap


class LoopLoad:
    """How late what is due is run, averaged over the last second or so; `run` measures it.

    One pause, such as a collection of garbage, is not load: what a single look can add is bounded.

    Attributes:
        limit: seconds of lateness from which nobody new is let in; None: never mind.
        level: seconds.
        is_over: the limit was passed, and the lateness has not come down to half of it since.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self.level = 0.0
        self.is_over = False

    def look(self, lag: float, seconds: float) -> None:
        """What was due ran `lag` late; the look before this one was so many seconds ago."""
        if self.limit is None:
            self.level += (lag - self.level) * (1 - math.exp(-seconds / MEMORY))
            self.is_over = False
            return
        seen = min(lag, 4 * self.limit)
        self.level += (seen - self.level) * (1 - math.exp(-min(seconds, 4 * PAUSE) / MEMORY))
        self.is_over = self.level > self.limit * (CALM if self.is_over else 1.0)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """A supervised child."""
        task_status.started()
        last = anyio.current_time()
        while True:
            due = last + PAUSE
            await anyio.sleep_until(due)
            now = anyio.current_time()
            self.look(now - due, now - last)
            last = now
