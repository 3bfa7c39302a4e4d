"""How fast a client sends, against the clock: live speech, or a recording."""

from __future__ import annotations

AHEAD_SECONDS = 10.0  # further ahead of real time than this, a client has its audio lying somewhere
CREDIT_SECONDS = 60.0  # … which is not what one does that only makes up for a break of its connection
CLOCK_TOLERANCE = 1.05  # a sound card's clock may run faster than ours; so little faster does not count


class Pace:
    """Tells a client that sends faster than real time, and so can wait, from one that speaks, and cannot.

    Attributes:
        lead: seconds of audio by which the client is ahead of the clock.
    """

    def __init__(self) -> None:
        self.lead = 0.0
        self._at: float | None = None

    @property
    def ahead(self) -> bool:
        """Whether the client can wait."""
        return self.lead > AHEAD_SECONDS

    def sent(self, seconds: float, now: float) -> None:
        """The client sent so much audio at the time `now` (seconds of any steady clock)."""
        if self._at is not None:
            self.lead = max(self.lead - (now - self._at) * CLOCK_TOLERANCE, -CREDIT_SECONDS)
        self.lead += seconds
        self._at = now

    def waited(self, now: float) -> None:
        """The client was made to wait until `now`: that time is not held in its favour."""
        self._at = now
