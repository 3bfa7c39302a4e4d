"""How one speaks with a sink, and what its answer means. Each dialect is a pure function of what is to be told."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec

from actors.speech.catalogue import Severity
from transport.alerts.notices import ALL, Notice
from transport.expected import ExpectedError

LONGEST_WISH = 3600.0  # seconds that a sink may ask us to wait


class Request(msgspec.Struct, frozen=True):
    """A POST of JSON. `url` and `headers` hold secrets."""

    url: str
    body: bytes
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"<Request of {len(self.body)} bytes>"


class Answer(NamedTuple):
    """An HTTP answer. `retry_after`: seconds."""

    status: int
    retry_after: float | None = None


class Unreachable(ExpectedError):
    """There was no answer. Says why in a few words, without an address."""


class Verdict(Enum):
    DELIVERED = "delivered"
    AGAIN = "again"  # later
    REFUSED = "refused"  # not again


class Dialect(Protocol):
    """How to speak with one kind of sink.

    Attributes:
        burst: requests that it takes at once.
        batch: it takes several notices in one request.
        remembers: it need not be told again and again of what lasts.
    """

    burst: int
    batch: bool
    remembers: bool

    def request(self, notices: Sequence[Notice], when: float) -> Request:
        """Tell these, at so many seconds since 1970."""


def verdict(answer: Answer) -> Verdict:
    """What HTTP's statuses mean to whoever has something to tell."""
    if 200 <= answer.status < 300:
        return Verdict.DELIVERED
    if answer.status in (408, 425, 429) or answer.status >= 500:
        return Verdict.AGAIN
    return Verdict.REFUSED


def retry_after(header: str | None, now: float) -> float | None:
    """The seconds of a Retry-After header, which may be a date; None: it says nothing."""
    if header is None:
        return None
    try:
        seconds = float(header) if header.strip().isdecimal() else parsedate_to_datetime(header).timestamp() - now
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_WISH)


def timestamp(when: float) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + f".{int(when * 1000) % 1000:03}Z"


def link(runbook: str | None, notice: Notice) -> str | None:
    """Where the error is explained."""
    if runbook is None or notice.key.code == ALL:
        return runbook
    return f"{runbook}#{notice.key.code.lower()}"


LEVELS: Mapping[Severity, str] = {severity: severity.value.lower() for severity in Severity}
