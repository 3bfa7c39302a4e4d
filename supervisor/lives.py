"""What a supervisor knows of its children, and how it starts and stops one of them.

A generator yields the child whose start or end it waits for, and is sent what came of it. Nothing here
waits, sleeps or starts anything: commands go to `_out`, and time is `_now`.
"""

from __future__ import annotations

import reprlib
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable
from enum import Enum
from typing import TypeAlias, TypeVar

from supervisor.commands import (
    Answer,
    ChildState,
    Command,
    Emit,
    Entry,
    Exited,
    KillEntry,
    Outcome,
    Pending,
    Proven,
    RetryLater,
    Started,
    StartEntry,
    Steps,
    StopEntry,
)
from supervisor.errors import (
    Escalated,
    Ignore,
    Path,
    Shutdown,
    StartAborted,
)
from supervisor.policy import PolicyTable
from supervisor.reports import (
    ChildIgnored,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildStopping,
    Event,
    Exit,
    ExitKind,
    Occasion,
)
from supervisor.spec import BRUTAL_KILL, Child, Options, Restart, Strategy
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


class Lives:
    """The state of one supervisor, and the lives of its children one by one."""

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
        self.path = path
        self._boot_list = tuple(children)
        self._boot_context = context
        self._options = options
        self._policies = policies
        self._random = random
        self._dynamic = options.strategy is Strategy.DYNAMIC
        self._concurrent = self._dynamic and not options.one_at_a_time
        self._window = Window(options.intensity)
        self._entries: dict[str, Entry] = {}  # in start order
        self._significant: OrderedDict[str, Entry] = OrderedDict()  # in no order that matters
        self._inbox: deque[Pending] = deque()  # of a hundred thousand children that die at once, for one
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

    def _add(self, child: Child, context: object, name: str) -> Entry:
        entry = self._entries[child.id] = Entry((*self.path, name), child, context)
        if child.significant:
            self._significant[child.id] = entry
        return entry

    def _remove(self, entry: Entry) -> None:
        self._release_probe(entry)
        del self._entries[entry.child.id]
        self._significant.pop(entry.child.id, None)
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
            self._release_probe(entry)
            self._emit(ChildIgnored(path=entry.path, number=entry.number))
            return None
        entry.last_exit = f"not started, {words(outcome.error)}"
        self._emit(ChildStartFailed(path=entry.path, number=entry.number, error=outcome.error, occasion=occasion))
        return outcome.error

    def _started(self, entry: Entry, outcome: Started) -> Waiting[BaseException | None]:
        entry.state = RUNNING
        entry.value = outcome.value
        entry.error = None
        entry.since = self._now
        self._emit(ChildStarted(path=entry.path, number=entry.number))
        if entry.probe is not None:
            self._out.append(RetryLater(Proven(entry, entry.number), entry.probe.proven_after))
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
        self._release_probe(entry)
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

    def _release_probe(self, entry: Entry) -> None:
        if entry.probe is not None:
            entry.probe.release(entry)
            entry.probe = None

    def _abort(self, entry: Entry) -> None:
        entry.doomed = True
        self._out.append(KillEntry(entry))

    def _abort_starts(self) -> None:
        for entry in self._entries.values():
            if entry.state is STARTING and not entry.doomed:
                self._abort(entry)


_brief = reprlib.Repr()
_brief.maxother = 160  # a line in a rendered tree, and a bound on what a dead child leaves behind


def words(error: BaseException) -> str:
    """The error in a few words, whatever its own `repr` does."""
    return _brief.repr(error)


def _unexpected(exit: Exit, child: Child) -> bool:
    """Whether this end of a child that was told to stop is worth a report."""
    match exit.kind:
        case ExitKind.NORMAL:
            return child.restart is Restart.PERMANENT
        case ExitKind.SHUTDOWN:
            says_why = isinstance(exit.error, Shutdown) and bool(exit.error.args)
            unasked = child.shutdown is BRUTAL_KILL  # then it had ended by itself already
            return (says_why or unasked) and child.restart is Restart.PERMANENT
        case ExitKind.KILLED:
            return child.shutdown is not BRUTAL_KILL
        case _:
            return True
