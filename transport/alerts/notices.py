"""What sinks are told, as values: the catalogue's words, configured names, figures; nothing that came from outside."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec

from actors.speech.catalogue import CATALOGUE, Severity

ALL = "ALL"  # in the place of a code: all errors together


class Key(NamedTuple):
    """What makes two alerts the same one.

    `component` is one of few: `backend:NAME`, a part of the server such as `journal` or `sessions`, or `server`.
    """

    host: str
    code: str
    component: str

    @property
    def severity(self) -> Severity:
        """The catalogue's; an unusual rate of errors that nobody else speaks of is worth a look."""
        return Severity.WARNING if self.code == ALL else max(CATALOGUE[self.code].severity, Severity.WARNING, key=rank)

    def __str__(self) -> str:
        return "/".join(("voxtree", *self))


class Kind(Enum):
    """Why there is an alert."""

    ERROR = "error"  # it happened, and is over when it has not happened for a while
    CONDITION = "condition"  # it lasts until something is as it was
    RATE = "rate"  # it happens more often than usual


class Phase(Enum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell about one alert.

    Attributes:
        times: how often it has happened since the alert began.
        age: seconds since then.
        repeat: its beginning was told before.
        lately, usual: how often in the last `window` seconds, and in others, of a `RATE`.
        when: seconds since 1970.
    """

    key: Key
    kind: Kind
    phase: Phase
    times: int
    age: float
    repeat: bool = False
    usual: float = 0.0
    lately: int = 0
    window: float = 0.0
    when: float = 0.0

    @property
    def severity(self) -> Severity:
        return self.key.severity

    @property
    def since(self) -> float:
        """When it began, in seconds since 1970."""
        return self.when - self.age

    @property
    def name(self) -> str:
        """The catalogue's name of the error."""
        return "ERRORS" if self.key.code == ALL else CATALOGUE[self.key.code].name

    @property
    def summary(self) -> str:
        """One line: what, and where."""
        if self.key.code == ALL:
            return f"unusually many errors on {self.key.host}"
        many = "unusually many " if self.kind is Kind.RATE else ""
        return f"{many}{self.name}: {self.key.component.replace(':', ' ')} on {self.key.host}"

    @property
    def story(self) -> str:
        """How often, or since when."""
        lasts = f"for {duration(self.age)}"
        match self.kind, self.phase:
            case _, Phase.RESOLVED:
                return f"over; it lasted {duration(self.age)}" + (f", {self.times} times" if self.times > 1 else "")
            case Kind.RATE, _:
                usual = f"{self.usual:.2g} are" if self.usual >= 0.5 else "hardly any is"
                return f"{self.lately} in the last {duration(self.window)}, {usual} usual; {self.times} {lasts}"
            case Kind.CONDITION, _:
                return f"lasts {lasts}" if self.repeat else "since now"
            case _:
                return f"{self.times} times {lasts}" if self.times > 1 else "once"

    @property
    def meaning(self) -> str:
        if self.key.code == ALL:
            return "More errors than usual, of several kinds; none of them is unusual for itself."
        return CATALOGUE[self.key.code].meaning

    @property
    def remedy(self) -> str:
        if self.key.code == ALL:
            return "Look at the log, or at `transcription_errors_total` by code."
        return CATALOGUE[self.key.code].remedy


def rank(severity: Severity) -> int:
    """By which severities are compared."""
    return list(Severity).index(severity)


def duration(seconds: float) -> str:
    """As people say it: `42 s`, `7 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
