"""A wake-up for many waiters that costs next to nothing while nobody waits."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.loops import Waiter, waiters


class Signal:
    """Tells all who wait *now* that something changed; later waiters wait for the next change.

    A waiter looks at the state first and waits only if there is nothing to do; nothing can change in between,
    since no await lies between looking and waiting. All of them wait in one event loop.
    """

    __slots__ = ("_new_waiter", "_waiters")

    def __init__(self) -> None:
        self._new_waiter: Callable[[], Waiter] | None = None
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
        if self._new_waiter is None:
            self._new_waiter = waiters()
        waiter = self._new_waiter()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:  # cancelled: whoever gives up again and again must not leave more and more behind
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise


class Latch(Signal):
    """A signal that stays: who waits later than it was set need not wait."""

    __slots__ = ("is_set",)

    def __init__(self) -> None:
        super().__init__()
        self.is_set = False

    def set(self) -> None:
        """Wake everyone who waits, and let everyone pass from now on."""
        self.is_set = True
        self.notify()

    async def wait(self) -> None:
        """Sleep until it is set."""
        if not self.is_set:
            await super().wait()
