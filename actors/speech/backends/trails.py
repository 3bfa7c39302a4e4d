"""Where sessions were, so that none is sent to and fro. Pure: time is an argument."""

from __future__ import annotations

from collections import deque

import msgspec

from actors.speech.backends.events import Why
from actors.speech.backends.place import Place

SETTLED = 30.0  # seconds a session stays where it is, and away from what failed it, as far as that is ours to choose


class Trail(msgspec.Struct):
    """One session's way through the backends.

    Attributes:
        place: where its stream is, or was last.
        streams: where it has one now; two for a moment, when the next one is opened beside the present one.
        moved_at: when it last went from one endpoint to another.
        why: what its next move will have been for.
        failed: when each endpoint last failed it.
        going: where it was told to move, and until when that holds.
    """

    place: Place | None = None
    streams: list[Place] = []
    moved_at: float = float("-inf")
    ended_at: float = float("-inf")
    why: Why = Why.ROTATION
    failed: dict[Place, float] = {}
    going: tuple[Place, float] | None = None

    def was_failed(self, place: Place, now: float) -> None:
        """This endpoint has just failed it."""
        self.failed = {other: at for other, at in self.failed.items() if now - at < SETTLED} | {place: now}

    def was_failed_by(self, place: Place, now: float) -> bool:
        """This endpoint failed it a short while ago."""
        return now - self.failed.get(place, float("-inf")) < SETTLED

    def failures(self, now: float) -> frozenset[Place]:
        """All endpoints that did."""
        return frozenset(place for place in self.failed if self.was_failed_by(place, now))

    def is_settling(self, now: float) -> bool:
        """It has just moved, so it stays for now."""
        return now - self.moved_at < SETTLED

    def target(self, now: float) -> Place | None:
        """Where it is to go."""
        return self.going[0] if self.going is not None and now < self.going[1] else None


class Trails:
    """The trails of all sessions that have a stream, or had one within `SETTLED` seconds; older ones tell nothing."""

    def __init__(self) -> None:
        self._trails: dict[str, Trail] = {}
        self._ended: deque[tuple[float, str]] = deque()

    def __len__(self) -> int:
        return len(self._trails)

    def of(self, session: str) -> Trail:
        """A session's trail, to read; an empty one if nothing is known."""
        return self._trails.get(session) or Trail()

    def opened(self, session: str, place: Place) -> Trail:
        """It gets a stream there. Its trail as it was before, to be changed."""
        trail = self._trails.setdefault(session, Trail())
        trail.streams.append(place)
        return trail

    def ended(self, session: str, place: Place, now: float) -> Trail:
        """A stream there is over. Its trail, to be changed: it is where it still has one."""
        trail = self._trails[session]
        trail.streams.remove(place)
        if trail.streams:
            trail.place = trail.streams[-1]
        trail.ended_at = now
        self._ended.append((now, session))
        self._forget(now)
        return trail

    def _forget(self, now: float) -> None:
        while self._ended and now - self._ended[0][0] >= SETTLED:
            at, session = self._ended.popleft()
            trail = self._trails.get(session)
            if trail is not None and not trail.streams and trail.ended_at == at:
                del self._trails[session]
