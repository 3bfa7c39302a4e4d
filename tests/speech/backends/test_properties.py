"""What holds for the pool whatever happens, in whatever order."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.speech.backends.commands import Request
from actors.speech.backends.core import FIRST_WORD
from actors.speech.backends.events import Health
from actors.speech.backends.place import Loan, Need, Place
from actors.speech.backends.trust import PROBE_TIME
from actors.speech.errors import (
    BackendDraining,
    BackendNotReady,
    BackendOutOfMemory,
    BackendOverloaded,
    ConfigRejected,
    ConnectionFailed,
    InferenceFailed,
    ModelNotFound,
    NotAuthorized,
    QuotaExceeded,
    SequenceExpired,
    SpeechError,
    StreamLost,
)
from actors.speech.ports import RecognitionBackend, Tier
from supervisor.breaker import BreakerState
from tests.speech.backends.driver import ENGLISH, GERMAN, Driver, backend

ERRORS: list[SpeechError | None] = [
    None,
    BackendDraining(),
    BackendNotReady(),
    BackendOutOfMemory(),
    BackendOverloaded(),
    ConfigRejected(),
    ConnectionFailed(),
    InferenceFailed(),
    NotAuthorized(),
    QuotaExceeded(),
    QuotaExceeded(retry_after=0.5),
    SequenceExpired(),
    StreamLost(),
]
BACKENDS = [
    ("a", Tier.PRIMARY, 2, "shared"),
    ("b", Tier.PRIMARY, 3, ""),
    ("c", Tier.FALLBACK, 2, "shared"),
    ("d", Tier.EMBEDDED, 1, ""),
]
SESSIONS = [f"s{number}" for number in range(12)]


class Pool(RuleBasedStateMachine):
    """Sessions come and go, streams break, questions fail, operators interfere; time passes."""

    @initialize(asks=st.booleans(), count=st.integers(1, 4))
    def begin(self, *, asks: bool, count: int) -> None:
        self.backends: list[RecognitionBackend] = [
            backend(name, tier, room, key) for name, tier, room, key in BACKENDS[:count]
        ]
        self.driver = Driver(*self.backends, asks=False, random=lambda: 0.5)
        self.driver.on_grant = self.check_grant
        self.waiting: dict[str, Request] = {}
        self.expected: set[str] = set()  # told to move
        self.trying: dict[Place, Loan] = {}
        self.homes: dict[str, tuple[Place, float]] = {}  # of each session, and when it came there
        self.first_asked = list(self.driver.core.roster.places) if asks else []
        self.answers_due = self.driver.now + FIRST_WORD
        if asks:
            self.driver.do(self.driver.core.asking(self.driver.now, asks=True))

    # ---- what happens

    @rule(session=st.sampled_from(SESSIONS), need=st.sampled_from([ENGLISH, ENGLISH, GERMAN]))
    def lease(self, session: str, need: Need) -> None:
        if session not in self.driver.loans and session not in self.waiting:
            self.driver.lease(session, need)
            if session not in self.driver.loans and session not in self.driver.refused:
                self.waiting[session] = self.driver.request(session)
            self.driver.refused.clear()

    @rule(session=st.sampled_from(SESSIONS))
    def give_up(self, session: str) -> None:
        if self.waiting.pop(session, None) is not None:
            self.driver.give_up(session)

    @rule(session=st.sampled_from(SESSIONS))
    def answered(self, session: str) -> None:
        loan = self.driver.loans.get(session)
        if loan is not None and not loan.answered:
            self.driver.answered(session)

    @rule(session=st.sampled_from(SESSIONS), error=st.sampled_from(ERRORS))
    def end(self, session: str, error: SpeechError | None) -> None:
        if session in self.driver.loans:
            self.driver.end(session, error)

    @rule(name=st.sampled_from("abcd"), error=st.sampled_from(ERRORS))
    def lose_all(self, name: str, error: SpeechError | None) -> None:
        for session, loan in list(self.driver.loans.items()):
            if loan.place.name == name:
                self.driver.end(session, error)

    @rule(session=st.sampled_from(SESSIONS))
    def lack_model(self, session: str) -> None:
        loan = self.driver.loans.get(session)
        if loan is not None and loan.need == GERMAN:
            self.driver.end(session, ModelNotFound())
            for refused in self.driver.refused:
                self.waiting.pop(refused, None)
            self.driver.refused.clear()

    @rule(session=st.sampled_from(SESSIONS))
    def finish_utterance(self, session: str) -> None:
        if session in self.driver.loans and self.driver.should_move(session):
            self.expected.add(session)
            self.driver.end(session)
            self.lease(session, ENGLISH)

    @rule(name=st.sampled_from("abcd"), error=st.sampled_from(ERRORS))
    def question_over(self, name: str, error: SpeechError | None) -> None:
        if name in self.driver.asked:
            self.driver.answer(name, error)

    @rule(name=st.sampled_from("abcd"), sign=st.sampled_from(["suspect", "lost", "stirs"]))
    def sign(self, name: str, sign: str) -> None:
        for place in self.driver.core.roster.places:
            if place.name == name:
                core, now = self.driver.core, self.driver.now
                if sign == "lost":
                    self.driver.do(core.lost(place, ConnectionFailed(), now))
                else:
                    self.driver.do(core.suspect(place, now) if sign == "suspect" else core.stirs(place, now))

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 3.0, 12.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.driver.now += seconds
        self.driver.do(self.driver.core.tick(self.driver.now))

    @rule(name=st.sampled_from("abcd"), drain=st.booleans())
    def drain(self, *, name: str, drain: bool) -> None:
        if any(place.name == name for place in self.driver.core.roster.places):
            core, now = self.driver.core, self.driver.now
            self.driver.do(core.drain(name, now, leave_by=now + 5.0) if drain else core.undrain(name, now))

    @rule(keep=st.sets(st.integers(0, 3)), fresh=st.integers(0, 3))
    def reconfigure(self, keep: set[int], fresh: int) -> None:
        kept = [one for index, one in enumerate(self.backends) if index in keep]
        name, tier, room, key = BACKENDS[fresh]
        new = [] if any(one.name == name for one in kept) else [backend(name, tier, room, key)]
        self.backends = [*kept, *new]
        self.driver.do(self.driver.core.reconfigure(self.backends, self.driver.now, leave_by=self.driver.now + 5.0))

    # ---- what must hold

    def check_grant(self, request: Request, loan: Loan) -> None:
        place, now = loan.place, self.driver.now
        self.waiting.pop(request.session, None)
        expected = request.session in self.expected
        self.expected.discard(request.session)
        assert place.streams() <= place.cap(now)
        assert not place.is_closed
        assert not self.driver.core.asks or place.trust.health is Health.READY
        self.check_breaker(loan)
        home, came_at = self.homes.get(request.session, (place, now))
        if place is not home:
            self.homes[request.session] = place, now
        elif request.session not in self.homes:
            self.homes[request.session] = place, float("-inf")
        stays = place is home and now - came_at < 30.0
        if not expected:
            self.check_order(request)
        if not (expected or stays):
            self.check_tier(loan)

    def check_breaker(self, loan: Loan) -> None:
        """Closed, or nobody else tries."""
        state = loan.place.trust.breaker.state
        assert state is not BreakerState.OPEN
        if state is BreakerState.HALF_OPEN:
            other = self.trying.get(loan.place)
            assert other is None or other not in loan.place.loans.values() or loan.since - other.since >= PROBE_TIME
            self.trying[loan.place] = loan

    def check_order(self, request: Request) -> None:
        """Nobody who came sooner and wants the same is passed over, unless an endpoint has failed him."""
        trails = self.driver.core._trails
        sooner = [
            other.session
            for other in self.waiting.values()
            if other.number < request.number
            and other.need == request.need
            and not trails.of(other.session).failures(self.driver.now)
        ]
        assert sooner == []

    def check_tier(self, loan: Loan) -> None:
        """No better tier could have been lent without a reason to be careful with it."""
        trail, now = self.driver.core._trails.of(loan.session), self.driver.now
        better = [
            place.name
            for place in self.driver.core.roster.places
            if place.order < loan.place.order
            and self.could_take(place, loan.session, loan.need)
            and place.trust.is_proven
            and not place.trust.is_shaky(now)
            and place.load(loan.session, now) < place.ramp.allowance(place.cap(now), now)
            and not trail.was_failed_by(place, now)
        ]
        assert better == []

    def could_take(self, place: Place, session: str, need: Need) -> bool:
        now, trail = self.driver.now, self.driver.core._trails.of(session)
        return (
            place.free_in(now, asks=self.driver.core.asks) == 0
            and not self.waits_for_better(place)
            and place.load(session, now) < place.cap(now)
            and place.lacks(need, now) is None
            and (not trail.was_failed_by(place, now) or place.budget.free_in(now) == 0)
        )

    def waits_for_better(self, place: Place) -> bool:
        """At the start a lower tier that was quicker waits for the first answers of those above it."""
        return self.driver.now < self.answers_due and any(
            other.trust.health is Health.UNKNOWN and not other.is_closed
            for other in self.first_asked
            if other.order < place.order
        )

    @invariant()
    def nobody_waits_for_what_is_free(self) -> None:
        for request in self.waiting.values():
            free = [
                place.name
                for place in self.driver.core.roster.places
                if self.could_take(place, request.session, request.need)
            ]
            assert free == []

    @invariant()
    def who_tried_is_known(self) -> None:
        for place in list(self.trying):
            if place.trust.breaker.state is not BreakerState.HALF_OPEN:
                del self.trying[place]

    def teardown(self) -> None:
        """When all works again and streams end in order, everybody gets one: none starves."""
        core = self.driver.core
        for place in core.roster.places:
            self.driver.do(core.undrain(place.name, self.driver.now))
        deadline = self.driver.now + 1000.0
        while self.waiting and self.driver.now < deadline:
            for session, loan in list(self.driver.loans.items()):
                if not loan.answered:
                    self.driver.answered(session)
                self.driver.end(session)
            self.driver.answer_all()
            self.driver.now += 1.0
            self.driver.do(core.tick(self.driver.now))
        assert self.waiting == {}


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
