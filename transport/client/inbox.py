"""Events on their way to the application."""

from __future__ import annotations

import asyncio
from collections import deque

from transport.client.errors import SessionFailed
from transport.client.events import Ack, Interim, SpeechEvent

CAPACITY = 1000  # events; half an hour of finals


class Inbox:
    """A queue with an end. Interims and acks that nobody has read are replaced by those that follow them.

    It takes what it is given, but whoever fills it should wait for `room` first.
    """

    def __init__(self) -> None:
        self._events: deque[SpeechEvent] = deque()
        self._over = False
        self._failure: SessionFailed | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def put(self, event: SpeechEvent) -> None:
        if isinstance(event, Interim | Ack) and self._events and type(self._events[-1]) is type(event):
            self._events.pop()
        self._events.append(event)
        self._change()

    def end(self, failure: SessionFailed | None) -> None:
        """Nothing follows. The first word counts."""
        if not self._over:
            self._over, self._failure = True, failure
            self._change()

    async def get(self) -> SpeechEvent | None:
        """The next event; None at the end.

        Raises:
            SessionFailed: that is how it ended.
        """
        await self._something()
        event = self._events.popleft() if self._events else None
        if len(self._events) < CAPACITY:
            self._room.set()
        if event is None and self._failure is not None:
            raise self._failure
        return event

    async def first(self) -> None:
        """Wait until there is an event.

        Raises:
            SessionFailed: there will be none.
        """
        await self._something()
        if not self._events and self._failure is not None:
            raise self._failure

    async def room(self) -> None:
        """Wait until the application has read enough."""
        await self._room.wait()

    async def _something(self) -> None:
        while not self._events and not self._over:
            self._changed.clear()
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        if len(self._events) >= CAPACITY:
            self._room.clear()
