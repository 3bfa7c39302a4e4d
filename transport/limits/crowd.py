"""The connections that have not begun a session: who has to go when there are too many of them."""

from __future__ import annotations

import errno
import os
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

GRACE = 1.0  # seconds in which nobody has to make way for being one of too many: a crowd that comes at once is none
_T = TypeVar("_T")


class _Newcomer(NamedTuple):
    address: str
    since: float


class Crowd(Generic[_T]):
    """Knows for each connection without a session how long it has been there, and from where.

    Whoever holds connections open and says nothing is the oldest of the crowd, so the oldest goes first: the more of
    them there are, the less time each of them has, while a client that has something to say needs hardly any.

    Args:
        most: connections without a session; None: no limit.
        most_each: the same for one address.
    """

    def __init__(self, most: int | None = None, most_each: int | None = None) -> None:
        self.most = most
        self.most_each = most_each
        self._by_age: OrderedDict[_T, _Newcomer] = OrderedDict()
        self._by_address: dict[str, OrderedDict[_T, None]] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    def arrived(self, one: _T, address: str, now: float, *, is_full: bool = False) -> _T | None:
        """Somebody connects.

        Args:
            address: of the network it comes from; empty: one that is not counted.
            is_full: there is hardly a file descriptor left, so somebody has to go, however new.

        Returns:
            who has to go for it: itself, if it is alone; None: nobody.
        """
        self._by_age[one] = _Newcomer(address, now)
        if address:
            self._by_address.setdefault(address, OrderedDict())[one] = None
        oldest = self._to_go(address, now, is_full)
        if oldest is not None:
            self.left(oldest)
        return oldest

    def left(self, one: _T) -> None:
        """It has begun a session, or is gone."""
        if (newcomer := self._by_age.pop(one, None)) is not None and newcomer.address:
            others = self._by_address[newcomer.address]
            del others[one]
            if not others:
                del self._by_address[newcomer.address]

    def _to_go(self, address: str, now: float, is_full: bool) -> _T | None:
        neighbours = self._by_address.get(address, ())
        if self.most_each is not None and len(neighbours) > self.most_each:
            oldest = next(iter(neighbours))
        else:
            oldest = next(iter(self._by_age))
            if not is_full and (self.most is None or len(self._by_age) <= self.most):
                return None
        had_time = now - self._by_age[oldest].since >= GRACE
        return oldest if had_time or is_full else None


class Descriptors:
    """Whether file descriptors run out: a sixteenth of them, 16 to 256, is for backends, the journal and audio on disk.

    They are counted now and then, since the more there are the longer it takes; in between each arrival counts as one
    more, and each that has left as one less. The number of a new one would say nothing: the system gives the lowest
    that is free, also while almost all of the others are taken.

    Args:
        count: how many are open; raises OSError where that cannot be known.
    """

    def __init__(self, count: Callable[[], int] = lambda: len(os.listdir("/proc/self/fd"))) -> None:
        self._count = count
        self._open = 0
        self._arrivals = 0  # until they are counted again

    def are_scarce(self) -> bool:
        """To be asked once for each connection that has arrived."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return False
        kept = max(16, min(256, limit // 16))
        self._open += 1
        self._arrivals -= 1
        if self._arrivals < 0:
            self._arrivals = kept // 4
            try:
                self._open = self._count()
            except OSError as error:  # there is none left to look with; or this system does not tell
                self._open = limit if error.errno == errno.EMFILE else 0
        return self._open >= limit - kept

    def left(self) -> None:
        """A connection has ended: who comes after a crowd that has gone finds room."""
        self._open -= 1
