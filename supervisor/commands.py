"""What goes into a supervisor's core, and what comes out of it."""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from supervisor.errors import Escalated, Path
from supervisor.policy import Gate
from supervisor.reports import Event, Exit
from supervisor.spec import Child
from supervisor.window import Window


class ChildState(Enum):
    """Where a child stands with its supervisor."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"  # between a failure and the next attempt
    STOPPING = "stopping"


class Entry:
    """One child as its supervisor's core sees it. Shells use it as a handle, with `context` and `life`
    theirs."""

    __slots__ = (
        "attempts",
        "breaker",
        "budget",
        "child",
        "context",
        "doomed",
        "error",
        "exit",
        "joined",
        "last_exit",
        "life",
        "number",
        "path",
        "probe",
        "since",
        "state",
        "token",
        "value",
        "waiter",
    )

    def __init__(self, path: Path, child: Child, context: Any = None) -> None:
        self.path = path
        self.child = child
        self.state = ChildState.STOPPED
        self.number = 0  # incarnations so far, failed starts included
        self.value: object = None  # what the running incarnation started with
        self.since: float | None = None  # when it started, until a pause was based on it
        self.exit: Exit | None = None  # it has ended, and nothing was done about that yet
        self.error: BaseException | None = None  # why it is RESTARTING
        self.attempts = 0  # restarts since it last lived long enough, for the backoff
        self.token = 0  # tells a pending retry from an older one
        self.budget = Window(child.budget) if child.budget is not None else None
        self.breaker: Gate | None = None  # whom to ask before the next restart
        self.probe: Gate | None = None  # whose probe it is
        self.last_exit: str | None = None  # in words: the error itself would keep all the frames it came through
        self.doomed = False  # to be stopped as soon as it has started
        self.joined: tuple[object, ...] = ()  # replies due when it has stopped
        self.waiter: Steps | None = None  # the procedure that waits for it
        self.context = context
        self.life: Any = None


# ---- in


class Boot(msgspec.Struct, frozen=True):
    """Start the children."""


class Started(msgspec.Struct, frozen=True):
    """The start of this incarnation succeeded."""

    entry: Entry
    number: int
    value: object = None


class NotStarted(msgspec.Struct, frozen=True):
    """The start of this incarnation failed, or was declined (`Ignore`)."""

    entry: Entry
    number: int
    error: BaseException


class Exited(msgspec.Struct, frozen=True):
    """This incarnation, once started, has ended."""

    entry: Entry
    number: int
    exit: Exit


class RetryDue(msgspec.Struct, frozen=True):
    """The pause before a restart is over, or there was none."""

    entry: Entry
    token: int
    counted: bool  # the restart is already in the window


class Proven(msgspec.Struct, frozen=True):
    """This incarnation has lived as long as the breaker wants, whose probe it is."""

    entry: Entry
    number: int


class StartChild(msgspec.Struct, frozen=True):
    child: Child
    reply: object
    context: object = None  # what the shell wants to keep with the child


class TerminateChild(msgspec.Struct, frozen=True):
    id: str
    reply: object


class RestartChild(msgspec.Struct, frozen=True):
    id: str
    reply: object


class DeleteChild(msgspec.Struct, frozen=True):
    id: str
    reply: object


class Inspect(msgspec.Struct, frozen=True):
    """which_children, in its turn."""

    reply: object


class Stop(msgspec.Struct, frozen=True):
    """Stop the children in order and end, with `exit`."""

    exit: Exit


class Kill(msgspec.Struct, frozen=True):
    """Cancel all children now and end."""


class Suspend(msgspec.Struct, frozen=True):
    """Only collect from now on what comes in."""


class Resume(msgspec.Struct, frozen=True):
    """Work through what has come in."""


Request: TypeAlias = StartChild | TerminateChild | RestartChild | DeleteChild | Inspect
Pending: TypeAlias = Boot | Exited | RetryDue | Request | Stop  # what waits in a core's inbox
Input: TypeAlias = Boot | Started | NotStarted | Exited | RetryDue | Proven | Request | Stop | Kill | Suspend | Resume

# ---- out


class StartEntry(msgspec.Struct, frozen=True):
    """Start this child's next incarnation; answer with Started or NotStarted."""

    entry: Entry


class StopEntry(msgspec.Struct, frozen=True):
    """Ask it to stop, within its spec's `shutdown`; answer with Exited."""

    entry: Entry


class KillEntry(msgspec.Struct, frozen=True):
    """Cancel it, started or not; answer with NotStarted or Exited."""

    entry: Entry


class RetryLater(msgspec.Struct, frozen=True):
    """Give back `due` in `delay` seconds."""

    due: RetryDue | Proven
    delay: float


class Answer(msgspec.Struct, frozen=True):
    """Answer a request."""

    reply: object
    value: object = None
    error: Exception | None = None


class Emit(msgspec.Struct, frozen=True):
    event: Event


class Up(msgspec.Struct, frozen=True):
    """All children have started."""


class NotUp(msgspec.Struct, frozen=True):
    """A child did not start; those before it have been stopped again, and the supervisor has ended."""

    error: Exception


class Ended(msgspec.Struct, frozen=True):
    """Every child has been stopped; the supervisor is no more."""

    exit: Exit
    cause: Escalated | None  # if it gave up or escalated


Command: TypeAlias = StartEntry | StopEntry | KillEntry | RetryLater | Answer | Emit | Up | NotUp | Ended

Outcome: TypeAlias = Started | NotStarted | Exited
Steps: TypeAlias = Generator[Entry, Outcome, None]


class ChildInfo(msgspec.Struct, frozen=True):
    """A line of `which_children`. `number` is that of the latest incarnation, 0 before the first."""

    id: str
    state: ChildState
    number: int
    supervises: bool


class ChildCount(msgspec.Struct, frozen=True):
    """What `count_children` answers: `active` are those with a live incarnation."""

    specs: int
    active: int
    supervisors: int
    workers: int
