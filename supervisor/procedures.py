"""What a supervisor does about deaths and requests, step by step: supervisor.erl's functions, as generators.

A generator yields the child whose start or end it waits for, and is sent what came of it. Nothing here
waits, sleeps or starts anything: commands go to `_out`, and time is `_now`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from enum import Enum
from typing import TypeAlias, TypeVar

from supervisor.commands import (
    Answer,
    ChildState,
    Command,
    DeleteChild,
    Emit,
    Ended,
    Entry,
    Exited,
    KillEntry,
    NotUp,
    Outcome,
    Pending,
    Request,
    RestartChild,
    RetryDue,
    RetryLater,
    StartChild,
    Started,
    StartEntry,
    Steps,
    StopEntry,
    TerminateChild,
    Up,
)
from supervisor.errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildError,
    Escalated,
    Ignore,
    InvalidSpec,
    MaxChildrenReached,
    NotDynamic,
    NotFound,
    Path,
    Shutdown,
    StartAborted,
    StartFailed,
    StillRestarting,
    StillRunning,
    SupervisorGone,
)
from supervisor.policy import RESTART, Directive, Policy, PolicyTable
from supervisor.reports import (
    ChildFailed,
    ChildIgnored,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildStopping,
    ErrorEscalated,
    Event,
    Exit,
    ExitKind,
    GaveUp,
    Occasion,
    SignificantEnded,
)
from supervisor.spec import BRUTAL_KILL, AutoShutdown, Child, Options, Restart, Strategy
from supervisor.window import Window

STOPPED, STARTING, RUNNING, RESTARTING, STOPPING = ChildState
T = TypeVar("T")
Waiting: TypeAlias = Generator[Entry, Outcome, T]


class Phase(Enum):
    """Where the supervisor itself stands."""

    BOOTING = "booting"
    UP = "up"
    ENDING = "ending"
    ENDED = "ended"


class Procedures:
    """The state of one supervisor, and the procedures that change it. `supervisor.core.Core` runs them."""

    def __init__(
        self,
        path: Path,
        children: Iterable[Child],
        options: Options,
        policies: PolicyTable,
        random: Callable[[], float],
        context: object,
    ) -> None:
        self.phase = Phase.BOOTING
        self._path = path
        self._boot_list = tuple(children)
        self._boot_context = context
        self._options = options
        self._policies = policies
        self._random = random
        self._dynamic = options.strategy is Strategy.DYNAMIC
        self._concurrent = self._dynamic and not options.one_at_a_time
        self._window = Window(options.intensity)
        self._entries: dict[str, Entry] = {}  # in start order
        self._inbox: deque[Pending] = deque()
        self._out: list[Command] = []
        self._busy = 0  # procedures under way
        self._stopping = False  # no new starts
        self._brutal = False  # no more asking
        self._exit = Exit(ExitKind.SHUTDOWN)
        self._cause: Escalated | None = None
        self._now = 0.0

    def _emit(self, event: Event) -> None:
        self._out.append(Emit(event))

    def _answer(self, reply: object, value: object = None, error: Exception | None = None) -> None:
        self._out.append(Answer(reply, value, error))

    def _run(self, steps: Steps | None) -> None:
        if steps is not None:
            self._busy += 1
            self._advance(steps, None)

    def _advance(self, steps: Steps, outcome: Outcome | None) -> None:
        try:
            entry = next(steps) if outcome is None else steps.send(outcome)
        except StopIteration:
            self._busy -= 1
        else:
            entry.waiter = steps

    # ---- one child

    def _add(self, child: Child, context: object) -> Entry:
        entry = self._entries[child.id] = Entry((*self._path, child.id), child, context)
        return entry

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.child.id]
        for reply in entry.joined:
            self._answer(reply)

    def _forgets(self, entry: Entry) -> bool:
        return self._dynamic or entry.child.restart is Restart.TEMPORARY

    def _start(self, entry: Entry, occasion: Occasion) -> Waiting[BaseException | None]:
        """Start it; the error if that failed. A child that declined is STOPPED afterwards, without an
        error."""
        if self._stopping:
            return StartAborted("its supervisor is stopping")
        entry.number += 1
        entry.state = STARTING
        entry.doomed = False
        self._out.append(StartEntry(entry))
        outcome = yield entry
        if isinstance(outcome, Started):
            return (yield from self._started(entry, outcome))
        assert not isinstance(outcome, Exited)
        entry.state = STOPPED
        if isinstance(outcome.error, Ignore):
            self._emit(ChildIgnored(path=entry.path, number=entry.number))
            return None
        self._emit(ChildStartFailed(path=entry.path, number=entry.number, error=outcome.error, occasion=occasion))
        return outcome.error

    def _started(self, entry: Entry, outcome: Started) -> Waiting[BaseException | None]:
        entry.state = RUNNING
        entry.value = outcome.value
        entry.since = self._now
        self._emit(ChildStarted(path=entry.path, number=entry.number))
        if entry.doomed:
            yield from self._stop(entry)
            return StartAborted("it was told to stop meanwhile")
        return None

    def _stop(self, entry: Entry) -> Waiting[None]:
        """Stop it, whatever it is doing; afterwards it is STOPPED."""
        ended = entry.exit
        if ended is None and entry.state in (RUNNING, STOPPING):
            if entry.state is RUNNING:
                self._ask_to_stop(entry)
            outcome = yield entry
            assert isinstance(outcome, Exited)
            ended = outcome.exit
        entry.exit = None
        entry.value = None
        entry.state = STOPPED  # this also calls off a pending retry
        if ended is not None and _unexpected(ended, entry.child):
            self._emit(ChildStopFailed(path=entry.path, number=entry.number, exit=ended))

    def _ask_to_stop(self, entry: Entry) -> None:
        entry.state = STOPPING
        if self._brutal or entry.child.shutdown is BRUTAL_KILL:
            self._out.append(KillEntry(entry))
        else:
            self._emit(ChildStopping(path=entry.path, number=entry.number))
            self._out.append(StopEntry(entry))

    def _stop_and_forget(self, entry: Entry) -> Waiting[None]:
        yield from self._stop(entry)
        if self._forgets(entry):
            self._remove(entry)

    def _abort(self, entry: Entry) -> None:
        entry.doomed = True
        self._out.append(KillEntry(entry))

    def _abort_starts(self) -> None:
        for entry in self._entries.values():
            if entry.state is STARTING and not entry.doomed:
                self._abort(entry)

    # ---- the whole supervisor

    def _boot(self) -> Steps:
        for child in self._boot_list:
            entry = self._add(child, self._boot_context)
            error = yield from self._start(entry, Occasion.BOOT)
            if error is not None:
                self._remove(entry)
                yield from self._stop_all()
                self._close()
                self._out.append(NotUp(StartFailed(entry.path, error)))
                return
            if entry.state is STOPPED and self._forgets(entry):
                self._remove(entry)
        self.phase = Phase.UP
        self._out.append(Up())

    def _stop_all(self) -> Waiting[None]:
        for entry in reversed(self._entries.values()):
            yield from self._stop(entry)

    def _end(self, exit: Exit, cause: Escalated | None = None) -> Steps:
        """Stop all children, in reverse start order or (dynamic) all at once, and end with `exit`."""
        self.phase = Phase.ENDING
        self._stopping = True
        self._exit, self._cause = exit, cause
        if not self._dynamic:
            yield from self._stop_all()
            self._finish()
            return
        self._abort_starts()
        for entry in tuple(self._entries.values()):
            if entry.waiter is None:  # those with one are being stopped, or their start is being called off
                self._run(self._stop_and_forget(entry))

    def _finish(self) -> None:
        self._close()
        self._out.append(Ended(self._exit, self._cause))

    def _close(self) -> None:
        self.phase = Phase.ENDED
        for item in self._inbox:
            if isinstance(item, Request):
                self._answer(item.reply, error=SupervisorGone(self._path))
        self._inbox.clear()

    # ---- deaths and restarts

    def _on_death(self, item: Exited) -> Steps | None:
        entry = item.entry
        if entry.exit is not item.exit:
            return None  # dealt with already, when it was to be stopped
        entry.exit = None
        entry.value = None
        entry.state = STOPPED
        if entry.child.restart is Restart.PERMANENT or item.exit.abnormal:
            self._emit(ChildFailed(path=entry.path, number=entry.number, exit=item.exit))
        return self._decide(entry, item.exit.error, item.exit.abnormal)

    def _on_retry(self, item: RetryDue) -> Steps | None:
        entry = item.entry
        if entry.state is not RESTARTING or entry.token != item.token:
            return None  # called off
        if item.counted:
            return self._restart_group(entry)
        return self._decide(entry, entry.error, abnormal=True)

    def _decide(self, entry: Entry, error: BaseException | None, abnormal: bool) -> Steps:
        """By policy and restart type: end the supervisor, restart the child, or leave it."""
        policy = self._policies.lookup(error) if abnormal else RESTART
        if error is not None and not isinstance(error, Exception):
            policy = Policy(Directive.STOP)  # KeyboardInterrupt, SystemExit: the whole tree is about to end
        if policy.directive is Directive.ESCALATE:
            yield from self._escalate(entry, error)
            return
        abnormal = abnormal and policy.directive is not Directive.CONTINUE
        restart = entry.child.restart
        wanted = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and abnormal)
        if wanted and policy.directive is not Directive.STOP:
            yield from self._restart(entry, error, policy)
        else:
            yield from self._retire(entry)

    def _escalate(self, entry: Entry, error: BaseException | None) -> Steps:
        entry.state = STOPPED
        self._emit(ErrorEscalated(path=self._path, child=entry.path, error=error))
        cause = Escalated(self._path, entry.path, error)
        yield from self._end(Exit(ExitKind.CRASHED, error or cause), cause)

    def _retire(self, entry: Entry) -> Steps:
        """It is not restarted. That may be the end of the supervisor too (auto_shutdown)."""
        entry.state = STOPPED
        if self._forgets(entry):
            self._remove(entry)
        if entry.child.significant and not self._significant_left():
            self._emit(SignificantEnded(path=self._path, child=entry.path))
            yield from self._end(Exit(ExitKind.SHUTDOWN))

    def _significant_left(self) -> bool:
        if self._options.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT:
            return False
        return any(e.child.significant and e.state is not STOPPED for e in self._entries.values())

    def _restart(self, entry: Entry, error: BaseException | None, policy: Policy) -> Steps:
        if not self._window.allow(self._now):
            entry.state = STOPPED
            self._emit(GaveUp(path=self._path, child=entry.path, error=error))
            cause = Escalated(self._path, entry.path, error)
            yield from self._end(Exit(ExitKind.SHUTDOWN, cause), cause)
            return
        delay = self._delay(entry, error, policy)
        self._emit(ChildRestarting(path=entry.path, number=entry.number, error=error, delay=delay))
        if delay == 0.0:
            yield from self._restart_group(entry)
            return
        # What depends on the failed child stops now; it would only meet its absence.
        yield from self._stop_group(entry)
        self._out.append(RetryLater(self._await_retry(entry, error, counted=True), delay))

    def _delay(self, entry: Entry, error: BaseException | None, policy: Policy) -> float:
        if policy.backoff is None:
            return 0.0
        if entry.since is not None and self._now - entry.since >= policy.backoff.reset_after:
            entry.attempts = 0
        entry.since = None
        entry.attempts += 1
        return policy.delay(error, entry.attempts - 1, self._random)

    def _await_retry(self, entry: Entry, error: BaseException | None, *, counted: bool) -> RetryDue:
        entry.state = RESTARTING
        entry.error = error
        entry.token += 1
        return RetryDue(entry, entry.token, counted)

    def _group(self, entry: Entry) -> list[Entry]:
        """Who is restarted when `entry` fails, in start order."""
        match self._options.strategy:
            case Strategy.ONE_FOR_ALL:
                return list(self._entries.values())
            case Strategy.REST_FOR_ONE:
                entries = list(self._entries.values())
                return entries[entries.index(entry) :]
            case _:
                return [entry]

    def _stop_group(self, entry: Entry) -> Waiting[None]:
        for other in reversed(self._group(entry)):
            if other is not entry:
                yield from self._stop(other)
                if self._forgets(other):
                    self._remove(other)

    def _restart_group(self, entry: Entry) -> Steps:
        yield from self._stop_group(entry)
        for one in self._group(entry):
            error = yield from self._start(one, Occasion.RESTART)
            if error is not None and self._dynamic and (one.doomed or self._stopping):
                self._remove(one)
            elif error is not None:
                self._inbox.append(self._await_retry(one, error, counted=False))
                return
            elif one.state is STOPPED and self._forgets(one):
                self._remove(one)

    # ---- requests

    def _start_child(self, item: StartChild) -> Steps:
        refusal = self._refusal(item.child)
        if refusal is not None:
            self._answer(item.reply, error=refusal)
            return
        entry = self._add(item.child, item.context)
        error = yield from self._start(entry, Occasion.CALL)
        if error is not None or (entry.state is STOPPED and self._forgets(entry)):
            self._remove(entry)
        self._answer_start(entry, item.reply, error)

    def _answer_start(self, entry: Entry, reply: object, error: BaseException | None) -> None:
        if error is not None:
            self._answer(reply, error=StartFailed(entry.path, error))
        else:
            self._answer(reply, entry.value)

    def _refusal(self, child: Child) -> Exception | None:
        try:
            self._options.check_child(child)
        except InvalidSpec as error:
            return error
        path = (*self._path, child.id)
        known = self._entries.get(child.id)
        if known is not None:
            return (AlreadyPresent if known.state in (STOPPED, RESTARTING) else AlreadyStarted)(path)
        limit = self._options.max_children
        return MaxChildrenReached(path) if limit is not None and len(self._entries) >= limit else None

    def _terminate_child(self, item: TerminateChild) -> Steps:
        entry = self._entries.get(item.id)
        if entry is None:
            # A dynamic child that is not there has ended already, which is what was asked for.
            error = None if self._dynamic else NotFound((*self._path, item.id))
            self._answer(item.reply, error=error)
        elif entry.waiter is not None:  # dynamic only: it is being started or stopped
            entry.joined.append(item.reply)
            if entry.state is STARTING and not entry.doomed:
                self._abort(entry)
        else:
            yield from self._stop_and_forget(entry)
            self._answer(item.reply)

    def _restart_child(self, item: RestartChild) -> Steps:
        entry, refusal = self._stopped(item.id)
        if entry is None:
            self._answer(item.reply, error=refusal)
            return
        error = yield from self._start(entry, Occasion.CALL)
        self._answer_start(entry, item.reply, error)

    def _delete_child(self, item: DeleteChild) -> None:
        entry, refusal = self._stopped(item.id)
        if entry is not None:
            self._remove(entry)
        self._answer(item.reply, error=refusal)

    def _stopped(self, id: str) -> tuple[Entry | None, ChildError | None]:
        """The child if it is there and not running, else why the request for it is refused."""
        path = (*self._path, id)
        entry = self._entries.get(id)
        if self._dynamic:
            return None, NotDynamic(path)
        if entry is None:
            return None, NotFound(path)
        if entry.state is STOPPED:
            return entry, None
        return None, (StillRestarting if entry.state is RESTARTING else StillRunning)(path)


def _unexpected(exit: Exit, child: Child) -> bool:
    """Whether this end of a child that was told to stop is worth a report."""
    match exit.kind:
        case ExitKind.NORMAL:
            return child.restart is Restart.PERMANENT
        case ExitKind.SHUTDOWN:
            says_why = isinstance(exit.error, Shutdown) and bool(exit.error.args)
            return says_why and child.restart is Restart.PERMANENT
        case ExitKind.KILLED:
            return child.shutdown is not BRUTAL_KILL
        case _:
            return True
