"""What waits to be sent to a session's client."""

from __future__ import annotations

from collections import deque

from actors.speech.errors import SlowConsumer
from actors.speech.messages import Ack, Done, Problem, SessionEvent, Transcript
from actors.speech.signal import Signal

CAPACITY = 1000  # events a client may leave unread: over an hour of finals


class Outbox:
    """Events in order for one reader. Finals are never dropped; what a newer event makes pointless is.

    An interim gives way to the next transcript, an ack to the next ack. Beyond `capacity` unread events the client is
    given up as too slow.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.over = False  # the last event (`Done` or a fatal `Problem`) was put
        self._capacity = capacity
        self._events: deque[SessionEvent] = deque()
        self._changed = Signal()

    def put(self, event: SessionEvent) -> None:
        """Add an event; after the last one, nothing is added any more.

        Raises:
            SlowConsumer: the client left `capacity` events unread. The outbox then ends with that problem.
        """
        if self.over:
            return
        if self._events and _supersedes(event, self._events[-1]):
            self._events.pop()
        if len(self._events) >= self._capacity:
            self._end(Problem(code=SlowConsumer.entry.code, fatal=True))
            raise SlowConsumer(f"{self._capacity} events unread")
        if isinstance(event, Done) or (isinstance(event, Problem) and event.fatal):
            self._end(event)
        else:
            self._events.append(event)
            self._changed.notify()

    async def next_event(self) -> SessionEvent:
        """The next event to send; waits for it. Not to be called again after the last one."""
        while not self._events:
            await self._changed.wait()
        return self._events.popleft()

    def _end(self, event: SessionEvent) -> None:
        self.over = True
        self._events.append(event)
        self._changed.notify()


def _supersedes(new: SessionEvent, old: SessionEvent) -> bool:
    match old:
        case Transcript(is_final=False):
            return isinstance(new, Transcript)
        case Ack():
            return isinstance(new, Ack)
        case _:
            return False
