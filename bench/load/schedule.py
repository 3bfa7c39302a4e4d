"""When who is to send a frame. Pure: time is an argument, and nothing that a server does moves a frame's time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_GOLDEN = 0.6180339887498949  # multiples of it, without their whole part, are spread evenly, however many there are


def phase(number: int, every: float) -> float:
    """Seconds into a period of so many at which client `number` sends: of any first clients an even spread."""
    return number * _GOLDEN % 1.0 * every


class Schedule(Generic[T]):
    """Who sends a frame when: each once in a period, at times that are fixed as soon as it comes.

    Args:
        every: seconds between two frames of one client.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self._turns: list[tuple[float, int, T]] = []  # a heap
        self._members: dict[T, int] = {}
        self._count = 0  # of those who came, by which those who came again are told from those who left

    def join(self, who: T, first: float) -> None:
        """It sends its first frame then, and goes on."""
        self._count += 1
        self._members[who] = self._count
        heapq.heappush(self._turns, (first, self._count, who))

    def leave(self, who: T) -> None:
        """It sends no more, if it did."""
        self._members.pop(who, None)

    @property
    def next(self) -> float | None:
        """When the next frame is due; None: there is nobody."""
        return self._turns[0][0] if self._turns else None

    def due(self, now: float) -> Iterator[tuple[T, float]]:
        """The frames that are due by now and were not given out before, each with the time at which it was due."""
        while self._turns and self._turns[0][0] <= now:
            due, count, who = self._turns[0]
            if self._members.get(who) != count:
                heapq.heappop(self._turns)
                continue
            heapq.heapreplace(self._turns, (due + self.every, count, who))
            yield who, due
