"""Whether something happens more often than usual. Pure: the time is an argument.

What is usual is learned: the rate is unknown, with a gamma distribution that makes itself surer bucket by bucket and
forgets what is hours ago. So what the next window holds has a negative binomial distribution, a Poisson one that knows
how little it knows. Of a server that has just started nothing is known, so for six windows nothing there is unusual.
Errors that come in clumps (a proxy drops twenty clients at once) vary more than chance would let them; by how much
is learned too, and they count as so many clumps.

A window is unusual if it holds what one usual window in a thousand million would, three times what is usual, and ten at
least: the first keeps chance out, the second the rhythm of the day, the third what is not worth a word.
"""

from __future__ import annotations

import math
from collections import deque

BUCKETS = 6  # of a window
# In 1.4 h the steepest rise of a day whose busiest hour has ten times the load of its quietest is by 1.7 times: well
# below RATIO. Shorter would learn a spike, longer would lag behind the day.
MEMORY = 3600.0 / math.log(2)  # seconds: half is forgotten in an hour
RATIO = 3.0
LEAST = 10  # times
# Each rate is asked anew with each error: some 10^7 times a week where there are many. That makes a false alarm by
# chance alone in a hundred weeks.
CHANCE = 1e-9
WARM_UP = 6  # windows; a busy server would else be alarmed by its usual errors after every start
PRIOR_TIMES = 0.5  # Jeffreys' prior for a Poisson rate
PRIOR_CLUMPS = 1.0  # times that count as come by chance before anything is known


class Rate:
    """How often one thing happens.

    What is unusual is learned too, but no faster than the limit: a rate that has really changed is usual after an
    hour or three, and a spike does not hide itself.

    Args:
        window: the seconds in which it is counted.
        since: since when it could have happened.
        now: the present.
    """

    def __init__(self, window: float, since: float, now: float) -> None:
        self.window = window
        self._ready_at = since + WARM_UP * window
        self._bucket_seconds = window / BUCKETS
        self._seconds = MEMORY * -math.expm1((since - now) / MEMORY)  # in which it has not happened
        self._times = 0.0
        self._squares = 0.0  # of the times in each bucket
        self._bucket = math.floor(now / self._bucket_seconds)
        self._counts = deque([0] * BUCKETS, BUCKETS)
        self._limit: int | None = None

    def add(self, now: float) -> bool:
        """It happens. Whether that is unusual."""
        self._advance(now)
        self._counts[-1] += 1
        return now >= self._ready_at and self._is_unusual()

    def lately(self, now: float) -> int:
        """How often in the last window."""
        self._advance(now)
        return sum(self._counts)

    def usual(self, now: float) -> float:
        """How often in a usual window."""
        self._advance(now)
        times, seconds = self._believed()
        return self.window * times / seconds

    def limit(self, now: float) -> int:
        """How often in a window is unusual."""
        self._advance(now)
        return self._found_limit()

    def forget(self, now: float) -> None:
        """The last window is explained: it shall neither count nor be learned."""
        self._advance(now)
        self._counts.extend([0] * BUCKETS)

    def _is_unusual(self) -> bool:
        count = sum(self._counts)
        return count >= LEAST and count >= self._found_limit()

    def _found_limit(self) -> int:
        if self._limit is None:
            times, seconds = self._believed()
            clump = self._clump()
            limit = max(LEAST, math.ceil(RATIO * self.window * times / seconds))
            while tail(limit / clump, times / clump, self.window / (seconds + self.window)) > CHANCE:
                limit += 1
            self._limit = limit
        return self._limit

    def _believed(self) -> tuple[float, float]:
        """So many times in so many seconds: a window without anything is believed in at first."""
        return PRIOR_TIMES + self._times, self.window + self._seconds

    def _clump(self) -> float:
        """How many come at once, as far as the counts of the buckets vary by more than chance."""
        if self._seconds == 0.0:
            return 1.0
        variance = self._squares - self._times**2 * self._bucket_seconds / self._seconds
        return max(1.0, (variance + PRIOR_CLUMPS) / (self._times + PRIOR_CLUMPS))

    def _advance(self, now: float) -> None:
        """Learn what has left the window."""
        passed = math.floor(now / self._bucket_seconds) - self._bucket
        if passed <= 0:
            return
        for _ in range(min(passed, BUCKETS)):
            times: float = self._counts[0]
            self._learn(min(times, self._found_limit() / BUCKETS) if self._is_unusual() else times, 1)
            self._counts.append(0)
        self._learn(0, passed - BUCKETS)
        self._bucket += passed

    def _learn(self, times: float, buckets: int) -> None:
        """So many buckets, the last of which had so many."""
        if buckets > 0:
            kept = math.exp(-self._bucket_seconds * buckets / MEMORY)
            self._times = self._times * kept + times
            self._squares = self._squares * kept + times**2
            self._seconds = self._seconds * kept + MEMORY * (1.0 - kept)
            self._limit = None


def tail(times: float, shape: float, odds: float) -> float:
    """The probability of so many or more by a negative binomial distribution, for numbers above its mean."""
    logarithm = math.lgamma(times + shape) - math.lgamma(shape) - math.lgamma(times + 1)
    term = math.exp(logarithm + shape * math.log1p(-odds) + times * math.log(odds))
    total = 0.0
    while term > 1e-9 * total:
        total += term
        term *= odds * (times + shape) / (times + 1)
        times += 1
    return total
