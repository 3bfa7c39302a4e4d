"""Whether a worker still lives. Pure: its signs of life and the parent's looks in, a verdict out."""

from __future__ import annotations

BEAT_SECONDS = 0.5  # between two signs of life
# Looks without one after which a worker counts as wedged: 2.5 s. A loop that stood still for two seconds, as for a
# collection of garbage, is none yet; and three seconds are what a client would wait at a wedged one's closed doors.
MISSES = 5


class Pulse:
    """Counts the looks since the last sign of life, not the time: if the parent itself stood still there were none."""

    def __init__(self) -> None:
        self.missed = 0

    def beat(self) -> None:
        """A sign of life."""
        self.missed = 0

    def look(self) -> bool:
        """Look, once in `BEAT_SECONDS`; True: it is wedged."""
        self.missed += 1
        return self.missed > MISSES
