"""Log lines that say the same again: the first of a kind is logged at once, how many followed is said in one more."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

WINDOW = 10.0  # seconds in which repeats are held back
TRACEBACK_WINDOW = 60.0  # … and the tracebacks of repeats
MOST_KINDS = 2000  # that are remembered; beyond it the oldest is told and forgotten
WHOSE = ("event", "code", "session", "path", "endpoint", "backend")  # a record's fields that tell kinds apart


class _Kind(msgspec.Struct):
    since: float  # of its last line
    traced: float  # of its last traceback
    held: int = 0  # repeats since the last line
    last: logging.LogRecord | None = None  # the last of these


class Repeats:
    """Decides which records are logged. Pure but for the records it makes; time is an argument.

    Records of a kind have the same logger, level, and fields by which kinds are told apart: `event`, `code`, and whose
    it is.
    """

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    @property
    def is_holding(self) -> bool:
        """Whether there may be something to say later."""
        return bool(self._kinds)

    def take(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        """What to log now that there is this record: sums that are due, and the record, unless it is held back."""
        out = self.due(now)
        key = _key(record)
        kind = self._kinds.get(key)
        if kind is None:
            self._kinds[key] = _Kind(since=now, traced=now)
            if len(self._kinds) > MOST_KINDS:
                out += _summed(self._kinds.popitem(last=False)[1], now)
            return [*out, record]
        kind.held += 1
        kind.last = record
        return out

    def due(self, now: float) -> list[logging.LogRecord]:
        """The sums of kinds whose window is over; those that had no repeats are forgotten."""
        out: list[logging.LogRecord] = []
        while self._kinds:
            key, kind = next(iter(self._kinds.items()))
            if now - kind.since < WINDOW:
                break
            del self._kinds[key]
            if kind.held:
                out += _summed(kind, now)
                self._kinds[key] = _Kind(since=now, traced=kind.traced)
        return out

    def rest(self, now: float) -> list[logging.LogRecord]:
        """The sums of all that is held back."""
        kinds, self._kinds = self._kinds, OrderedDict()
        return [record for kind in kinds.values() for record in _summed(kind, now)]


class RepeatsHandler(logging.Handler):
    """Passes on to another handler what `Repeats` lets through.

    Args:
        handler: writes the lines.
        clock: seconds of any steady clock.
    """

    def __init__(self, handler: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handler = handler
        self._clock = clock
        self._repeats = Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        for each in self._repeats.take(record, self._clock()):
            self._handler.handle(each)
        if self._timer is None:
            self._look_later()

    def flush(self) -> None:
        """Say what is held back; at the end of the process the standard library calls this."""
        self.acquire()
        try:
            for each in self._repeats.rest(self._clock()):
                self._handler.handle(each)
            self._handler.flush()
        finally:
            self.release()

    def close(self) -> None:
        """Say what is held back, and let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        self._handler.close()
        super().close()

    def _look_later(self) -> None:
        self._timer = threading.Timer(WINDOW, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        self.acquire()
        try:
            self._timer = None
            for each in self._repeats.due(self._clock()):
                self._handler.handle(each)
            if self._repeats.is_holding:
                self._look_later()
        finally:
            self.release()


def _key(record: logging.LogRecord) -> Hashable:
    fields = vars(record)
    whose = tuple(fields.get(name) for name in WHOSE)
    text = None if any(whose) else record.getMessage()  # other libraries' records have nothing else
    return record.name, record.levelno, text, whose


def _summed(kind: _Kind, now: float) -> list[logging.LogRecord]:
    last = kind.last
    if last is None:
        return []
    if now - kind.traced < TRACEBACK_WINDOW:
        last.exc_info = None  # it was never formatted, which is what costs
    elif last.exc_info:
        kind.traced = now
    if kind.held > 1:
        last.msg = f"{last.getMessage()} [the last of {kind.held} like this in {now - kind.since:.0f} s]"
        last.args = None
        vars(last)["repeated"] = kind.held
    return [last]
