"""What one sink is sent, and when. Pure: notices, answers and the time in, batches out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from enum import Enum

import msgspec

from actors.speech.catalogue import Severity
from supervisor.breaker import Breaker, BreakerState
from supervisor.policy import Backoff
from supervisor.spec import Intensity
from transport.alerts.notices import Key, Notice, Phase, rank

# A sink that answers with an error is asked again soon; one that goes on like that, every few minutes.
PAUSES = Backoff(initial=1.0, factor=2.0, maximum=30.0)
BREAKER_PAUSES = Backoff(initial=30.0, factor=2.0, maximum=300.0)
BREAKER_OPENS = Intensity(3, 120.0)
RESENT_RESOLVED = 300.0  # seconds; Alertmanager's own resolve_timeout


class Result(Enum):
    """What became of a notice at a sink."""

    DELIVERED = "delivered"
    FAILED = "failed"  # it is tried again
    REFUSED = "refused"  # it is not
    DROPPED = "dropped"  # too many waited


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """How a sink wants to be treated.

    Attributes:
        least: what is less severe is not sent.
        per_minute: requests, on average.
        burst: requests at once, when it was quiet before.
        capacity: alerts that may wait.
        batch: all that waits goes into one request.
        interval: seconds after which all that lasts is sent again; None: it remembers by itself.
    """

    least: Severity = Severity.WARNING
    per_minute: float = 60.0
    burst: int = 1
    capacity: int = 100
    batch: bool = False
    interval: float | None = None


class Delivery:
    """The queue to one sink. What is newest of an alert replaces what has not been sent of it.

    Args:
        manners: of the sink.
        now: the present, in seconds of a clock that does not jump.
        random: numbers in [0, 1), for pauses.

    Attributes:
        failures: in a row.
    """

    def __init__(self, manners: Manners, now: float, *, random: Callable[[], float] = random.random) -> None:
        self.failures = 0
        self._manners = manners
        self._random = random
        self._waiting: dict[Key, Notice] = {}
        self._lasting: dict[Key, tuple[Notice, float]] = {}  # until when it is sent again
        self._resend_at = math.inf
        self._bucket = Bucket(manners.per_minute, manners.burst, now)
        self._pause_until = -math.inf
        self._breaker = Breaker("sink", threshold=BREAKER_OPENS, pause=BREAKER_PAUSES, proven_after=0.0, random=random)

    def __len__(self) -> int:
        """Alerts that wait."""
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """The breaker is: the sink is left alone for longer."""
        return self._breaker.state is BreakerState.OPEN

    def offer(self, notice: Notice, now: float) -> list[Notice]:
        """Something to tell. What had to give way to it."""
        if rank(notice.severity) < rank(self._manners.least):
            return []
        self._remember(notice, now)
        return self._put(notice)

    def take(self, now: float) -> Sequence[Notice]:
        """What to send now; it waits until its answer is known. Empty: nothing, before `due`."""
        if now >= self._resend_at:
            self._resend(now)
        if not self._waiting or now < self._pause_until or self._breaker.ask(self, now) > 0.0:
            return ()
        if not self._bucket.take(now):
            return ()
        return self._first()

    def hurry(self) -> Sequence[Notice]:
        """The same for who has no time to wait."""
        return self._first()

    def due(self, now: float) -> float:
        """When to `take` next; infinite: when something has been offered."""
        if not self._waiting:
            return self._resend_at
        return max(self._pause_until, now + self._breaker.free_in(now), self._bucket.free_at(now))

    # ---- what the sink answered

    def delivered(self, sent: Sequence[Notice]) -> None:
        self._remove(sent)
        self._answered()

    def refused(self, sent: Sequence[Notice]) -> None:
        """It does not want these, now or ever."""
        self._remove(sent)
        for notice in sent:
            self._lasting.pop(notice.key, None)
        self._answered()

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """It could not be told, or wants to be asked again after so many seconds."""
        pause = PAUSES.delay(self.failures, self._random)
        self.failures += 1
        self._breaker.failed(self, now)
        self._pause_until = now + max(pause, retry_after or 0.0)

    def _answered(self) -> None:
        self.failures = 0
        self._pause_until = -math.inf
        self._breaker.proven(self)

    # ---- what waits

    def _put(self, notice: Notice) -> list[Notice]:
        before = self._waiting.get(notice.key)
        if before is not None and notice.phase is Phase.FIRING and not before.repeat:
            notice = msgspec.structs.replace(notice, repeat=False)  # here its beginning was not told
        self._waiting[notice.key] = notice
        if len(self._waiting) <= self._manners.capacity:
            return []
        return [self._waiting.pop(next(iter(self._waiting)))]

    def _first(self) -> Sequence[Notice]:
        return tuple(self._waiting.values())[: None if self._manners.batch else 1]

    def _remove(self, sent: Sequence[Notice]) -> None:
        for notice in sent:
            if self._waiting.get(notice.key) is notice:  # else there is something newer by now
                del self._waiting[notice.key]

    # ---- what is sent again

    def _remember(self, notice: Notice, now: float) -> None:
        if self._manners.interval is None:
            return
        until = math.inf if notice.phase is Phase.FIRING else now + RESENT_RESOLVED
        self._lasting[notice.key] = (notice, until)
        self._resend_at = min(self._resend_at, now + self._manners.interval)

    def _resend(self, now: float) -> None:
        assert self._manners.interval is not None
        self._lasting = {key: (notice, until) for key, (notice, until) in self._lasting.items() if now < until}
        for key, (notice, _) in self._lasting.items():
            self._waiting.setdefault(key, notice)
        self._resend_at = now + self._manners.interval if self._lasting else math.inf


class Bucket:
    """So many in a minute on average, and at most `burst` at once."""

    def __init__(self, per_minute: float, burst: int, now: float) -> None:
        self._each = 60.0 / per_minute
        self._burst = burst
        self._full_at = now  # when it has `burst` tokens again

    def take(self, now: float) -> bool:
        """A token, if there is one."""
        if now < self.free_at(now):
            return False
        self._full_at = max(self._full_at, now) + self._each
        return True

    def free_at(self, now: float) -> float:
        """When there is one."""
        return max(now, self._full_at - (self._burst - 1) * self._each)
