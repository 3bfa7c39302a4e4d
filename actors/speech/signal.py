"""A wake-up for many waiters that costs next to nothing while nobody waits."""

from __future__ import annotations

from supervisor.loops import Waiter, new_waiter


class Signal:
    """Tells all who wait *now* that something changed; later waiters wait for the next change.

    A waiter looks at the state first and waits only if there is nothing to do; nothing can change in between,
    since no await lies between looking and waiting.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []

    def notify(self) -> None:
        """Wake everyone who waits."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():  # else its task is being cancelled
                    waiter.set_result(None)

    async def wait(self) -> None:
        """Sleep until the next `notify`."""
        waiter = new_waiter()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:  # cancelled: whoever gives up again and again must not leave more and more behind
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
