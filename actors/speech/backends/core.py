"""Which backend takes which stream: every decision of the pool, without I/O and without a clock of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import count

from actors.speech.backends.blame import Blame, blame
from actors.speech.backends.choice import choose, target
from actors.speech.backends.commands import Ask, Commands, Grant, Recall, Refuse, Request, Tell
from actors.speech.backends.events import Health, PoolEvent, PoolState, SessionMoved, Why
from actors.speech.backends.place import Loan, Need, Place
from actors.speech.backends.roster import Roster
from actors.speech.backends.trails import Trails
from actors.speech.errors import ModelNotFound, SpeechError
from actors.speech.ports import RecognitionBackend

COMING = 15.0  # seconds a session that was told to move may take to end its stream; its place is kept so long
FIRST_WORD = 1.0  # seconds from the first questions, in which a better tier that has not answered yet is waited for
LOOK_EVERY = 1.0  # seconds; those who wait are looked at again, whatever they wait for …
LOOK_SOONEST = 0.01  # … and how often at most


class PoolCore:
    """The pool's state. It is told what happens, and when, and returns what is to be done about it.

    Requests are served in the order they came, each from the best endpoint that may be lent to it: of those that work
    and have room, the best tier; in it, the least loaded. A session keeps away for a while from an endpoint that failed
    it, and newcomers from one that has just come back or keeps falling, as long as others have room. A request that
    nothing can take waits, and keeps nobody waiting whom something could take. At the start the first answers come
    within milliseconds of each other; a session is not sent to a lower tier because that one was quicker.

    Args:
        backends: in any order, each with a name of its own; at least one.
        random: numbers in [0, 1).

    Raises:
        ValueError: there is none, or two have the same name.
    """

    def __init__(self, backends: Iterable[RecognitionBackend], random: Callable[[], float] = random.random) -> None:
        self.asks = False  # somebody carries out `Ask`
        self._out: Commands = []
        self._unheard: list[Place] = []  # asked for the first time when asking began …
        self._awaited_until = 0.0  # … and until when that counts
        self._queue: dict[int, Request] = {}
        self._trails = Trails()
        self._numbers = count(1)
        self.roster = Roster(backends, random=random, tell=self._tell)

    # ---- sessions

    def join(self, request: Request, now: float) -> Commands:
        """A session wants a stream."""
        self._queue[request.number] = request
        self._refuse_if_hopeless(request, now)
        return self.tick(now)

    def leave(self, request: Request, now: float) -> Commands:
        """It no longer does."""
        self._queue.pop(request.number, None)
        return self.tick(now)

    def answered(self, loan: Loan, now: float) -> Commands:
        """A stream's first answer came."""
        loan.place.answered(loan, now)
        return self.tick(now)

    def ended(self, loan: Loan, error: SpeechError | None, now: float) -> Commands:
        """A stream is over; `error` is what broke it, None if nothing did."""
        trail = self._trails.ended(loan.session, loan.place, now)
        if loan.recalled:
            trail.why = Why.RELIEF
        elif error is not None:
            trail.why = Why.FAILOVER
            if blame(error) not in (Blame.NOBODY, Blame.MODEL):
                trail.was_failed(loan.place, now)
        loan.place.ended(loan, error, now)
        if isinstance(error, ModelNotFound):
            for request in list(self._queue.values()):
                self._refuse_if_hopeless(request, now)
        return self.tick(now)

    def can_serve(self, need: Need, now: float) -> bool:
        """Whether an endpoint may have what a session needs, now or when it is back."""
        return any(place.lacks(need, now) is None and not place.is_hopeless for place in self.roster.places)

    def should_move(self, loan: Loan, now: float) -> bool:
        """Whether this session, between two utterances, should end its stream and ask for another one.

        True when a better tier is proven and the ramp has room for one more, or when this endpoint is to be left and
        another one has room. Of our own accord no session moves twice within half a minute.
        """
        home, trail = loan.place, self._trails.of(loan.session)
        if trail.target(now) is not None:
            return True
        if trail.is_settling(now) and not home.is_closed:
            return False
        place = target(loan, self.roster.places, trail, now, asks=self.asks)
        if place is None:
            return False
        place.reserve(loan.session, now + COMING)
        place.ramp.moved(place.cap(now), now)
        trail.going = place, now + COMING
        trail.why = Why.RELIEF if home.wants_relief(now) else Why.RETURN
        return True

    # ---- signs and questions

    def suspect(self, place: Place, now: float) -> Commands:
        """It may be gone."""
        place.trust.suspect(now)
        return self.tick(now)

    def lost(self, place: Place, error: SpeechError, now: float) -> Commands:
        """It is known to be gone."""
        place.lost(error, now)
        return self.tick(now)

    def stirs(self, place: Place, now: float) -> Commands:
        """It may be back."""
        place.trust.ask_soon(now)
        return self.tick(now)

    def answers(self, place: Place, now: float) -> Commands:
        """It answered the question whether it works."""
        place.answers(now)
        return self.tick(now)

    def misses(self, place: Place, error: SpeechError, now: float) -> Commands:
        """It did not answer, or with this error."""
        place.misses(error, now)
        return self.tick(now)

    def asking(self, now: float, *, asks: bool) -> Commands:
        """From now on somebody asks questions, or nobody does. Those that were out are lost."""
        self.asks = asks
        self._unheard = [place for place in self.roster.places if asks and place.trust.health is Health.UNKNOWN]
        self._awaited_until = now + FIRST_WORD
        for place in self.roster.places:
            place.unasked(now)
        return self.tick(now)

    # ---- orders; for errors see `Roster`

    def reconfigure(self, backends: Iterable[RecognitionBackend], now: float, *, leave_by: float) -> Commands:
        """These are the backends from now on. One that is gone keeps its streams until they move on, or `leave_by`."""
        self.roster.reconfigure(backends, now, leave_by=leave_by)
        return self.tick(now)

    def drain(self, name: str, now: float, *, leave_by: float) -> Commands:
        """No new streams there; those it has move on when their utterances end, or at `leave_by`."""
        self.roster.drain(name, leave_by=leave_by)
        return self.tick(now)

    def undrain(self, name: str, now: float) -> Commands:
        """Streams there again."""
        self.roster.undrain(name)
        return self.tick(now)

    def trip(self, name: str, now: float, *, seconds: float) -> Commands:
        """Its breaker is open for so long, whatever it counted."""
        self.roster.place(name).trust.trip(now, seconds)
        return self.tick(now)

    def mend(self, name: str, now: float) -> Commands:
        """Its breaker is closed, whatever it counted."""
        self.roster.place(name).trust.mend(now)
        return self.tick(now)

    # ---- time

    def tick(self, now: float) -> Commands:
        """What is to be done now."""
        self.roster.tidy(now)
        self._serve(now)
        self._recall(now)
        self._ask(now)
        out, self._out = self._out, []
        return out

    def tick_in(self, now: float) -> float:
        """Seconds until `tick` has something to do besides serving requests."""
        due = [place.leave_by - now for place in self.roster if place.loans_to_recall()]
        if self.asks:
            due += [place.question_due_in(now) for place in self.roster.places]
        return max(0.0, min(due, default=float("inf")))

    def serve_in(self, now: float) -> float:
        """Seconds until `tick` should look again at those who wait."""
        waits = [self._awaited_until - now, *(place.free_in(now, asks=self.asks) for place in self.roster.places)]
        return max(LOOK_SOONEST, min([LOOK_EVERY, *(wait for wait in waits if wait > 0)]))

    # ---- seen from outside

    @property
    def first(self) -> Request | None:
        """The request that has waited longest."""
        return next(iter(self._queue.values()), None)

    def capacity(self, now: float) -> int:
        """Streams that may be promised: those of all endpoints that work, or did a short while ago."""
        return sum(place.capacity(now) for place in self.roster.places)

    def state(self, now: float) -> PoolState:
        """How everything stands."""
        return PoolState(tuple(place.state(now) for place in self.roster), len(self._queue))

    # ---- what follows

    def _serve(self, now: float) -> None:
        lendable = self._lendable(now)
        in_vain: set[tuple[object, ...]] = (
            set()
        )  # what has just been found to have no place: most of those who wait are alike
        for request in list(self._queue.values()) if lendable else ():
            trail = self._trails.of(request.session)
            kind = (request.need, trail.failures(now), trail.target(now))
            if kind in in_vain:
                continue
            place = choose(request, lendable, trail, now)
            if place is None:
                in_vain.add(kind)
                continue
            self._grant(request, place, now)
            lendable = self._lendable(now)
            if not lendable:
                return

    def _lendable(self, now: float) -> list[Place]:
        worst = self._worst_tier(now)
        return [
            place
            for place in self.roster.places
            if place.order <= worst and place.streams() < place.cap(now) and place.free_in(now, asks=self.asks) == 0
        ]

    def _worst_tier(self, now: float) -> float:
        """The order of the last tier that may be lent: one whose first answer is due keeps back those below it."""
        self._unheard = [
            place
            for place in self._unheard
            if now < self._awaited_until and place.trust.health is Health.UNKNOWN and not place.is_closed
        ]
        return min((place.order for place in self._unheard), default=float("inf"))

    def _grant(self, request: Request, place: Place, now: float) -> None:
        del self._queue[request.number]
        trail = self._trails.opened(request.session, place)
        loan = Loan(
            number=next(self._numbers),
            session=request.session,
            need=request.need,
            place=place,
            since=now,
            is_retry=trail.was_failed_by(place, now),
        )
        if trail.going is not None:
            trail.going[0].unreserve(request.session)
        place.lend(loan, now)
        if trail.place is not None and trail.place.name != place.name:
            event = SessionMoved(session=request.session, source=trail.place.name, target=place.name, why=trail.why)
            self._tell(event)
            trail.moved_at = now
        trail.place, trail.going, trail.why = place, None, Why.ROTATION
        self._out.append(Grant(request, loan))

    def _refuse_if_hopeless(self, request: Request, now: float) -> None:
        if self.can_serve(request.need, now):
            return
        errors = [place.lacks(request.need, now) for place in self.roster.places]
        error = next((error for error in errors if error is not None), None)
        if error is not None:
            del self._queue[request.number]
            self._out.append(Refuse(request, error))

    def _recall(self, now: float) -> None:
        for place in self.roster:
            if now >= place.leave_by:
                for loan in place.loans_to_recall():
                    loan.recalled = True
                    self._out.append(Recall(loan))

    def _ask(self, now: float) -> None:
        for place in self.roster.places if self.asks else ():
            if place.question_due_in(now) <= 0:
                place.asked(now)
                self._out.append(Ask(place))

    def _tell(self, event: PoolEvent) -> None:
        self._out.append(Tell(event))
