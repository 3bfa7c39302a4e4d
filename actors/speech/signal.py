"""A wake-up for many waiters that costs next to nothing while nobody waits."""

from __future__ import annotations

import anyio


class Signal:
    """Tells all who wait *now* that something changed; later waiters wait for the next change.

    A waiter looks at the state first and waits only if there is nothing to do; nothing can change in between,
    since no await lies between looking and waiting.
    """

    __slots__ = ("_event", "_new_event")

    def __init__(self) -> None:
        self._event: anyio.Event | None = None
        self._new_event: type[anyio.Event] | None = None  # anyio.Event() looks for its backend each time

    def notify(self) -> None:
        """Wake everyone who waits."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Sleep until the next `notify`."""
        if self._event is None:
            if self._new_event is None:
                self._new_event = type(anyio.Event())
            self._event = self._new_event()
        await self._event.wait()
