"""What happens to backends, as values: logs and metrics listen. And how they stand, for whoever asks."""

from __future__ import annotations

from enum import Enum

import msgspec

from actors.speech.errors import SpeechError
from actors.speech.ports import Tier
from supervisor.breaker import BreakerState


class Health(Enum):
    """What was last heard of an endpoint."""

    UNKNOWN = "unknown"  # nothing yet
    READY = "ready"  # it answered
    SUSPECT = "suspect"  # something failed, and it has not answered since


class Why(Enum):
    """What moved a session from one backend to another."""

    FAILOVER = "failover"  # its stream failed
    RETURN = "return"  # a better tier is back
    RELIEF = "relief"  # its backend is to be left: drained, removed, or overloaded
    ROTATION = "rotation"  # its stream ended in order, and another backend was free


class _PoolEvent(msgspec.Struct, frozen=True, kw_only=True):
    name: str  # the backend's


class BackendJoined(_PoolEvent, frozen=True):
    """It is configured from now on."""


class BackendDrained(_PoolEvent, frozen=True):
    """It gets no new streams, and those it has move on; `leaving`: it is no longer configured."""

    leaving: bool


class BackendUndrained(_PoolEvent, frozen=True):
    """It gets streams again."""


class BackendLeft(_PoolEvent, frozen=True):
    """Its last stream has ended, and it is forgotten."""


class BackendUp(_PoolEvent, frozen=True):
    """It answers, after so many seconds in which it did not (0.0: it was never asked before)."""

    seconds: float


class BackendDown(_PoolEvent, frozen=True):
    """It does not answer, or only with this error."""

    error: SpeechError

    @property
    def code(self) -> str:
        """The error's."""
        return self.error.code


class BackendRests(_PoolEvent, frozen=True):
    """It gets no new streams for so many seconds, since it said so with this error."""

    code: str
    seconds: float


class AdmissionLowered(_PoolEvent, frozen=True):
    """It carried more than it could: it gets at most so many streams, slowly more."""

    streams: int


class BreakerOpened(_PoolEvent, frozen=True):
    """Too much failed: it gets no stream for so many seconds, then one that tries."""

    code: str
    seconds: float


class BreakerClosed(_PoolEvent, frozen=True):
    """It has proved itself."""


class QuotaSpent(_PoolEvent, frozen=True):
    """Its quota is used up: nothing of this key is asked for anything for so many seconds."""

    key: str
    seconds: float


class QuotaFreed(msgspec.Struct, frozen=True, kw_only=True):
    """The quota of this key grants streams again."""

    key: str


class ModelMissing(_PoolEvent, frozen=True):
    """It has no model for what a session asked for. Such sessions are not sent there for some minutes."""

    language: str
    model: str
    error: SpeechError

    @property
    def code(self) -> str:
        """The error's."""
        return self.error.code


class SessionMoved(msgspec.Struct, frozen=True, kw_only=True):
    """A session's new stream is at another backend than its last one was."""

    session: str
    source: str
    target: str
    why: Why


PoolEvent = (
    BackendJoined
    | BackendDrained
    | BackendUndrained
    | BackendLeft
    | BackendUp
    | BackendDown
    | BackendRests
    | AdmissionLowered
    | BreakerOpened
    | BreakerClosed
    | QuotaSpent
    | QuotaFreed
    | ModelMissing
    | SessionMoved
)


class BackendState(msgspec.Struct, frozen=True, kw_only=True):
    """How one endpoint stands.

    Attributes:
        streams, cap: lent now, and at most now; `cap` lies below `max_streams` after the endpoint ran out of memory.
        health_seconds, breaker_seconds: for how long it has been so; None: from the start.
        rest_seconds: until it may get streams again, as far as that is a matter of time: quota, cool-down, breaker.
        probe_seconds: until it is asked next whether it works; None: that is no matter of time.
        drained: it gets no new streams by order; `leaving`: for good.
        last_code: of the last error it was blamed for; `last_code_seconds` ago.
    """

    name: str
    tier: Tier
    health: Health
    health_seconds: float | None
    breaker: BreakerState
    breaker_seconds: float | None
    streams: int
    cap: int
    max_streams: int
    rest_seconds: float
    probe_seconds: float | None
    drained: bool
    leaving: bool
    last_code: str | None
    last_code_seconds: float | None


class PoolState(msgspec.Struct, frozen=True):
    """All backends, and how many sessions wait for one."""

    backends: tuple[BackendState, ...]
    waiting: int
