"""How much, how often, how soon: the measures of restraint towards an endpoint. All are pure; time is an argument."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.policy import Backoff


class Rest:
    """A pause that somebody asked for; longer each time until it has been left well alone for `reset_after`."""

    def __init__(self, pauses: Backoff) -> None:
        self._pauses = pauses
        self._times = 0
        self._until = float("-inf")

    def begin(self, now: float) -> float:
        """Rest from now on. The seconds; 0.0 if it rests already, since that is no news."""
        if now < self._until:
            return 0.0
        if now - self._until >= self._pauses.reset_after:
            self._times = 0
        seconds = self._pauses.bound(self._times)
        self._times += 1
        self._until = now + seconds
        return seconds

    def left(self, now: float) -> float:
        """Seconds until it is over; 0.0 when it is."""
        return max(0.0, self._until - now)


class RetryBudget:
    """How many sessions may come back to an endpoint that failed them.

    A retry takes a token and brings it back when it was answered, so that retries which help cost nothing. Those that
    fail are bounded: one for each stream that the endpoint may carry (all that it dropped may come back once), and
    from there on `SHARE` of its other streams and `PER_SECOND`.
    """

    SHARE = 0.1
    PER_SECOND = 1.0

    def __init__(self, burst: int) -> None:
        self._burst = float(burst)
        self._tokens = self._burst
        self._at = 0.0

    def free_in(self, now: float) -> float:
        """Seconds until a retry is allowed."""
        self._refill(now)
        return max(0.0, 1.0 - self._tokens) / self.PER_SECOND

    def take(self) -> None:
        """A retry, which was allowed."""
        self._tokens -= 1.0

    def give_back(self) -> None:
        """A retry was answered."""
        self._tokens = min(self._burst, self._tokens + 1.0)

    def opened(self) -> None:
        """A stream that is no retry."""
        self._tokens = min(self._burst, self._tokens + self.SHARE)

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.PER_SECOND)
        self._at = now


class Ramp:
    """How an endpoint that was away gets its streams back: ever more of them, over `SECONDS`.

    It bounds two things. `allowance` is what it should carry by now, when others could do it instead. `may_move` spaces
    out those streams that go there of our own accord, from endpoints that work.
    """

    SECONDS = 30.0

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._began = float("-inf")
        self._base = 0
        self._next_move = float("-inf")

    def begin(self, streams: int, now: float) -> None:
        """It is back, with so many streams that it never lost."""
        self._began = now
        self._base = streams

    def allowance(self, cap: int, now: float) -> int:
        """Streams it may carry now, of `cap` in the end; at least one more than it began with."""
        share = min(1.0, (now - self._began) / self.SECONDS)
        return min(cap, self._base + max(1, int((cap - self._base) * share)))

    def may_move(self, now: float) -> bool:
        return now >= self._next_move

    def moved(self, cap: int, now: float) -> None:
        """One stream was told to go there. All would be there after `SECONDS`; jitter keeps processes out of step."""
        self._next_move = now + self.SECONDS / cap * (0.5 + self._random())


class Tally:
    """A count that forgets: half of it in each `half_life` seconds."""

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._value = 0.0
        self._at = 0.0

    def add(self, now: float) -> None:
        self._value = self.value(now) + 1.0
        self._at = now

    def value(self, now: float) -> float:
        return float(self._value * 0.5 ** ((now - self._at) / self._half_life))
