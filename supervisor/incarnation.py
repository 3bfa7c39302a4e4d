"""One life of one child: the task it runs in, how it is asked to stop, and what its end is taken for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, cast

import anyio

from supervisor.commands import Entry, Exited, NotStarted, Started
from supervisor.errors import CancelledFromOutside, Path, Shutdown, StartAborted, SupervisorError
from supervisor.policy import Directive, PolicyTable
from supervisor.reports import ChildUnstoppable, ErrorSurvived, Event, Exit, ExitKind
from supervisor.timers import Timer, Timers

KILL_GRACE = 1.0  # seconds between a cancel and giving a child up; enough for clean-up that is itself bounded

logger = logging.getLogger("supervisor")


class Keeper(Protocol):
    """What an incarnation needs of its supervisor."""

    policies: PolicyTable

    @property
    def timers(self) -> Timers: ...

    def deliver(self, what: Started | NotStarted | Exited) -> None: ...

    def emit(self, event: Event) -> None: ...

    def fatal(self, error: BaseException) -> None: ...

    def broken(self, defect: Exception) -> None: ...

    def leaked(self, path: Path, *, still: bool) -> None: ...


class Incarnation:
    """What a child knows of itself, given to `start` as `task_status`: anyio's own convention, and more.

    Attributes:
        path: names from the root down, as `("root", "sessions", "session:s1", "recogniser")`.
        number: 1 for this child's first incarnation.
    """

    __slots__ = (
        "_asked",
        "_callbacks",
        "_entry",
        "_keeper",
        "_killed",
        "_over",
        "_scope",
        "_timer",
        "_up",
        "number",
        "path",
    )

    def __init__(self, entry: Entry, keeper: Keeper, scope: anyio.CancelScope) -> None:
        self.path: Path = entry.path
        self.number = entry.number
        self._entry = entry
        self._keeper = keeper
        self._scope = scope
        self._callbacks: tuple[Callable[[], None], ...] = ()
        self._timer: Timer | None = None
        self._up = False
        self._asked = False  # to stop, politely
        self._killed = False  # no longer politely
        self._over = False  # its end was told

    # ---- for the child

    def started(self, value: object = None) -> None:
        """Say that the start succeeded; `value` is what `start_child` returns and `value()` shows.

        Register `on_stop` before this: from here on the child may be asked to stop.
        """
        if self._up:
            raise RuntimeError(f"child {'/'.join(self.path)} called started() twice")
        self._up = True
        if not self._over:
            self._keeper.deliver(Started(self._entry, self.number, value))

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, once, when the supervisor wants this child to stop.

        The child then has its spec's `shutdown` seconds to end. A child that registers nothing is cancelled
        instead, and has those seconds for its clean-up.
        """
        self._callbacks = (*self._callbacks, callback)
        if self._asked:
            callback()

    async def stop_requested(self) -> None:
        """Sleep until the supervisor wants this child to stop."""
        asked = anyio.Event()
        self.on_stop(asked.set)
        await asked.wait()

    def directive(self, error: Exception) -> Directive:
        """What the supervisor's policy table says about `error`; RESTART if it has none."""
        return self._keeper.policies.lookup(error).directive

    def report(self, error: Exception) -> None:
        """Tell the listeners of an error that this child survives."""
        self._keeper.emit(ErrorSurvived(path=self.path, number=self.number, error=error))

    @property
    def timers(self) -> Timers:
        """The clock of the whole tree: for deadlines without a task for each."""
        return self._keeper.timers

    def emit(self, event: Event) -> None:
        """Tell the listeners of something else that this child saw; from the event loop's thread."""
        self._keeper.emit(event)

    # ---- for its supervisor

    def ask(self, seconds: float) -> None:
        """Ask it to stop; kill it if it has not ended after `seconds`."""
        self._asked = True
        if not (self._callbacks and self._call_back()):
            self._scope.cancel()
        if not (self._over or self._killed) and seconds != float("inf"):
            self._timer = self._keeper.timers.after(seconds, self.kill)

    def kill(self) -> None:
        """Cancel it; give it up if it has not ended after `KILL_GRACE`."""
        if self._over or self._killed:
            return
        self._killed = True
        self._scope.cancel()
        self._cancel_timer()
        self._timer = self._keeper.timers.after(KILL_GRACE, self._abandon)

    def bury(self) -> None:
        """Its task was cancelled before its first step."""
        self._conclude(CancelledFromOutside("cancelled before it ran"))

    async def live(self) -> None:
        """The child's whole life. Never raises, so that no child can take another one along."""
        error: BaseException | None = None
        try:
            with self._scope:
                if not self._scope.cancel_called:
                    child = self._entry.child
                    await (child.start(task_status=self) if child.takes_status else child.start())
        except GeneratorExit:
            raise
        except Exception as raised:
            error = _single(raised)
        except anyio.get_cancelled_exc_class() as raised:
            if not self._scope.cancel_called:
                error = CancelledFromOutside("cancelled, but not by its supervisor")
                error.__cause__ = raised
        except BaseException as raised:
            error = raised
        self._conclude(error)
        if error is not None and not isinstance(error, Exception):
            # KeyboardInterrupt, SystemExit: not a child's affair. All stop in order, then it is raised at the root.
            self._keeper.fatal(error)

    def _call_back(self) -> bool:
        try:
            for callback in self._callbacks:
                callback()
        except Exception:
            extra = {"event": "tree.on_stop_failed"}
            logger.exception("on_stop of child %s failed; it is cancelled", "/".join(self.path), extra=extra)
            return False
        except BaseException as error:
            self._keeper.fatal(error)
            return False
        return True

    def _conclude(self, error: BaseException | None) -> None:
        try:
            self._finish(error)
        except Exception as defect:  # the supervisor's own
            self._keeper.broken(defect)

    def _finish(self, error: BaseException | None) -> None:
        if self._over:  # given up before
            self._keeper.leaked(self.path, still=False)
            return
        self._over = True
        self._cancel_timer()
        if self._up:
            self._keeper.deliver(Exited(self._entry, self.number, self._exit(error)))
        else:
            self._keeper.deliver(NotStarted(self._entry, self.number, self._start_error(error)))

    def _exit(self, error: BaseException | None) -> Exit:
        if self._killed and (self._scope.cancelled_caught or error is not None or not self._asked):
            return Exit(ExitKind.KILLED, error)
        if isinstance(error, Shutdown):
            return Exit(ExitKind.SHUTDOWN, error)
        if error is not None:
            return Exit(ExitKind.CRASHED, error)
        return Exit(ExitKind.SHUTDOWN if self._asked else ExitKind.NORMAL)

    def _start_error(self, error: BaseException | None) -> BaseException:
        if error is None and self._scope.cancel_called:
            return StartAborted("it was told to stop before it had started")
        return error or SupervisorError("it returned without having called started()")

    def _abandon(self) -> None:
        self._keeper.emit(ChildUnstoppable(path=self.path, number=self.number))
        self._keeper.leaked(self.path, still=True)
        self._asked = False  # so that its end counts as a kill
        self._finish(None)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _single(error: Exception) -> Exception:
    """What a group of exactly one holds: a child's own task group must not hide the error from its policy."""
    while len(held := _held(error)) == 1:
        error = held[0]
    return error


def _held(error: Exception) -> tuple[Exception, ...]:
    """The errors of a group; none if it is not one."""
    return cast("ExceptionGroup[Exception]", error).exceptions if isinstance(error, ExceptionGroup) else ()
