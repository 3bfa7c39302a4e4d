"""When whoever was refused may come back."""

from __future__ import annotations

import random as random_numbers
from collections.abc import Callable

LEAST = 2.0  # seconds; sooner, nothing has changed
LONGEST = 60.0  # … and later nobody waits for it
PER_SECOND = 25.0  # refused ones that are sent to the same second; each costs a handshake, some 2 ms


class ReturnTimes:
    """A queue in which nobody stands: each who is refused is given a time behind those refused before.

    So however many are refused at once, they do not come back at once; the longer that queue, the longer each waits.

    Args:
        random: numbers from 0 to 1.
    """

    def __init__(self, random: Callable[[], float] = random_numbers.random) -> None:
        self._random = random
        self._last = 0.0  # for when the last one was told to come

    def next(self, now: float) -> float:
        """Seconds that one who is refused now is to stay away: from 0.75 `LEAST` to `LONGEST`."""
        self._last = min(max(self._last, now + LEAST) + 1 / PER_SECOND, now + LONGEST)
        return (self._last - now) * (0.75 + self._random() / 4)

    def ahead(self, now: float) -> float:
        """Seconds that the queue is long."""
        return max(0.0, self._last - now - LEAST)
