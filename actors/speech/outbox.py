"""What waits to be sent to a session's client."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from actors.speech.errors import SlowConsumer
from actors.speech.messages import Ack, Done, Problem, SessionEvent, Transcript
from actors.speech.signal import Signal

CAPACITY = 1000  # events and words a client may leave unread: some five minutes of speech, and 220 KiB
_INTERIM, _ACK = "interim", "ack"  # of each at most one waits


class Outbox:
    """Events in order for one reader. Finals are never dropped; what a newer event makes pointless is.

    An interim gives way to the next transcript, an ack to the next ack, whatever lies between them. Beyond `capacity`
    unread events and words the client is given up as too slow: its last event is that problem.

    Attributes:
        offer: has an interim or an ack before it waits here, if nothing else does; True from it: the client was told,
            and it need not wait. Called where the event arises, so it must be quick, and never raise.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.over = False  # the last event (`Done` or a fatal `Problem`) was put
        self.offer: Callable[[Transcript | Ack], bool] | None = None
        self._capacity = capacity
        self._events: OrderedDict[str | int, SessionEvent] = OrderedDict()
        self._number = 0  # events there were, each of which is its own kind but for interims and acks
        self._size = 0
        self._changed = Signal()

    def put(self, event: SessionEvent) -> None:
        """Add an event; after the last one, nothing is added any more."""
        if self.over:
            return
        match event:
            case Transcript(is_final=False):
                self._offer_or_replace(_INTERIM, event)
            case Ack():
                self._offer_or_replace(_ACK, event)
            case Transcript():
                self._drop(_INTERIM)
                self._keep(event)
            case Done() | Problem(fatal=True):
                self._end(event)
            case _:
                self._keep(event)

    def begin(self, events: Iterable[SessionEvent]) -> None:
        """Put what a client is to be told first: however much it has missed, that does not make it slow."""
        for event in events:
            self._capacity += _size(event)
            self._keep(event)

    async def next_event(self) -> SessionEvent:
        """The next event to send; waits for it. Not to be called again after the last one."""
        while not self._events:
            await self._changed.wait()
        _, event = self._events.popitem(last=False)
        self._size -= _size(event)
        return event

    def _offer_or_replace(self, kind: str, event: Transcript | Ack) -> None:
        if self.offer is None or self._events or not self.offer(event):
            self._drop(kind)
            self._add(kind, event)

    def _drop(self, kind: str) -> None:
        if (event := self._events.pop(kind, None)) is not None:
            self._size -= _size(event)

    def _keep(self, event: SessionEvent) -> None:
        if self._size >= self._capacity:
            self._end(Problem(code=SlowConsumer.entry.code, fatal=True))
            return
        self._number += 1
        self._add(self._number, event)

    def _end(self, event: SessionEvent) -> None:
        self.over = True
        self._add(self._number + 1, event)

    def _add(self, key: str | int, event: SessionEvent) -> None:
        self._events[key] = event
        self._size += _size(event)
        self._changed.notify()


def _size(event: SessionEvent) -> int:
    return 1 + len(event.words) if isinstance(event, Transcript) else 1
