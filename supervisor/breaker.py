"""A circuit breaker that many supervisors share: when what they all need is down, one asks for all."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from enum import Enum

from supervisor.errors import InvalidSpec
from supervisor.policy import Backoff
from supervisor.spec import Intensity
from supervisor.window import Window


class BreakerState(Enum):
    CLOSED = "closed"  # all may try
    OPEN = "open"  # nobody may
    HALF_OPEN = "half_open"  # one may, the probe


class Cause(Enum):
    """What moves a breaker."""

    TOO_MANY_FAILURES = "too many failures"
    PAUSE_OVER = "pause over"
    PROBE_FAILED = "probe failed"
    PROBE_PROVEN = "probe proven"


TRANSITIONS: Mapping[tuple[BreakerState, Cause], BreakerState] = {
    (BreakerState.CLOSED, Cause.TOO_MANY_FAILURES): BreakerState.OPEN,
    (BreakerState.OPEN, Cause.PAUSE_OVER): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, Cause.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, Cause.PROBE_PROVEN): BreakerState.CLOSED,
}


class Breaker:
    """Holds restarts back after too many failures, and lets one child at a time find out if all is well again.

    Name it in the policies of those who share it: `Policy(Directive.BACKOFF, breaker=breaker)`. Every end that
    such a policy is for counts as a failure; a restart that it leads to waits, in the state `restarting` and after
    the policy's own pause, until the breaker lets it try. First starts are not held back. All who share a breaker
    live in one event loop.

    It takes the time as an argument, waits for nothing and calls nobody: those held back ask again.

    Args:
        name: for events and metrics.
        threshold: it opens when a failure is more than `threshold.restarts` within `threshold.seconds`.
        pause: how long it stays open, longer after every failed probe: between half and all of `pause.bound(n)`,
            so that several processes do not probe in step.
        proven_after: seconds a probe must live, from its start on, for the breaker to close.
        probe_time: seconds after which a probe that has neither failed nor been proven no longer keeps others
            from trying.
        spread: those held back behind a probe ask again within this time, so that they come back one by one.
        calm: seconds from a proven probe's try on, after which its pauses begin with the shortest again; until then
            a breaker that closes and opens by turns stays open longer each time.
        random: numbers in [0, 1).
    """

    def __init__(
        self,
        name: str,
        *,
        threshold: Intensity = Intensity(4, 10.0),  # noqa: B008  (frozen)
        pause: Backoff = Backoff(initial=1.0, maximum=30.0),  # noqa: B008  (frozen)
        proven_after: float = 2.0,
        probe_time: float = 30.0,
        spread: float = 2.0,
        calm: float = 0.0,
        random: Callable[[], float] = random.random,
    ) -> None:
        if not (0 <= proven_after <= probe_time and spread > 0 and calm >= 0):
            raise InvalidSpec(
                "invalid_breaker", f"breaker {name!r}: 0 <= proven_after <= probe_time, 0 < spread, and 0 <= calm"
            )
        self.name = name
        self.state = BreakerState.CLOSED
        self.proven_after = proven_after
        self._threshold = threshold
        self._pause = pause
        self._probe_time = probe_time
        self._spread = spread
        self._calm = calm
        self._random = random
        self._failures = Window(threshold)
        self._pauses = 0  # since it was last closed for long enough
        self._open_until = 0.0
        self._probe: object = None
        self._probe_until = 0.0
        self._calm_at = 0.0

    def ask(self, who: object, now: float) -> float:
        """0.0 if `who` may try at `now`; else the seconds after which to ask again."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is BreakerState.OPEN:
            if now < self._open_until:
                return self._open_until - now
            self._move(Cause.PAUSE_OVER)
        if self._probe is not None and self._probe != who and now < self._probe_until:
            return self._spread * (1.0 - self._random())
        self._probe = who
        self._probe_until = now + self._probe_time
        self._calm_at = now + self._calm
        return 0.0

    def free_in(self, now: float) -> float:
        """Seconds until somebody new may try: 0.0 if now. Unlike `ask` it makes nobody the probe."""
        match self.state:
            case BreakerState.CLOSED:
                return 0.0
            case BreakerState.OPEN:
                return max(0.0, self._open_until - now)
            case BreakerState.HALF_OPEN:
                return 0.0 if self._probe is None else max(0.0, self._probe_until - now)

    def is_probe(self, who: object) -> bool:
        return self._probe == who

    def failed(self, who: object, now: float) -> float | None:
        """Count a failure of `who`. The seconds of the pause, if it opened the breaker."""
        if self.state is BreakerState.CLOSED:
            return None if self._failures.allow(now) else self._open(Cause.TOO_MANY_FAILURES, now)
        if self._probe == who:
            return self._open(Cause.PROBE_FAILED, now)
        return None  # one that was up when the trouble began: it tells nothing new

    def trip(self, now: float, seconds: float | None = None) -> float:
        """Open it, or keep it open, whatever was counted, for so many seconds or the usual pause; the seconds left."""
        if self.state is BreakerState.OPEN:
            self._open_until = max(self._open_until, now + (seconds or 0.0))
            return self._open_until - now
        cause = Cause.TOO_MANY_FAILURES if self.state is BreakerState.CLOSED else Cause.PROBE_FAILED
        return self._open(cause, now, seconds)

    def hurry(self, now: float) -> None:
        """What is waited for seems to be there again: if it is open, its pause is over."""
        self._open_until = min(self._open_until, now)

    def proven(self, who: object) -> bool:
        """`who` has lived long enough. True if it was the probe, and the breaker is closed now."""
        if self._probe != who:
            return False
        self._move(Cause.PROBE_PROVEN)
        self._failures = Window(self._threshold)
        self._probe = None
        return True

    def release(self, who: object) -> None:
        """`who` will tell nothing: it was stopped, or ended for another reason. If it was the probe, the next is."""
        if self._probe == who:
            self._probe = None

    def _open(self, cause: Cause, now: float, seconds: float | None = None) -> float:
        self._move(cause)
        if cause is Cause.TOO_MANY_FAILURES and now >= self._calm_at:
            self._pauses = 0
        if seconds is None:
            seconds = self._pause.bound(self._pauses) * (1.0 - self._random() / 2)
        self._pauses += 1
        self._open_until = now + seconds
        self._probe = None
        return seconds

    def _move(self, cause: Cause) -> None:
        self.state = TRANSITIONS[self.state, cause]
