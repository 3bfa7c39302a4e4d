"""Whether audio comes faster than it was spoken."""

from __future__ import annotations

TOLERANCE = 1.5  # seconds: messages of up to a second, and some jitter, are still real time


class Pace:
    """Compares the audio received with the time it took."""

    def __init__(self) -> None:
        self._spoken_until = 0.0  # when a speaker at real-time pace would be through with what came so far

    def hear(self, seconds: float, now: float) -> None:
        self._spoken_until = max(self._spoken_until, now) + seconds

    def is_ahead(self, now: float) -> bool:
        """Whether this is a recording or a replay: somebody waits for its finals, nobody for its interims."""
        return self._spoken_until - now > TOLERANCE
