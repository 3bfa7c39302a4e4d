"""One supervisor's decisions: what comes in, and the time, give commands. No waiting, no tasks, no clock.

Deaths and requests go through one inbox and are dealt with one at a time, each to its end, in the order
they came. Under a dynamic supervisor children know no order, so there each child has its own procedure: a
slow start or stop of one keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import assert_never

from supervisor.commands import (
    Boot,
    ChildCount,
    ChildInfo,
    ChildState,
    Command,
    DeleteChild,
    Entry,
    Exited,
    Input,
    Inspect,
    Kill,
    KillEntry,
    NotStarted,
    Outcome,
    Pending,
    Proven,
    Request,
    RestartChild,
    Resume,
    RetryDue,
    StartChild,
    Started,
    Steps,
    Stop,
    Suspend,
    TerminateChild,
)
from supervisor.errors import NotFound, Path, SupervisorGone
from supervisor.lives import Phase, words
from supervisor.policy import PolicyTable
from supervisor.reports import BreakerClosed, ChildEnded, Exit, ExitKind
from supervisor.requests import Requests
from supervisor.spec import Child, Options


class Core(Requests):
    """The state machine. `receive` is its one entrance; the queries look without touching.

    Args:
        path: the supervisor's own.
        random: numbers in [0, 1), for the jitter of backoffs.
        context: what the shell keeps with each child of `children`.
    """

    def __init__(
        self,
        path: Path,
        children: Iterable[Child],
        options: Options,
        policies: PolicyTable,
        random: Callable[[], float],
        context: object = None,
    ) -> None:
        super().__init__(path, children, options, policies, random, context)
        self._suspended = False

    def receive(self, what: Input, now: float) -> list[Command]:
        """Take one input at monotonic time `now` (seconds) and say what to do about it."""
        self._now = now
        match what:
            case Started() | NotStarted():
                self._resume(what.entry, what)
            case Exited():
                self._on_exit(what)
            case Proven():
                self._on_proven(what)
            case Boot() | RetryDue():
                self._inbox.append(what)
            case Stop():
                self._on_stop(what)
            case Kill():
                self._on_kill()
            case Suspend():
                self._suspended = not self._stopping  # what ends hears of its end
            case Resume():
                self._suspended = False
            case _:
                self._on_request(what)
        self._pump()
        out, self._out = self._out, []
        return out

    def which_children(self) -> tuple[ChildInfo, ...]:
        """The children in start order, as they are now, whatever is still under way."""
        entries = self._entries.values()
        return tuple(ChildInfo(e.child.id, e.state, e.number, e.child.supervises) for e in entries)

    def count_children(self) -> ChildCount:
        entries = self._entries.values()
        supervisors = sum(e.child.supervises for e in entries)
        active = sum(e.state in (ChildState.RUNNING, ChildState.STOPPING) for e in entries)
        return ChildCount(len(entries), active, supervisors, len(entries) - supervisors)

    def entries(self) -> Iterable[Entry]:
        return self._entries.values()

    def restarts(self, now: float) -> int:
        """How many restarts lie in the window."""
        return self._window.count(now)

    def find(self, id: str) -> Entry:
        entry = self._entries.get(id)
        if entry is None:
            raise NotFound((*self.path, id))
        return entry

    def _on_exit(self, what: Exited) -> None:
        entry = what.entry
        error = what.exit.error
        entry.last_exit = what.exit.kind.value if error is None else f"{what.exit.kind.value}, {words(error)}"
        self._emit(ChildEnded(path=entry.path, number=what.number, exit=what.exit))
        if entry.waiter is not None:
            self._resume(entry, what)
            return
        entry.exit = what.exit
        if entry.state is ChildState.RUNNING:
            self._inbox.append(what)

    def _on_proven(self, what: Proven) -> None:
        entry = what.entry
        if entry.probe is None or entry.number != what.number or entry.exit is not None:
            return
        if entry.probe.proven(entry):
            self._emit(BreakerClosed(path=entry.path, number=entry.number, breaker=entry.probe.name))
        entry.probe = None

    def _on_stop(self, what: Stop) -> None:
        """Queue the stop, but let no start that is under way, or still to come, hold it up."""
        if not self._stopping and self.phase is not Phase.ENDED:
            self._stopping = True
            self._suspended = False
            self._abort_starts()
            self._inbox.append(what)

    def _on_kill(self) -> None:
        self._on_stop(Stop(Exit(ExitKind.KILLED)))
        self._brutal = True
        for entry in self._entries.values():
            if entry.exit is None and entry.state in (ChildState.RUNNING, ChildState.STOPPING):
                entry.state = ChildState.STOPPING
                self._out.append(KillEntry(entry))

    def _on_request(self, what: Request) -> None:
        if self.phase in (Phase.ENDING, Phase.ENDED):
            self._answer(what.reply, error=SupervisorGone(self.path))
        else:
            self._inbox.append(what)

    def _pump(self) -> None:
        while self._inbox and not self._suspended and (self._concurrent or not self._busy):
            self._run(self._handle(self._inbox.popleft()))
        if self._dynamic and self.phase is Phase.ENDING and not self._entries:
            self._finish()

    def _resume(self, entry: Entry, outcome: Outcome) -> None:
        steps, entry.waiter = entry.waiter, None
        if steps is not None:
            self._advance(steps, outcome)

    def _handle(self, item: Pending) -> Steps | None:
        match item:
            case Exited():
                return self._on_death(item)
            case RetryDue():
                return self._on_retry(item)
            case StartChild():
                return self._start_child(item)
            case TerminateChild():
                return self._terminate_child(item)
            case RestartChild():
                return self._restart_child(item)
            case DeleteChild():
                self._delete_child(item)
                return None
            case Inspect():
                self._answer(item.reply, self.which_children())
                return None
            case Boot():
                return self._boot()
            case Stop():
                return self._end(item.exit)
            case _:
                assert_never(item)
