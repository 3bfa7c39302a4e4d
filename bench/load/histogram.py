"""How often each duration occurred, in steps of 2 %. Pure; what several processes have counted can be added up."""

from __future__ import annotations

import math

import msgspec

LEAST = 1e-5  # seconds; what is shorter counts as that
STEP = 1.02
_LOG_STEP = math.log(STEP)


class Histogram(msgspec.Struct):
    """Durations, each rounded up by at most 2 %.

    Attributes:
        counts: how many, by step: step n is all above `LEAST * STEP ** (n - 1)`, up to `LEAST * STEP ** n` seconds.
    """

    counts: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one."""
        step = max(0, math.ceil(math.log(seconds / LEAST) / _LOG_STEP)) if seconds > LEAST else 0
        self.counts[step] = self.counts.get(step, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Count all of the other's."""
        for step, count in other.counts.items():
            self.counts[step] = self.counts.get(step, 0) + count

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def within(self, seconds: float) -> int:
        """How many took no longer than that."""
        return sum(count for step, count in self.counts.items() if _seconds(step) <= seconds * (1 + 1e-9))

    def percentile(self, percent: float) -> float | None:
        """The shortest duration that is not exceeded by so many percent of them, in seconds; None: there are none."""
        left = max(1, math.ceil(percent / 100 * self.total))
        for step in sorted(self.counts):
            left -= self.counts[step]
            if left <= 0:
                return _seconds(step)
        return None


def _seconds(step: int) -> float:
    return float(LEAST * STEP**step)
