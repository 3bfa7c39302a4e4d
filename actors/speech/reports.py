"""What happens to sessions, as values: metrics, traces and the console listen. The session never reads them back.

`supervisor.reports` has what happens in the tree, `actors.speech.backends.events` what happens to backends.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from actors.speech.ports import Tier


class Ending(Enum):
    """How a session ended."""

    COMPLETED = "completed"  # all was said, and its client heard it
    CLIENT_GONE = "client_gone"  # its client did not come back in time
    TAKEN_OVER = "taken_over"  # another server, or a new session of its id, has it
    DRAINED = "drained"  # this server stops; it can be resumed elsewhere
    FAILED = "failed"  # an error ended it


class _Report(msgspec.Struct, frozen=True, kw_only=True):
    session: str  # its id


class SessionOpened(_Report, frozen=True):
    """It is there. `epoch` is the journal's; `claimed`: another server, or an earlier life of this one, had it."""

    epoch: int
    claimed: bool = False


class SessionResumed(_Report, frozen=True):
    """A client has come back to it after so many seconds without one (0.0: it took over from a connected one)."""

    epoch: int
    away: float


class SessionLeft(_Report, frozen=True):
    """Its client's connection has ended; it waits for the client to come back."""


class SessionEnded(_Report, frozen=True):
    """It is over. `code`: of the error that ended it; `age`: seconds; `audio`: seconds of audio it took."""

    ending: Ending
    code: str | None
    age: float
    audio: float


class StreamBegan(_Report, frozen=True):
    """A backend hears it. `replayed`: seconds of audio that another stream had heard and not settled."""

    endpoint: str
    tier: Tier
    number: int
    replayed: float


class StreamFailed(_Report, frozen=True):
    """Its stream is lost, with this error; `attempt`: failures in a row, from 1."""

    code: str
    attempt: int


class Recovered(_Report, frozen=True):
    """The first words after a stream was lost, so many seconds after that.

    `source` and `target` are endpoints, maybe the same; `code`: of the error that took the stream.
    """

    seconds: float
    source: str
    target: str
    code: str


class Said(_Report, frozen=True):
    """Words. `latency`: seconds from the arrival of the last audio they cover, None if that is not known.

    `words` counts those of a final; nobody reports the words themselves.
    """

    is_final: bool
    latency: float | None
    words: int
    tier: Tier


class AudioGivenUp(_Report, frozen=True):
    """So many seconds of audio could not be transcribed; a `gap` says which."""

    seconds: float
    code: str


class Stated(_Report, frozen=True):
    """What the client is told of how the words are getting on: `streaming`, `recovering`, `degraded`, `delayed`."""

    state: str
    code: str | None


SessionReport = (
    SessionOpened
    | SessionResumed
    | SessionLeft
    | SessionEnded
    | StreamBegan
    | StreamFailed
    | Recovered
    | Said
    | AudioGivenUp
    | Stated
)
Listener = Callable[[SessionReport], None]
