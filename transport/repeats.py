"""Log lines that say the same again: the first of a kind is logged at once, how many followed is said in one more."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

WINDOW = 10.0  # seconds in which repeats are held back
TRACEBACK_WINDOW = 60.0  # … and tracebacks of the same error from the same place, whoever meets it
MOST_KINDS = 2000  # that are remembered; beyond it the oldest is told and forgotten
WHOSE = ("code", "session", "path", "endpoint", "backend")  # a record's fields that tell kinds apart, besides `event`
NEVER_HELD = frozenset({"admin.action"})  # events of which each counts: who gave which order
_NUMBER = re.compile(r"\d+(\.\d+)?")


class _Kind(msgspec.Struct):
    since: float  # of its last line
    held: int = 0  # repeats since then
    last: logging.LogRecord | None = None  # the last of these


class Repeats:
    """Decides which records are logged. Pure; time is an argument. Records stay as they are: others may have them too.

    Records of a kind have the same logger, level, event, code and subject (session, part, backend); those that have no
    code and no subject, the same text, but for numbers in the texts of other libraries.
    """

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()  # the one whose line is oldest comes first
        self._tracebacks = _Tracebacks()

    @property
    def due_at(self) -> float | None:
        """When there may be something to say; None: there is nothing."""
        return next((kind.since + WINDOW for kind in self._kinds.values()), None)

    def take(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        """What to log now that there is this record: sums that are due, and the record, unless it is held back."""
        out = self.due(now)
        if vars(record).get("event") in NEVER_HELD:
            return [*out, record]
        key = _key(record)
        kind = self._kinds.get(key)
        if kind is not None:
            kind.held += 1
            kind.last = self._tracebacks.known_left_out(record, now)
            return out
        self._kinds[key] = _Kind(since=now)
        if len(self._kinds) > MOST_KINDS:
            out += self._sum(self._kinds.popitem(last=False)[1], now)
        return [*out, self._tracebacks.shown(record, now)]

    def due(self, now: float) -> list[logging.LogRecord]:
        """The sums of kinds whose window is over; those that had no repeats are forgotten."""
        out: list[logging.LogRecord] = []
        while self._kinds:
            key, kind = next(iter(self._kinds.items()))
            if now - kind.since < WINDOW:
                break
            del self._kinds[key]
            if kind.held:
                out += self._sum(kind, now)
                self._kinds[key] = _Kind(since=now)
        return out

    def rest(self, now: float) -> list[logging.LogRecord]:
        """The sums of all that is held back."""
        kinds, self._kinds = self._kinds, OrderedDict()
        return [record for kind in kinds.values() for record in self._sum(kind, now)]

    def _sum(self, kind: _Kind, now: float) -> list[logging.LogRecord]:
        if kind.last is None:
            return []
        record = self._tracebacks.shown(kind.last, now)
        if kind.held == 1:
            return [record]
        text = f"{_text(record)} [the last of {kind.held} like this in {now - kind.since:.0f} s]"
        return [_changed(record, msg=text, args=None, repeated=kind.held)]


class _Tracebacks:
    """Which were shown lately. One is left out before anybody formats it, since that is what costs."""

    def __init__(self) -> None:
        self._shown: OrderedDict[Hashable, float] = OrderedDict()

    def shown(self, record: logging.LogRecord, now: float) -> logging.LogRecord:
        """The record as it is to be logged."""
        if (place := _place(record)) is None:
            return record
        if self._is_known(place, now):
            return _changed(record, exc_info=None, exc_text=None)
        self._shown[place] = now
        self._shown.move_to_end(place)
        if len(self._shown) > MOST_KINDS:
            self._shown.popitem(last=False)
        return record

    def known_left_out(self, record: logging.LogRecord, now: float) -> logging.LogRecord:
        """A record to be held back, and with it no more of what has failed than may be shown of it."""
        place = _place(record)
        if place is not None and self._is_known(place, now + WINDOW):
            return _changed(record, exc_info=None, exc_text=None)
        return record

    def _is_known(self, place: Hashable, now: float) -> bool:
        return now - self._shown.get(place, float("-inf")) < TRACEBACK_WINDOW


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
        self._is_closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Log it now, or later, summed."""
        try:
            self._pass_on(self._repeats.take(record, self._clock()))
            self._look_later()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Say what is held back; at the end of the process the standard library calls this."""
        with self._locked():
            self._pass_on(self._repeats.rest(self._clock()))
            self._handler.flush()

    def close(self) -> None:
        """Say what is held back, and let go of the timer."""
        with self._locked():
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()
            self.flush()
        self._handler.close()
        super().close()

    def _pass_on(self, records: list[logging.LogRecord]) -> None:
        for record in records:
            self._handler.handle(record)

    def _look_later(self) -> None:
        due = self._repeats.due_at
        if due is None or self._timer is not None or self._is_closed:
            return
        self._timer = threading.Timer(max(0.0, due - self._clock()), self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._locked():
            self._timer = None
            self._pass_on(self._repeats.due(self._clock()))
            self._look_later()

    def _locked(self) -> threading.RLock:  # what the standard library makes in every handler
        assert self.lock is not None
        return self.lock


def _key(record: logging.LogRecord) -> Hashable:
    fields = vars(record)
    whose = tuple(fields.get(name) for name in WHOSE)
    text = None if any(whose) else _text(record)
    if text is not None and "event" not in fields:  # another library's, whose texts are full of seconds and counts
        text = _NUMBER.sub("0", text)
    return record.name, record.levelno, fields.get("event"), text, whose


def _place(record: logging.LogRecord) -> Hashable | None:
    """What tells a record's traceback from others: the kind of error, and where it was raised; None: it has none."""
    if not record.exc_info or (error := record.exc_info[1]) is None:
        return None
    at = record.exc_info[2]
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return type(error), at and (at.tb_frame.f_code, at.tb_lineno)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # it does not fit its arguments, which is for whoever writes it to complain of
        return str(record.msg)


def _changed(record: logging.LogRecord, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(vars(record) | fields)
