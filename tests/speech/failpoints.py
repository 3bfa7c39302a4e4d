"""Crashes at any await of any task, one after the other, until there is none left to crash at."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial, wraps
from types import coroutine
from typing import Any


class Crash(Exception):
    """What a failpoint raises: to everybody else a defect."""


class Failpoint:
    """Counts the awaits of tasks, and raises `Crash` from the one it is told to.

    The await has done its work by then: what was sent is sent, what was waited for has come. The one await that does
    not count is trio's own at the end of a nursery, which could not be left in that way.

    Args:
        at: number of the await, from 1.
        whose: whether a task counts, by the first argument of its function.
    """

    def __init__(self, at: int, whose: Callable[[Any], bool]) -> None:
        self.fired = False
        self._left = at
        self._whose = whose

    def around(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The function, as the root of a task that counts."""

        @wraps(function)
        async def run(*args: Any, **options: Any) -> Any:
            work = function(*args, **options)
            return await (self._drive(work) if self._whose(args[0]) else work)

        return run

    @coroutine
    def _drive(self, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        go_on = partial(work.send, None)
        try:
            while True:
                asked = go_on()
                try:
                    answer = yield asked
                except BaseException as error:  # a cancellation
                    go_on = partial(work.throw, error)
                else:
                    fires = not _is_nurserys(asked) and self._fires()
                    go_on = partial(work.throw, Crash()) if fires else partial(work.send, answer)
        except StopIteration as end:
            return end.value
        finally:
            work.close()

    def _fires(self) -> bool:
        self._left -= 1
        self.fired = self.fired or self._left == 0
        return self._left == 0


def _is_nurserys(asked: Any) -> bool:
    return "Nursery" in getattr(getattr(asked, "abort_func", None), "__qualname__", "")
