"""Which of several endpoints a session gets, and whether it should go to another one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from actors.speech.backends.commands import Request
from actors.speech.backends.events import Health
from actors.speech.backends.place import Loan, Place
from actors.speech.backends.trails import Trail


class Grade(IntEnum):
    """How gladly an endpoint is given to a session; tier and load decide among equals."""

    EXPECTED = 0  # the session was told to go there, and a place is kept; or it went there a moment ago
    GOOD = 1
    CAREFUL = 2  # it has just come back, or keeps falling
    UNKNOWN = 3  # nothing was heard of it yet
    SUSPECT = 4  # it failed, and nobody asked since
    AVOIDED = 5  # it failed this very session


def choose(request: Request, places: Iterable[Place], trail: Trail, now: float) -> Place | None:
    """The best of the endpoints that may be lent; None if none has what the session needs, and room for it."""
    fit = [place for place in places if _fits(place, request, trail, now)]
    return min(fit, key=lambda place: _rank(place, request.session, trail, now), default=None)


def target(loan: Loan, places: Iterable[Place], trail: Trail, now: float, *, asks: bool) -> Place | None:
    """Where a session should move between two utterances, if anywhere: a better tier, or out of one to be left."""
    home = loan.place
    relief = home.wants_relief(now)
    fit = [
        place
        for place in places
        if place is not home
        and (relief or place.order < home.order)
        and not trail.was_failed_by(place, now)
        and _welcomes(place, loan, now, asks=asks, relief=relief)
    ]
    return min(fit, key=lambda place: (place.order, _share(place, loan.session, now)), default=None)


def _fits(place: Place, request: Request, trail: Trail, now: float) -> bool:
    return (
        place.lacks(request.need, now) is None
        and place.load(request.session, now) < place.cap(now)
        and (not trail.was_failed_by(place, now) or place.budget.free_in(now) == 0)
    )


def _rank(place: Place, session: str, trail: Trail, now: float) -> tuple[Grade, int, bool, float]:
    """Among equals a session stays where it was: there its next stream is no move."""
    return _grade(place, session, trail, now), place.order, place is not trail.place, _share(place, session, now)


def _grade(place: Place, session: str, trail: Trail, now: float) -> Grade:
    trust = place.trust
    if place is trail.target(now):
        return Grade.EXPECTED
    if trail.was_failed_by(place, now):
        return Grade.AVOIDED
    if place is trail.place and trail.is_settling(now) and trust.is_proven:
        return Grade.EXPECTED
    if trust.health is not Health.READY:
        return Grade.UNKNOWN if trust.health is Health.UNKNOWN else Grade.SUSPECT
    if not trust.is_proven:  # the one stream that tries: not one that has failed a moment ago, if others can take that
        return Grade.SUSPECT if trail.failures(now) else Grade.GOOD
    cap = place.cap(now)
    if trust.is_shaky(now) or place.load(session, now) >= place.ramp.allowance(cap, now):
        return Grade.CAREFUL
    return Grade.GOOD


def _welcomes(place: Place, loan: Loan, now: float, *, asks: bool, relief: bool) -> bool:
    """Whether a session that could stay where it is may come."""
    cap, load = place.cap(now), place.load(loan.session, now)
    if place.free_in(now, asks=asks) > 0 or place.lacks(loan.need, now) is not None:
        return False
    if not place.ramp.may_move(now) or load >= place.ramp.allowance(cap, now):
        return False
    if not place.trust.is_proven and (place.trust.health is not Health.READY or place.has_reserved(now)):
        return False
    return relief or place.trust.is_steady(now)


def _share(place: Place, session: str, now: float) -> float:
    return place.load(session, now) / place.cap(now)
