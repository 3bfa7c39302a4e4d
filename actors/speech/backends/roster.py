"""Which endpoints there are: the configured ones, and those that are left only by the streams they still have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from actors.speech.backends.events import (
    BackendDrained,
    BackendJoined,
    BackendLeft,
    BackendUndrained,
    PoolEvent,
    QuotaFreed,
)
from actors.speech.backends.place import Place, order_of
from actors.speech.backends.quota import Quota
from actors.speech.ports import RecognitionBackend

NEVER = float("inf")


class Roster:
    """The places, and the quotas that they share.

    Args:
        random: numbers in [0, 1).
        tell: called with what happens.

    Raises:
        ValueError: there is no backend, or two have the same name.
    """

    def __init__(
        self,
        backends: Iterable[RecognitionBackend],
        *,
        random: Callable[[], float],
        tell: Callable[[PoolEvent], None],
    ) -> None:
        self._random = random
        self._tell = tell
        self._quotas: dict[str, Quota] = {}
        self._leaving: list[Place] = []
        self.places = [self._new(backend) for backend in _checked(backends)]

    def __iter__(self) -> Iterator[Place]:
        """All, those that are being left too."""
        yield from self.places
        yield from self._leaving

    def place(self, name: str) -> Place:
        """The place of a configured backend.

        Raises:
            KeyError: there is no backend of this name.
        """
        for place in self.places:
            if place.name == name:
                return place
        raise KeyError(name)

    def is_degraded(self, backend: RecognitionBackend) -> bool:
        """Whether a better tier than this backend's is configured."""
        return any(place.order < order_of(backend.tier) for place in self.places)

    # ---- orders

    def reconfigure(self, backends: Iterable[RecognitionBackend], now: float, *, leave_by: float) -> None:
        """These are the backends from now on; those that are kept are the same objects.

        Raises:
            ValueError: there is none, or two have the same name; nothing was changed then.
        """
        wanted = _checked(backends)
        known = {id(place.backend): place for place in self}
        gone = [place for place in self.places if not any(place.backend is backend for backend in wanted)]
        for place in gone:
            place.leaving, place.leave_by = True, leave_by
            self._tell(BackendDrained(name=place.name, leaving=True))
        self._leaving += gone
        self.places = [known.get(id(backend)) or self._joined(backend) for backend in wanted]
        self._leaving = [place for place in self._leaving if place not in self.places]
        for place in self.places:
            place.reconfigured(self._quota(place.backend.quota_key), now)

    def drain(self, name: str, *, leave_by: float) -> None:
        """No new streams there; those it has move on when their utterances end, or at `leave_by`."""
        place = self.place(name)
        if not place.drained:
            self._tell(BackendDrained(name=name, leaving=False))
        place.drained, place.leave_by = True, leave_by

    def undrain(self, name: str) -> None:
        """Streams there again."""
        place = self.place(name)
        if place.drained:
            self._tell(BackendUndrained(name=name))
        place.drained, place.leave_by = False, NEVER

    # ---- time

    def tidy(self, now: float) -> None:
        """Forget places that have lost their last stream, and free quotas that granted a stream for long enough."""
        for place in [place for place in self._leaving if not place.loans]:
            self._leaving.remove(place)
            for other in self:
                other.forget(place)
            self._tell(BackendLeft(name=place.name))
        for quota in self._quotas.values():
            if quota.lasted(now):
                self._tell(QuotaFreed(key=quota.key))

    # ---- making places

    def _new(self, backend: RecognitionBackend) -> Place:
        return Place(backend, self._quota(backend.quota_key), random=self._random, tell=self._tell)

    def _joined(self, backend: RecognitionBackend) -> Place:
        place = self._new(backend)
        place.before = next((old for old in reversed(self._leaving) if old.name == backend.name), None)
        self._tell(BackendJoined(name=backend.name))
        return place

    def _quota(self, key: str) -> Quota:
        return self._quotas.setdefault(key, Quota(key))


def _checked(backends: Iterable[RecognitionBackend]) -> list[RecognitionBackend]:
    wanted = list(backends)
    if not wanted:
        raise ValueError("a pool needs at least one backend")
    for name, times in Counter(backend.name for backend in wanted).items():
        if times > 1:
            raise ValueError(f"{times} backends are named {name!r}, each needs a name of its own")
    return wanted
