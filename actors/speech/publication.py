"""What a session has decided and not said yet: in order, and no final before the journal has it."""

from __future__ import annotations

from typing import TypeGuard

from actors.speech.messages import Done, Gap, Problem, Recalled, Transcript

Entry = Transcript | Gap
Event = Transcript | Gap | Recalled | Done | Problem


class Publication:
    """Events wait here until they may be said: finals and gaps for the journal, all others for what is before them.

    It belongs to the session's record: whatever crashes, what was decided is written and said, once.

    Args:
        seq, end: of the last final or gap that the journal has.
        keeps_words: whether the journal could give a final back. If not, only the client's word makes it durable.

    Attributes:
        seq: of the last final or gap that the journal has.
        acked: … that the client has, as it said.
        durable: the client may forget what lies below this sample position.
        finished: the journal knows that all was said.
        closing: the last event was put: nothing more is to be.
        keeps_words: see above.
    """

    def __init__(self, seq: int = 0, end: int = 0, *, keeps_words: bool = True) -> None:
        self.seq = seq
        self.acked = 0
        self.durable = end
        self.finished = False
        self.closing = False
        self.keeps_words = keeps_words
        self._events: list[Event] = []  # few: a list, as an empty deque takes 0.7 KiB
        self._last = seq  # the last that is here
        self._given = seq  # the last that was given to the journal
        self._end_given = False  # … and whether it was told that all was said
        self._unacked: list[tuple[int, int]] = []  # numbers and ends, where the journal keeps no words

    def put(self, event: Event) -> None:
        """Add an event. An interim gives way to any transcript behind it."""
        if self._events and isinstance(event, Transcript) and _is_interim(self._events[-1]):
            self._events.pop()
        self._events.append(event)
        if _is_entry(event):
            self._last = event.seq
        self.closing = isinstance(event, Done) or (isinstance(event, Problem) and event.fatal)

    def take_unwritten(self) -> tuple[Entry, ...]:
        """What the journal is to be given now: all it does not have, unless it still owes an answer."""
        if self._given > self.seq or self._last <= self._given:
            return ()
        entries = tuple(event for event in self._events if _is_entry(event) and event.seq > self._given)
        if entries:
            self._given = entries[-1].seq
        return entries

    def give_again(self) -> None:
        """The journal's answer may have been lost: what it was given last is given once more, which does no harm."""
        self._given = self.seq
        self._end_given = False

    def committed(self, seq: int) -> None:
        """The journal has everything up to `seq`."""
        for event in self._events:
            if _is_entry(event) and self.seq < event.seq <= seq:
                self.seq = event.seq
                if self.keeps_words:
                    self.durable = event.end
                else:
                    self._unacked.append((event.seq, event.end))

    def acknowledged(self, seq: int) -> None:
        """The client has everything up to `seq`."""
        self.acked = max(self.acked, min(seq, self.seq))
        while self._unacked and self._unacked[0][0] <= self.acked:
            self.durable = self._unacked.pop(0)[1]

    def take_sayable(self) -> list[Event]:
        """What may be said now."""
        events: list[Event] = []
        while self._events and self._may_be_said(self._events[0]):
            events.append(self._events.pop(0))
        return events

    def take_end(self) -> Done | None:
        """The `Done` that the journal is to be told of now, if nothing else waits before it."""
        first = self._events[0] if self._events else None
        if not isinstance(first, Done) or self.finished or self._end_given:
            return None
        self._end_given = True
        return first

    def _may_be_said(self, event: Event) -> bool:
        if _is_entry(event):
            return event.seq <= self.seq
        return self.finished or not isinstance(event, Done)


def _is_entry(event: Event) -> TypeGuard[Entry]:
    return isinstance(event, Gap) or (isinstance(event, Transcript) and event.is_final)


def _is_interim(event: Event) -> bool:
    return isinstance(event, Transcript) and not event.is_final
