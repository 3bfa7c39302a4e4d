"""One endpoint in the pool: what it may carry, what it carries, and what it is left alone for. Pure, as all here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from actors.speech.backends.blame import Blame, blame
from actors.speech.backends.events import (
    AdmissionLowered,
    BackendRests,
    BackendState,
    ModelMissing,
    PoolEvent,
    QuotaFreed,
    QuotaSpent,
)
from actors.speech.backends.pace import Ramp, Rest, RetryBudget
from actors.speech.backends.quota import Quota
from actors.speech.backends.trust import Trust, age
from actors.speech.errors import ModelNotFound, SpeechError
from actors.speech.ports import RecognitionBackend, Tier
from supervisor.policy import Backoff

INCIDENT_SECONDS = 10.0  # so long, failures of streams that were open when the first of them failed tell nothing new
FAILURE_SECONDS = 30.0  # how long a failed stream weighs against those that go on
SETTLED_SECONDS = 5.0  # a stream that lasted so long did not fail, though nobody may have spoken in it
MODEL_SECONDS = 300.0  # how long a missing model is believed to be missing; an endpoint that comes back is asked anew
COOL_DOWN = Backoff(initial=30.0, factor=1.0, maximum=30.0)  # after it ran out of memory …
KEPT_SHARE, LOWERED_SECONDS = 0.75, 600.0  # … it gets this share of what it carried then, and slowly more
OVERLOADED = Backoff(initial=5.0, factor=2.0, maximum=30.0, reset_after=60.0)
# A proxy that closes an old connection in order looks like a server that shuts down. Only the latter repeats it.
CLOSING = Backoff(initial=0.1, factor=5.0, maximum=60.0, reset_after=60.0)
ADMITTED_SECONDS = 10.0  # how long an outage may last before the endpoint no longer counts for the server's capacity

_ORDER = tuple(Tier)


def order_of(tier: Tier) -> int:
    """0 for the best tier."""
    return _ORDER.index(tier)


class Need(msgspec.Struct, frozen=True):
    """What an endpoint must have for a session. An empty model: any."""

    language: str
    model: str


class Loan(msgspec.Struct, eq=False, kw_only=True):
    """One stream lent to a session. `is_retry`: the endpoint had failed this session shortly before."""

    number: int
    session: str
    need: Need
    place: Place
    since: float
    is_retry: bool
    answered: bool = False
    recalled: bool = False


class Place:
    """One endpoint in the pool.

    A thousand streams that fail together are one incident: what was open when the first of them failed tells nothing
    new. And streams that fail are counted against those that go on: what befalls one in a hundred is no outage.

    Args:
        random: numbers in [0, 1).
        tell: called with what happens.

    Attributes:
        loans: the streams it has, by number.
        before: the same endpoint under older settings, while it still has streams.
        drained, leaving: it gets no new streams, by order; for good.
        leave_by: when those it has must have moved on.
    """

    def __init__(
        self,
        backend: RecognitionBackend,
        quota: Quota,
        *,
        random: Callable[[], float],
        tell: Callable[[PoolEvent], None],
    ) -> None:
        self.backend = backend
        self.name = backend.name
        self.quota = quota
        self.trust = Trust(backend.name, random=random, tell=tell)
        self.budget = RetryBudget(backend.max_streams)
        self.ramp = Ramp(random)
        self.loans: dict[int, Loan] = {}
        self.before: Place | None = None
        self.drained = self.leaving = False
        self.leave_by = float("inf")
        self._tell = tell
        self._reserved: dict[str, float] = {}  # for sessions that were told to move here: until when
        self._well = 0  # streams that were answered and go on
        self._failures: deque[float] = deque()
        self._newest = 0  # number of the last loan
        self._incident = 0, float("-inf")  # the last loan when it began, and when that was
        self._missing: dict[Need, tuple[ModelNotFound, float]] = {}
        self._rests = {Blame.OVERLOAD: Rest(OVERLOADED), Blame.DRAINING: Rest(CLOSING), Blame.MEMORY: Rest(COOL_DOWN)}
        self._lowered: tuple[int, float] | None = None  # to how many, and when
        self._last: tuple[str, float] | None = None

    # ---- what it may carry

    @property
    def order(self) -> int:
        """0 for the best tier."""
        return order_of(self.backend.tier)

    @property
    def is_closed(self) -> bool:
        """It gets no new streams, by order."""
        return self.drained or self.leaving

    @property
    def is_hopeless(self) -> bool:
        """Nothing but an operator can make it take streams."""
        return self.is_closed or self.trust.is_held

    def cap(self, now: float) -> int:
        """Streams it may carry now."""
        most = self.backend.max_streams
        if self._lowered is None:
            return most
        least, since = self._lowered
        back = min(1.0, max(0.0, now - since - COOL_DOWN.maximum) / LOWERED_SECONDS)
        return min(most, least + int((most - least) * back))

    def streams(self) -> int:
        """Streams it carries, under older settings too."""
        return len(self.loans) + (self.before.streams() if self.before is not None else 0)

    def load(self, session: str, now: float) -> int:
        """Streams it carries, and those that are on their way; the place kept for `session` does not count."""
        for other in [other for other, until in self._reserved.items() if until <= now]:
            del self._reserved[other]
        return self.streams() + len(self._reserved) - (session in self._reserved)

    def has_reserved(self, now: float) -> bool:
        """Somebody is on the way."""
        return any(until > now for until in self._reserved.values())

    def free_in(self, now: float, *, asks: bool) -> float:
        """Seconds until it may be lent, room permitting; infinite when that is no matter of time."""
        if self.is_closed:
            return float("inf")
        rest = max(rest.left(now) for rest in self._rests.values())
        return max(self.trust.free_in(now, asks=asks), self.quota.free_in(now), rest)

    def capacity(self, now: float) -> int:
        """Streams it adds to what the server may promise. A short outage changes nothing in that."""
        lost = [since for since in (self.trust.down_since, self.quota.spent_since) if since is not None]
        if self.is_closed or (lost and now - min(lost) > ADMITTED_SECONDS):
            return 0
        return self.cap(now)

    def wants_relief(self, now: float) -> bool:
        """Its streams should go elsewhere when their utterances end."""
        resting = any(self._rests[kind].left(now) > 0 for kind in (Blame.OVERLOAD, Blame.DRAINING))
        return self.is_closed or resting

    def lacks(self, need: Need, now: float) -> ModelNotFound | None:
        """Why it cannot serve such a session, if that is known."""
        error, until = self._missing.get(need, (None, 0.0))
        return error if now < until else None

    # ---- streams

    def reserve(self, session: str, until: float) -> None:
        """A session was told to move here; room is kept for it."""
        self._reserved[session] = until

    def unreserve(self, session: str) -> None:
        """It goes elsewhere."""
        self._reserved.pop(session, None)

    def lend(self, loan: Loan, now: float) -> None:
        """It gets a stream, as `free_in`, `load` and `budget` allow."""
        self._reserved.pop(loan.session, None)
        self._newest = loan.number
        self.loans[loan.number] = loan
        self.trust.lend(loan, now)
        self.quota.lend(loan, now)
        if loan.is_retry:
            self.budget.take()
        else:
            self.budget.opened()

    def answered(self, loan: Loan, now: float) -> None:
        """A stream's first answer came."""
        loan.answered = True
        self._well += 1
        if loan.is_retry:
            self.budget.give_back()
        if self.quota.granted(loan):
            self._tell(QuotaFreed(key=self.quota.key))
        if self.trust.answered(loan, now):
            self._returned(now)

    def ended(self, loan: Loan, error: SpeechError | None, now: float) -> None:
        """A stream is over; `error` is what broke it, None if nothing did."""
        del self.loans[loan.number]
        if loan.answered:
            self._well -= 1
        elif loan.is_retry and now - loan.since >= SETTLED_SECONDS:
            self.budget.give_back()
        if error is not None and not loan.recalled:
            self._broke(loan, error, now)
        self.trust.released(loan)
        self.quota.released(loan)

    def loans_to_recall(self) -> list[Loan]:
        """Streams that are to end at `leave_by`, if they have not moved before."""
        return [loan for loan in self.loans.values() if not loan.recalled] if self.leave_by < float("inf") else []

    def forget(self, place: Place) -> None:
        """That place is no more."""
        if self.before is place:
            self.before = place.before

    def _broke(self, loan: Loan, error: SpeechError, now: float) -> None:
        kind = blame(error)
        if kind is Blame.NOBODY:
            return
        self._last = error.code, now
        if isinstance(error, ModelNotFound):
            self._lacks(loan.need, error, now)
        elif kind is Blame.QUOTA:
            self._spent(loan, error, now)
        elif kind is Blame.CONFIG:
            if self._is_news(loan, now):
                self.trust.hold(error, now)
        elif kind in self._rests:
            self._rest(kind, loan, error, now)
        else:
            self._failed(loan, error, now, answers=kind is Blame.STREAM)

    def _lacks(self, need: Need, error: ModelNotFound, now: float) -> None:
        if self.lacks(need, now) is None:  # else one of those who were there already
            self._tell(ModelMissing(name=self.name, language=need.language, model=need.model, error=error))
        self._missing[need] = error, now + MODEL_SECONDS

    def _failed(self, loan: Loan, error: SpeechError, now: float, *, answers: bool) -> None:
        self._failures.append(now)
        while now - self._failures[0] > FAILURE_SECONDS:
            self._failures.popleft()
        if self._is_news(loan, now):
            self.trust.failed(loan, error, now, answers=answers, counts=len(self._failures) > self._well)

    def _rest(self, kind: Blame, loan: Loan, error: SpeechError, now: float) -> None:
        if not self._is_news(loan, now):
            return
        if kind is Blame.MEMORY:
            self._lower(now)
        seconds = self._rests[kind].begin(now)
        if seconds:
            self._tell(BackendRests(name=self.name, code=error.code, seconds=seconds))
        if kind is Blame.DRAINING:
            self.trust.suspect(now)

    def _lower(self, now: float) -> None:
        carried = len(self.loans) + 1  # the one that just broke too
        self._lowered = max(1, min(int(carried * KEPT_SHARE), self.cap(now))), now
        self._tell(AdmissionLowered(name=self.name, streams=self._lowered[0]))

    def _spent(self, who: object, error: SpeechError, now: float) -> None:
        seconds = self.quota.spent(who, error.retry_after, now)
        if seconds is not None:
            self._tell(QuotaSpent(name=self.name, key=self.quota.key, seconds=seconds))

    def _is_news(self, loan: Loan, now: float) -> bool:
        """False for streams that were open when the present incident began."""
        newest, began = self._incident
        is_old = loan.number <= newest and now - began < INCIDENT_SECONDS
        if is_old and not self.trust.breaker.is_probe(loan):
            return False
        self._incident = self._newest, now
        return True

    # ---- questions

    def question_due_in(self, now: float) -> float:
        """Seconds until it should be asked whether it works."""
        if self.trust.asking or (self.trust.is_proven and not self.quota.is_free):  # a stream is to try, no question
            return float("inf")
        return max(self.trust.ask_at - now, self.quota.free_in(now), 0.0)

    def asked(self, now: float) -> None:
        """It is being asked."""
        self.trust.asked()
        self.quota.lend(self, now, proves=False)

    def answers(self, now: float) -> None:
        """It answered: it works."""
        self.quota.released(self)
        if self.trust.answers(now):
            self._returned(now)

    def misses(self, error: SpeechError, now: float) -> None:
        """It did not answer, or with this error."""
        self._last = error.code, now
        if blame(error) is Blame.QUOTA:
            self._spent(self, error, now)
            self.trust.unasked(now)
        else:
            self.trust.misses(error, now)
        self.quota.released(self)

    def unasked(self, now: float) -> None:
        """Whatever was asked, nobody waits for the answer."""
        if self.trust.asking:
            self.quota.released(self)
            self.trust.unasked(now)

    # ---- signs and orders

    def lost(self, error: SpeechError, now: float) -> None:
        """It is known to be gone."""
        self._last = error.code, now
        self.trust.lost(error, now)

    def reconfigured(self, quota: Quota, now: float) -> None:
        """Its settings may have changed. It is not being left, if it was."""
        self.quota = quota
        self.leaving = False
        self.leave_by = self.leave_by if self.drained else float("inf")
        self.trust.reconsider(now)

    def _returned(self, now: float) -> None:
        self._missing.clear()
        self.ramp.begin(len(self.loans), now)

    # ---- seen from outside

    def state(self, now: float) -> BackendState:
        """How it stands."""
        code, since = self._last or (None, None)
        due = self.question_due_in(now)
        return BackendState(
            name=self.name,
            tier=self.backend.tier,
            health=self.trust.health,
            health_seconds=age(self.trust.health_since, now),
            breaker=self.trust.breaker.state,
            breaker_seconds=age(self.trust.breaker_since, now),
            streams=len(self.loans),
            cap=self.cap(now),
            max_streams=self.backend.max_streams,
            probe_seconds=None if self.is_closed or due == float("inf") else due,
            rest_seconds=0.0 if self.is_closed else self.free_in(now, asks=False),
            drained=self.drained,
            leaving=self.leaving,
            last_code=code,
            last_code_seconds=age(since, now),
        )
