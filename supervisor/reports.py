"""What happens in a tree, as values. Logs and metrics listen; supervision itself never reads them back.

Every event has the `path` of whom it is about, from the root's name down, and the `number` of its
incarnation. A supervisor is a child of its parent like any other; the root's own start and end are told
with its path too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from supervisor.errors import Path


class ExitKind(Enum):
    NORMAL = "normal"  # it returned
    SHUTDOWN = "shutdown"  # it ended as asked, or raised Shutdown; or a supervisor that gave up
    CRASHED = "crashed"  # it raised
    KILLED = "killed"  # it was cancelled without being asked, or did not end in time when asked


@dataclass(frozen=True, slots=True)
class Exit:
    """How an incarnation ended; `error` is what it raised, if it did."""

    kind: ExitKind
    error: BaseException | None = None

    @property
    def abnormal(self) -> bool:
        """Whether a transient child is restarted for it."""
        return self.kind in (ExitKind.CRASHED, ExitKind.KILLED)


class Occasion(Enum):
    """What a start was part of."""

    BOOT = "boot"  # the supervisor's own start
    RESTART = "restart"
    CALL = "call"  # start_child, restart_child


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    path: Path
    number: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStarted(_Event):
    """It is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildIgnored(_Event):
    """It declined to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStartFailed(_Event):
    """It did not come up. Tried again only after a restart."""

    error: BaseException
    occasion: Occasion


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStopping(_Event):
    """Its supervisor asks it to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnded(_Event):
    """It is no more; told as soon as it is known, before anything is done about it."""

    exit: Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFailed(_Event):
    """It ended by itself and should not have: any exit of a permanent child, abnormal ones of the others."""

    exit: Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStopFailed(_Event):
    """It was told to stop and ended in another way: it raised, or it had to be cancelled."""

    exit: Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildUnstoppable(_Event):
    """It goes on in spite of being cancelled, and was given up: its task leaks until it ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRestarting(_Event):
    """A restart was counted, within the budget; `number` is the incarnation that ended, `delay` in seconds.

    `error` is why: what the child raised, None if it just returned.
    """

    error: BaseException | None
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpent(_Event):
    """It failed more often than its own budget allows, and is not restarted any more."""

    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(_Event):
    """The failure of this child opened the circuit breaker of this name for so many seconds."""

    breaker: str
    error: BaseException | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerProbed(_Event):
    """The circuit breaker is half open: this child is the one that tries."""

    breaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(_Event):
    """This child, the probe, has lived long enough: all may try again."""

    breaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlocked(_Event):
    """The event loop has stood still for so many seconds, so far; `stack` is where, as in a traceback.

    Told to the watchdog's own callback from its thread at that moment; to the tree's listeners once the loop goes on.
    """

    seconds: float
    stack: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRecovered(_Event):
    """The event loop goes on, after so many seconds in all."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSurvived(_Event):
    """The child reports an error that its policy lets it survive."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp(_Event):
    """The supervisor at `path` is over its restart budget because of `child`: it stops its children and
    ends."""

    child: Path
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEscalated(_Event):
    """The supervisor at `path` ends with the error of `child`, as the policy says."""

    child: Path
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignificantEnded(_Event):
    """The supervisor at `path` shuts itself down because the significant child `child` has ended."""

    child: Path


Event: TypeAlias = (
    ChildStarted
    | ChildIgnored
    | ChildStartFailed
    | ChildStopping
    | ChildEnded
    | ChildFailed
    | ChildStopFailed
    | ChildUnstoppable
    | ChildRestarting
    | ErrorSurvived
    | GaveUp
    | ErrorEscalated
    | SignificantEnded
    | BudgetSpent
    | BreakerOpened
    | BreakerProbed
    | BreakerClosed
    | LoopBlocked
    | LoopRecovered
)
