"""What a supervisor raises, and the two exceptions a child raises to say how it ends."""

from __future__ import annotations

Path = tuple[str, ...]


class Ignore(Exception):
    """Raised by a child before it has started: it has nothing to do here. No failure; its spec is kept."""


class Shutdown(Exception):
    """Raised by a child that ends in good order, though not because its work is done. Never a failure."""


class SupervisorError(Exception):
    """Base of everything a supervisor raises."""


class InvalidSpec(SupervisorError, ValueError):
    """A child spec or a supervisor's options are not valid; nothing was started.

    Attributes:
        word: OTP's word for it, such as `bad_combination` or `duplicate_child_name`.
    """

    def __init__(self, word: str, text: str) -> None:
        super().__init__(text)
        self.word = word


class ChildError(SupervisorError):
    """A request about one child was refused, or failed.

    Attributes:
        path: the child concerned.
    """

    text = "child {path} cannot do this"

    def __init__(self, path: Path) -> None:
        super().__init__(self.text.format(path="/".join(path)))
        self.path = path


class NotFound(ChildError):
    """The supervisor has no child of this id."""

    text = "there is no child {path}"


class AlreadyStarted(ChildError):
    """A child of this id is running, or is just being started."""

    text = "child {path} is already running"


class AlreadyPresent(ChildError):
    """A child of this id is known and not running: use `restart_child`, or delete it first."""

    text = "child {path} is already there, not running"


class StillRunning(ChildError):
    """The child runs, and the request is for one that does not."""

    text = "child {path} is running"


class StillRestarting(ChildError):
    """The child waits for its next restart; `terminate_child` calls that off."""

    text = "child {path} is being restarted"


class NotRunning(ChildError):
    """The child has no running incarnation, so it has no value."""

    text = "child {path} is not running"


class NotDynamic(ChildError):
    """A dynamic supervisor forgets its children when they end: there is nothing to restart or to delete."""

    text = "child {path} belongs to a dynamic supervisor, which keeps no specs"


class MaxChildrenReached(ChildError):
    """The dynamic supervisor is full; children that wait for a restart count."""

    text = "no room for child {path}: max_children reached"


class SupervisorGone(ChildError):
    """The supervisor has ended, or is about to, and takes no more requests. `path` is the supervisor's."""

    text = "supervisor {path} has ended"


class StartFailed(ChildError):
    """A child did not come up. `__cause__` is the error it raised."""

    def __init__(self, path: Path, error: BaseException) -> None:
        super().__init__(path)
        self.args = (f"child {'/'.join(path)} failed to start: {error!r}",)
        self.error = error
        self.__cause__ = error


class CancelledFromOutside(SupervisorError):
    """A child ended by a cancellation that its supervisor did not ask for: an abnormal exit like any other.

    Out of the root's `async with`: somebody cancelled the tasks of the tree itself, so it was stopped.
    """


class StartAborted(SupervisorError):
    """The start was called off, because the child or its supervisor was told to stop meanwhile."""


class Escalated(SupervisorError):
    """The root supervisor gave up, or an error's policy is to escalate. `__cause__` is that last error.

    Attributes:
        path: the supervisor that ended.
        child: the child whose end was one too many.
    """

    def __init__(self, path: Path, child: Path, error: BaseException | None) -> None:
        because = f": {error!r}" if error is not None else ""
        super().__init__(f"supervisor {'/'.join(path)} gave up on child {'/'.join(child)}{because}")
        self.path = path
        self.child = child
        self.error = error
