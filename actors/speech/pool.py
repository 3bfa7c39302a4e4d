"""Which backend takes the next stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

import anyio

from actors.speech.catalogue import Retry
from actors.speech.errors import SpeechError
from actors.speech.ports import RecognitionBackend, Tier
from actors.speech.signal import Signal

REST_FIRST = 0.1  # seconds a backend is left alone after a failure …
REST_MOST = 5.0  # … doubled for each further one, up to this
REST_QUOTA = 5.0  # … or after it said that its quota is used up, and not for how long
FORGIVEN = 10.0  # seconds without a failure after which earlier ones no longer count

_ORDER = tuple(Tier)


class _Place:
    """What the pool knows of one backend."""

    def __init__(self, backend: RecognitionBackend) -> None:
        self.backend = backend
        self.streams = 0
        self.rests_until = 0.0
        self.failures = 0  # in a row

    def is_free(self, now: float) -> bool:
        return self.streams < self.backend.max_streams and now >= self.rests_until

    @property
    def load(self) -> tuple[int, float]:
        return _ORDER.index(self.backend.tier), self.streams / self.backend.max_streams

    def failed(self, error: SpeechError, now: float) -> None:
        """Leave it alone for a while. Many streams that fail together count as one failure."""
        if now < self.rests_until or error.entry.retry is Retry.NONE:
            return
        self.failures = 1 if now - self.rests_until > FORGIVEN else self.failures + 1
        pause = min(REST_FIRST * 2 ** (self.failures - 1), REST_MOST)
        if error.entry.retry is Retry.RATE_LIMIT:
            pause = REST_QUOTA
        self.rests_until = now + (error.retry_after or pause)

    def recovered(self) -> None:
        self.failures = 0
        self.rests_until = 0.0


class Lease:
    """A backend on loan for one stream."""

    def __init__(self, backend: RecognitionBackend) -> None:
        self.backend = backend

    def should_move(self) -> bool:
        """Whether the stream should end after this utterance, and the next one be heard elsewhere."""
        return False


class BackendPool:
    """Lends backends: the best tier with room, the least loaded in it; those that just failed rest for a moment.

    Args:
        backends: in any order; at least one.
    """

    def __init__(self, backends: Iterable[RecognitionBackend]) -> None:
        self._places = {backend.name: _Place(backend) for backend in backends}
        if not self._places:
            raise ValueError("a pool needs at least one backend")
        self._changed = Signal()

    @property
    def capacity(self) -> int:
        """Streams that all backends together may carry."""
        return sum(place.backend.max_streams for place in self._places.values())

    def degraded(self, backend: RecognitionBackend) -> bool:
        """True when a better tier than this backend's is configured."""
        best = min(_ORDER.index(place.backend.tier) for place in self._places.values())
        return _ORDER.index(backend.tier) > best

    @asynccontextmanager
    async def lease(self, *, on_wait: Callable[[], None]) -> AsyncGenerator[Lease, None]:
        """Borrow a backend for one stream; waits until one has room, and says so once through `on_wait`.

        A `SpeechError` that leaves the context counts against the backend.
        """
        place = await self._take(on_wait)
        try:
            yield Lease(place.backend)
        except SpeechError as error:
            place.failed(error, anyio.current_time())
            raise
        else:
            place.recovered()
        finally:
            place.streams -= 1
            self._changed.notify()

    def down(self, name: str) -> None:
        """This backend is known to be down: it is not lent until it is `back`."""
        self._places[name].rests_until = float("inf")

    def back(self, name: str) -> None:
        """This backend is known to work: its rest is over."""
        self._places[name].recovered()
        self._changed.notify()

    async def _take(self, on_wait: Callable[[], None]) -> _Place:
        told = False
        while (place := self._best(anyio.current_time())) is None:
            if not told:
                on_wait()
                told = True
            with anyio.move_on_after(self._next_rest_end(anyio.current_time())):
                await self._changed.wait()
        place.streams += 1
        return place

    def _best(self, now: float) -> _Place | None:
        free = [place for place in self._places.values() if place.is_free(now)]
        return min(free, key=lambda place: place.load, default=None)

    def _next_rest_end(self, now: float) -> float:
        """Seconds until a resting backend may be tried again; infinite when all are only full."""
        rests = [place.rests_until - now for place in self._places.values()]
        return min((rest for rest in rests if rest > 0), default=float("inf"))
