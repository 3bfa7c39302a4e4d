"""The sliding window that restarts are counted in."""

from __future__ import annotations

from supervisor.spec import Intensity


class Window:
    """Counts restarts, and says when there were too many."""

    __slots__ = ("_intensity", "_times")

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._times: list[float] = []  # few, and most often none: an empty deque takes 0.7 KiB

    def allow(self, now: float) -> bool:
        """Count a restart; false once more than `restarts` lie within `seconds`, the edge included."""
        times = self._times
        times.append(now)
        oldest = now - self._intensity.seconds
        while times[0] < oldest:
            del times[0]
        return len(times) <= self._intensity.restarts

    def count(self, now: float) -> int:
        """How many restarts lie in the window that ends now."""
        oldest = now - self._intensity.seconds
        return sum(time >= oldest for time in self._times)
