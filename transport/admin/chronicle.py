"""Remembers what happened, for those who look later: the timelines of sessions, and errors by their code."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Container

from actors.speech.backends.events import PoolEvent, SessionMoved
from actors.speech.catalogue import CATALOGUE
from actors.speech.error_handler import ErrorContext
from actors.speech.errors import SpeechError
from actors.speech.reports import (
    AudioGivenUp,
    Recovered,
    Said,
    SessionEnded,
    SessionLeft,
    SessionOpened,
    SessionReport,
    SessionResumed,
    Stated,
    StreamBegan,
    StreamFailed,
)
from supervisor.reports import ChildEnded, ChildRestarting, ChildStarted, Event, GaveUp
from transport.admin.state import ErrorRow, Moment, SessionRow, Timeline
from transport.observers import Observer
from transport.reporting import session_of

MOMENTS = 200  # of a session that are remembered
ENDED = 50  # sessions that have ended and can still be looked at
RATE_SECONDS, RATE_PARTS = 60.0, 12  # errors are counted in twelfths of a minute
MOST_DETAIL = 300  # characters of an error that are shown


class Chronicle(Observer):
    """Listens in the event loop. What it gives away is immutable.

    Finals that follow one another are one moment, so that two hundred moments reach back to what mattered. Of words it
    knows how many there were.

    Attributes:
        ended: the rows of sessions that have ended, oldest first.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._tales: dict[str, _Tale] = {}
        self._errors: dict[str, _Errors] = {}
        self.ended: OrderedDict[str, SessionRow] = OrderedDict()

    # ---- for whoever asks

    def timeline(self, session: str) -> Timeline | None:
        """One session's; callable from any thread. None: nothing is known of it."""
        tale = self._tales.get(session)
        return None if tale is None else tale.told

    def events(self, session: str) -> int:
        """How many moments it has had."""
        tale = self._tales.get(session)
        return 0 if tale is None else tale.told.events

    def errors(self) -> dict[str, ErrorRow]:
        """All there were, by code, the newest first."""
        now = self._clock()
        return {each.code: each.row(now) for each in sorted(self._errors.values(), key=lambda one: -one.last)}

    def forget_all_but(self, live: Container[str]) -> None:
        """Forget sessions that neither live nor have ended lately, such as those that never began."""
        for session in [one for one in self._tales if one not in live and one not in self.ended]:
            del self._tales[session]

    # ---- for who tells

    def tree(self, event: Event) -> None:
        session = session_of(event.path)
        if (tale := self._tales.get(session)) is None:
            return
        part = event.path[-1]
        match event:
            case ChildStarted(number=number) if number > 1:
                tale.add(self._clock(), "restarted", f"{part} is up again, life {number}")
            case ChildEnded(exit=exit) if exit.error is not None:
                tale.add(
                    self._clock(), "crashed", f"{part}: {_words(exit.error)}".removesuffix(": "), _code(exit.error)
                )
            case ChildRestarting(delay=delay) if delay > 0:
                tale.add(self._clock(), "waits", f"{part} starts again in {delay:.2g} s")
            case GaveUp():
                tale.add(self._clock(), "gave up", "its restarts are used up")
            case _:
                pass

    def pool(self, event: PoolEvent) -> None:
        if isinstance(event, SessionMoved) and (tale := self._tales.get(event.session)) is not None:
            tale.add(self._clock(), "moved", f"from {event.source} to {event.target}: {event.why.value}")

    def session(self, report: SessionReport) -> None:
        if isinstance(report, Said) and not report.is_final:
            return  # many a second of each session
        tale = self._tales.get(report.session)
        if tale is None:
            tale = self._tales[report.session] = _Tale()
        if isinstance(report, Said):
            tale.said(self._clock(), report)
            return
        what, text, code = _told(report)
        tale.add(self._clock(), what, text, code)
        if isinstance(report, SessionOpened):
            self.ended.pop(report.session, None)
        elif isinstance(report, SessionEnded):
            self._end(report, tale)

    def error(self, error: ErrorContext) -> None:
        group = self._errors.get(error.error_code)
        if group is None:
            group = self._errors[error.error_code] = _Errors(error.error_code, error.when)
        group.add(error)

    def _end(self, report: SessionEnded, tale: _Tale) -> None:
        now = self._clock()
        self.ended[report.session] = SessionRow(
            state=report.ending.value,
            since=round(now - report.age, 1),
            until=round(now, 1),
            received=round(report.audio, 1),
            code=report.code,
            events=tale.told.events,
        )
        while len(self.ended) > ENDED:
            session, _ = self.ended.popitem(last=False)
            self._tales.pop(session, None)


class _Tale:
    """A session's moments. `told` is replaced, never changed: another thread may read it."""

    __slots__ = ("_finals", "_words", "told")

    def __init__(self) -> None:
        self.told = Timeline()
        self._finals = self._words = 0  # of the last moment, if it is one of words

    def add(self, now: float, what: str, text: str, code: str | None = None) -> None:
        self._finals = self._words = 0
        before = self.told.moments[1 - MOMENTS :]
        self._tell((*before, Moment(at=round(now, 3), what=what, text=text, code=code)))

    def said(self, now: float, final: Said) -> None:
        before = self.told.moments[:-1] if self._finals else self.told.moments[1 - MOMENTS :]
        self._finals += 1
        self._words += final.words
        late = "" if final.latency is None else f", the last {final.latency:.2f} s after its audio"
        text = f"{_count(self._finals, 'final')} with {_count(self._words, 'word')} from {final.tier.value}{late}"
        self._tell((*before, Moment(at=round(now, 3), what="words", text=text)))

    def _tell(self, moments: tuple[Moment, ...]) -> None:
        self.told = Timeline(events=self.told.events + 1, moments=moments)


class _Errors:
    """Errors of one code."""

    def __init__(self, code: str, first: float) -> None:
        self.code = code
        self.last = self._first = first
        self._count = 0
        self._detail = self._where = ""
        self._parts: deque[tuple[int, int]] = deque(maxlen=RATE_PARTS)  # which twelfth, and how many in it

    def add(self, error: ErrorContext) -> None:
        self._count += 1
        self.last = error.when
        self._where = error.session_id or error.path or error.endpoint
        self._detail = "" if error.original_error is None else _words(error.original_error)
        part = int(error.when * RATE_PARTS / RATE_SECONDS)
        if self._parts and self._parts[-1][0] == part:
            self._parts[-1] = part, self._parts[-1][1] + 1
        else:
            self._parts.append((part, 1))

    def row(self, now: float) -> ErrorRow:
        entry = CATALOGUE[self.code]
        oldest = int(now * RATE_PARTS / RATE_SECONDS) - RATE_PARTS
        return ErrorRow(
            name=entry.name,
            severity=entry.severity.value,
            count=self._count,
            first=round(self._first, 1),
            last=round(self.last, 1),
            rate=sum(count for part, count in self._parts if part > oldest),
            meaning=entry.meaning,
            remedy=entry.remedy,
            detail=self._detail,
            where=self._where,
        )


def _told(report: SessionReport) -> tuple[str, str, str | None]:
    """What happened, in words, and the code if it was an error."""
    match report:
        case SessionOpened(epoch=epoch, claimed=claimed):
            return "opened", f"{'taken over from another server' if claimed else 'begun'}, epoch {epoch}", None
        case SessionResumed(epoch=epoch, away=away):
            whence = f"after {away:.1f} s" if away else "while the old connection was still there"
            return "resumed", f"its client is back {whence}, epoch {epoch}", None
        case SessionLeft():
            return "left", "the client's connection has ended; the session waits for it", None
        case SessionEnded(ending=ending, code=code, age=age, audio=audio):
            return "ended", f"{ending.value.replace('_', ' ')} after {age:.1f} s, {audio:.1f} s of audio", code
        case StreamBegan(endpoint=endpoint, tier=tier, replayed=replayed):
            again = f", which hears {replayed:.1f} s again" if replayed else ""
            return "stream", f"at {endpoint} ({tier.value}){again}", None
        case StreamFailed(code=code, attempt=attempt):
            return "stream lost", f"failure {attempt} in a row", code
        case Recovered(seconds=seconds, source=source, target=target, code=code):
            where = f"at {target}" if source == target else f"at {target}, was at {source}"
            return "recovered", f"first words {seconds:.2f} s after the stream was lost, {where}", code
        case AudioGivenUp(seconds=seconds, code=code):
            return "gap", f"{seconds:.1f} s of audio could not be transcribed", code
        case Stated(state=state, code=code):
            return "told", f"the client is told: {state}", code
        case Said():
            raise AssertionError("finals have a way of their own")


def _words(error: BaseException) -> str:
    """What it says besides its code, which is shown beside it."""
    if isinstance(error, SpeechError):
        text = str(error).removeprefix(f"{error.code} {error.entry.name}").removeprefix(": ")
    else:
        text = repr(error)
    return text if len(text) <= MOST_DETAIL else f"{text[:MOST_DETAIL]}…"


def _code(error: BaseException) -> str | None:
    return error.code if isinstance(error, SpeechError) else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
