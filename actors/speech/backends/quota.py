"""A quota that several endpoints may share."""

from __future__ import annotations

from supervisor.breaker import Breaker, BreakerState
from supervisor.policy import Backoff
from supervisor.spec import Intensity

# Without a hint from the server. Quotas are counted in windows of seconds to minutes.
PAUSES = Backoff(initial=5.0, factor=2.0, maximum=60.0)
PROVEN_AFTER = 2.0  # seconds without a refusal, which would have come at once
PROBE_TIME = 10.0
SHORTEST = 0.1  # seconds; a server that says "at once" has just refused


class Quota:
    """Whether the quota of a key grants anything. Spent, it is left alone; then one stream at a time tries."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.spent_since: float | None = None
        self._breaker = Breaker(
            key,
            threshold=Intensity(0, 1.0),
            pause=PAUSES,
            proven_after=PROVEN_AFTER,
            probe_time=PROBE_TIME,
            calm=PAUSES.maximum,
            random=lambda: 0.0,  # the pause is a promise to the server, so never shorter than it says
        )
        self._trying: tuple[object, float] | None = None  # who, and since when

    @property
    def is_free(self) -> bool:
        """Nothing speaks against any number of streams."""
        return self._breaker.state is BreakerState.CLOSED

    def free_in(self, now: float) -> float:
        """Seconds until one more stream may be tried."""
        return self._breaker.free_in(now)

    def lend(self, who: object, now: float, *, proves: bool = True) -> None:
        """`who` asks for something, as `free_in` allows; `proves`: if that lasts, streams are granted again."""
        if not self.is_free:
            self._breaker.ask(who, now)
            self._trying = (who, now) if proves else None

    def spent(self, who: object, hint: float | None, now: float) -> float | None:
        """`who` was refused, and perhaps told for how long. The seconds of the pause, if that is news."""
        if hint is not None:
            hint = max(hint, SHORTEST)
        if self._breaker.state is BreakerState.OPEN:
            if hint is not None:
                self._breaker.trip(now, hint)
            return None
        if not self.is_free and not self._breaker.is_probe(who):
            return None
        self._trying = None
        self.spent_since = self.spent_since if self.spent_since is not None else now
        return self._breaker.trip(now, hint)

    def granted(self, who: object) -> bool:
        """`who` was answered. True if that frees the quota for all."""
        if not self._breaker.proven(who):
            return False
        self._trying = self.spent_since = None
        return True

    def released(self, who: object) -> None:
        """`who` is gone, and showed nothing."""
        if self._breaker.is_probe(who):
            self._breaker.release(who)
            self._trying = None

    def lasted(self, now: float) -> bool:
        """Whether the stream that tries has not been refused for long enough. If so, the quota is free for all."""
        if self._trying is None or now - self._trying[1] < PROVEN_AFTER:
            return False
        return self.granted(self._trying[0])
