"""A token bucket."""

from __future__ import annotations


class Bucket:
    """Fills at a steady rate, holds so much at most, and begins full.

    `take` asks first; `spend` does not, and leaves a debt that `wait` says how long to sit out: for what has arrived
    already and can only be followed by a pause.

    Args:
        rate: what comes in, a second.
        burst: what it holds.
        now: seconds on the clock that all its methods are told the time of.
    """

    __slots__ = ("_at", "burst", "left", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self.left = burst
        self._at = now

    def take(self, now: float, amount: float = 1.0) -> float:
        """Take it, and return 0; or take nothing, and return the seconds after which it will be there."""
        self._fill(now)
        if self.left >= amount:
            self.left -= amount
            return 0.0
        return (amount - self.left) / self.rate

    def spend(self, amount: float) -> bool:
        """Take it whether it is there or not. False: not as far as is known; `wait` looks at the clock."""
        self.left -= amount
        return self.left >= 0

    def wait(self, now: float) -> float:
        """Seconds until what was spent is covered."""
        self._fill(now)
        return max(0.0, -self.left / self.rate)

    def is_full(self, now: float) -> bool:
        """Whether it is as if it had just been made."""
        self._fill(now)
        return self.left >= self.burst

    def _fill(self, now: float) -> None:
        if now > self._at:
            self.left = min(self.burst, self.left + (now - self._at) * self.rate)
            self._at = now
