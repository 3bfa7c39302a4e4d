"""A shell without tasks: drives a supervisor's core, with each child's behaviour scripted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from supervisor.commands import (
    Answer,
    Boot,
    ChildState,
    Command,
    Emit,
    Ended,
    Entry,
    Exited,
    Input,
    KillEntry,
    NotStarted,
    NotUp,
    Proven,
    RetryDue,
    RetryLater,
    Started,
    StartEntry,
    StopEntry,
    Up,
)
from supervisor.core import Core
from supervisor.errors import StartAborted
from supervisor.policy import PolicyTable
from supervisor.reports import Event, Exit, ExitKind
from supervisor.spec import Child, Options

SHUTDOWN, KILLED = Exit(ExitKind.SHUTDOWN), Exit(ExitKind.KILLED)


async def serve() -> None: ...


class Driver:
    """Carries commands out: children start (or fail as scripted) and stop when told.

    Args:
        starts: by id, what the next starts come to: None for success, else the error.
        slow: starts and stops take until `proceed`; otherwise they happen at once.
    """

    def __init__(
        self,
        children: Iterable[Child],
        options: Options,
        *,
        policies: PolicyTable | None = None,
        starts: dict[str, list[Exception | None]] | None = None,
        slow: bool = False,
    ) -> None:
        self.core = Core(("root",), children, options, policies or PolicyTable(), lambda: 0.0)
        self.now = 0.0
        self.starts = {id: deque(outcomes) for id, outcomes in (starts or {}).items()}
        self.events: list[Event] = []
        self.answers: dict[object, object] = {}
        self.pauses: list[tuple[RetryDue | Proven, float]] = []
        self.ended: list[Ended | NotUp] = []
        self.live: dict[str, int] = {}
        self._slow = slow
        self._pending: list[tuple[Entry, Input]] = []  # starts and stops under way
        self._inputs: deque[Input] = deque()
        self.send(Boot())

    def send(self, *inputs: Input) -> None:
        self._inputs.extend(inputs)
        while self._inputs:
            for command in self.core.receive(self._inputs.popleft(), self.now):
                self._carry_out(command)

    def exit(self, id: str, exit: Exit) -> None:
        """This child ends by itself."""
        entry = self.core.find(id)
        self.live.pop(id)
        self._pending = [pair for pair in self._pending if pair[0] is not entry]
        self.send(Exited(entry, entry.number, exit))

    def proceed(self) -> bool:
        """The oldest start or stop under way comes to its end; false if there was none."""
        if not self._pending:
            return False
        entry, outcome = self._pending.pop(0)
        self._settle(entry, outcome)
        self.send()
        return True

    def states(self) -> dict[str, tuple[ChildState, int]]:
        return {c.id: (c.state, c.number) for c in self.core.which_children()}

    def names(self) -> list[str]:
        """The events since the last call, as `ChildStarted a`."""
        events, self.events = self.events, []
        return [f"{type(e).__name__} {e.path[-1]}" for e in events]

    def _carry_out(self, command: Command) -> None:
        match command:
            case Emit():
                self.events.append(command.event)
            case StartEntry():
                self._start(command.entry)
            case StopEntry():
                self._later(command.entry, Exited(command.entry, command.entry.number, SHUTDOWN))
            case KillEntry():
                self._kill(command.entry)
            case RetryLater():
                self.pauses.append((command.due, command.delay))
            case Answer():
                assert command.reply not in self.answers, "answered twice"
                self.answers[command.reply] = command.error or command.value
            case NotUp() | Ended():
                self.ended.append(command)
            case Up():
                pass

    def _start(self, entry: Entry) -> None:
        assert entry.child.id not in self.live, "started while it lives"
        script = self.starts.get(entry.child.id)
        error = script.popleft() if script else None
        if error is not None:
            self._later(entry, NotStarted(entry, entry.number, error))
        else:
            self._later(entry, Started(entry, entry.number, f"{entry.child.id}{entry.number}"))

    def _kill(self, entry: Entry) -> None:
        """What is under way for it ends at once; without anything under way, it does."""
        under_way = [outcome for other, outcome in self._pending if other is entry]
        self._pending = [pair for pair in self._pending if pair[0] is not entry]
        if under_way and not isinstance(under_way[0], Exited):
            self._settle(entry, NotStarted(entry, entry.number, StartAborted()))
        elif entry.child.id in self.live:
            self._settle(entry, Exited(entry, entry.number, KILLED))

    def _later(self, entry: Entry, outcome: Input) -> None:
        if self._slow:
            self._pending.append((entry, outcome))
        else:
            self._settle(entry, outcome)

    def _settle(self, entry: Entry, outcome: Input) -> None:
        match outcome:
            case Started():
                self.live[entry.child.id] = entry.number
            case Exited() if self.live.pop(entry.child.id, None) is None:
                return  # its end is on its way already
        self._inputs.append(outcome)
