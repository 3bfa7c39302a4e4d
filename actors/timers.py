"""Messages that an actor sends to itself, later."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio

from supervisor.timers import Timer as Call
from supervisor.timers import Timers

if TYPE_CHECKING:
    from actors.inbox import Inbox


class Timer:
    """A message to come, once or again and again. Made by `Actor.after` and `Actor.every`.

    It travels through the mailbox itself, so that what was cancelled is not heard even if it was on its way.
    Only one of a repeating timer's messages is on its way at any time: an actor that is slower than its timer
    skips beats instead of falling behind.
    """

    __slots__ = ("_began", "_call", "_clock", "_inbox", "_interval", "_others", "message")

    def __init__(
        self, clock: Timers, inbox: Inbox, others: set[Timer], seconds: float, message: object, *, repeat: bool
    ) -> None:
        self.message = message
        self._clock = clock
        self._inbox = inbox
        self._others = others  # those of the same life; who is in there is alive
        self._interval = seconds if repeat else None
        self._began = anyio.current_time()
        self._call: Call | None = clock.after(seconds, self._ring)
        others.add(self)

    @property
    def active(self) -> bool:
        """Whether a message is still to come, or on its way."""
        return self in self._others

    def cancel(self) -> None:
        """Deliver nothing more. No effect afterwards."""
        self._others.discard(self)
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def heard(self) -> bool:
        """It was taken from the mailbox: whether its message is to be handled."""
        if not self.active:
            return False
        if self._interval is None:
            self._others.discard(self)
        elif self._call is None:
            self._call = self._clock.after(self._until_next_beat(self._interval), self._ring)
        return True

    def revive(self) -> None:
        """Its message was heard, but put off: it can be cancelled once more."""
        self._others.add(self)

    def _ring(self) -> None:
        self._call = None
        self._inbox.put_unbounded(self)

    def _until_next_beat(self, interval: float) -> float:
        """Seconds to the next multiple of the interval since the start: so beats do not drift."""
        passed = anyio.current_time() - self._began
        return (math.floor(passed / interval + 1e-6) + 1) * interval - passed
