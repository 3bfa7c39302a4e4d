"""A supervisor's shell: does what its core says, and is what its children and its nested supervisors talk to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import Context
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, assert_never, cast

import anyio

from supervisor.commands import (
    Answer,
    Boot,
    ChildState,
    Command,
    Emit,
    Ended,
    Entry,
    Input,
    KillEntry,
    NotStarted,
    NotUp,
    Request,
    RetryLater,
    StartEntry,
    Stop,
    StopEntry,
    Up,
)
from supervisor.core import Core
from supervisor.errors import Path
from supervisor.incarnation import Incarnation, logger
from supervisor.links import Link, ParentLink, Reply
from supervisor.lives import Phase
from supervisor.policy import PolicyTable
from supervisor.reports import Event, Exit, ExitKind
from supervisor.root import Root
from supervisor.snapshot import Snapshot
from supervisor.spec import (
    BrutalKill,
    Child,
    Options,
)
from supervisor.timers import Timers

Listener = Callable[[Event], None]
ORDERLY = Exit(ExitKind.SHUTDOWN)
# A child that is up at once has answered when its caller's next turn comes, and then no event is needed, which would
# cost one more. Trio runs the tasks of a turn in random order: hence twice.
TURNS_FOR_AN_ANSWER = 2


class Shell:
    """Gives the core its inputs, one at a time, and carries its commands out.

    Attributes:
        name: the last part of its path.
        policies: what to do about which error.
    """

    def __init__(
        self,
        name: str,
        children: tuple[Child, ...],
        options: Options,
        policies: PolicyTable | None,
        on_event: Listener | None,
    ) -> None:
        options.check(children)
        self.name = name
        self.policies = policies or PolicyTable()
        self._children = children
        self._options = options
        self._on_event = on_event
        self._parent: Shell | None = None
        self._link: Link | None = None
        self._waiters: anyio.Event | None = None
        self._inputs: list[Input] = []  # nearly always empty, when a deque takes 0.7 KiB
        self._delivering = False
        self._root = cast("Root", _NotEntered(name))
        self._core = cast("Core", _NotEntered(name))

    def stop_soon(self, exit: Exit = ORDERLY) -> None:
        """Begin to stop this supervisor and all below it, in order; `exit` is what its own supervisor sees.

        Callable from anywhere in the event loop's thread, a child or a signal handler included.
        """
        self.deliver(Stop(exit))

    @property
    def timers(self) -> Timers:
        return self._root.timers

    def snapshot(self, number: int = 1, last_exit: str | None = None, *, folded: Collection[Path] = ()) -> Snapshot:
        """This supervisor and all below it as they are this moment, whatever is under way. Costs as much as they are.

        Args:
            number, last_exit: what only its own supervisor knows of it.
            folded: supervisors whose children are left out, because they are many.
        """
        core, now = self._core, self._root.loop.now()
        return Snapshot(
            path=core.path,
            state=_STATES[core.phase],
            number=number,
            last_exit=last_exit,
            strategy=self._options.strategy,
            restarts=core.restarts(now),
            intensity=self._options.intensity,
            children=() if core.path in folded else tuple(_snapshot(entry, now, folded) for entry in core.entries()),
        )

    def boot(self) -> None:
        self.deliver(Boot())

    def fatal(self, error: BaseException) -> None:
        self._root.fatal(error)

    def broken(self, defect: Exception) -> None:
        self._root.broken(defect)

    def leaked(self, path: Path, *, still: bool) -> None:
        self._root.leaked(path, still=still)

    def emit(self, event: Event) -> None:
        """Tell every listener from here up."""
        node: Shell | None = self
        while node is not None:
            if node._on_event is not None:
                self._tell(node._on_event, event)
            node = node._parent

    def _tell(self, listener: Listener, event: Event) -> None:
        try:
            listener(event)
        except Exception:
            logger.exception("a listener failed on %r", event, extra={"event": "listener.failed"})
        except BaseException as error:
            self.fatal(error)

    def deliver(self, what: Input) -> None:
        """Give the core an input and carry out its commands. Re-entrant: what comes up meanwhile waits
        its turn."""
        now = self._root.loop.now
        self._inputs.append(what)
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._inputs:
                for command in self._core.receive(self._inputs.pop(0), now()):
                    self._carry_out(command)
        finally:
            self._delivering = False

    def _attach(self, root: Root, path: Path, link: Link, context: Context) -> None:
        self._root = root
        self._link = link
        self._core = Core(path, self._children, self._options, self.policies, root.random, context)

    async def _request(self, request: Request, reply: Reply) -> Any:
        self.deliver(request)
        for _ in range(TURNS_FOR_AN_ANSWER):
            if not reply.done:
                await self._root.loop.turn()
        return await reply.result()

    def _carry_out(self, command: Command) -> None:
        match command:
            case Emit():
                self.emit(command.event)
            case StartEntry():
                self._start(command.entry)
            case StopEntry():
                assert not isinstance(command.entry.child.shutdown, BrutalKill)
                command.entry.life.ask(command.entry.child.shutdown)
            case KillEntry():
                command.entry.life.kill()
            case RetryLater():
                self.timers.after(command.delay, partial(self.deliver, command.due))
            case Answer():
                assert isinstance(command.reply, Reply)
                command.reply.set(command.value, command.error)
            case Up() | NotUp() | Ended():
                self._tell_above(command)
            case _:
                assert_never(command)

    def _start(self, entry: Entry) -> None:
        if isinstance(entry.child.start, Nested):
            self._start_nested(entry, entry.child.start)
            return
        loop = self._root.loop
        life = entry.life = Incarnation(entry, self, loop.new_scope())
        loop.start(life, "/".join(entry.path), entry.context)
        if not entry.child.takes_status:
            life.started()

    def _start_nested(self, entry: Entry, nested: Nested) -> None:
        try:
            supervisor = nested.build()
        except BaseException as error:  # the user's function, or InvalidSpec: a failed start like any other
            self.deliver(NotStarted(entry, entry.number, error))
            if not isinstance(error, Exception):
                self.fatal(error)
            return
        link = entry.life = ParentLink(self, entry, supervisor)
        supervisor._parent = self
        supervisor._attach(self._root, entry.path, link, entry.context)
        supervisor.boot()

    def _tell_above(self, command: Up | NotUp | Ended) -> None:
        assert self._link is not None
        if not isinstance(command, Up) and self._waiters is not None:
            self._waiters.set()
        match command:
            case Up():
                self._link.up()
            case NotUp():
                self._link.not_up(command.error)
            case Ended():
                self._link.ended(command.exit, command.cause)


_STATES = {
    Phase.BOOTING: ChildState.STARTING,
    Phase.UP: ChildState.RUNNING,
    Phase.ENDING: ChildState.STOPPING,
    Phase.ENDED: ChildState.STOPPED,
}


def _snapshot(entry: Entry, now: float, folded: Collection[Path]) -> Snapshot:
    alive = entry.state in (ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING)
    if alive and isinstance(entry.life, ParentLink):
        below = entry.life.supervisor.snapshot(entry.number, entry.last_exit, folded=folded)
        return replace(below, state=entry.state)
    return Snapshot(
        path=entry.path,
        state=entry.state,
        number=entry.number,
        last_exit=entry.last_exit,
        restarts=entry.budget.count(now) if entry.budget is not None else 0,
        intensity=entry.child.budget,
    )


class _NotEntered:
    """Stands where a supervisor's core and root will be."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        raise RuntimeError(f"supervisor {self._name!r} runs only while it is entered: `async with`, or as a child")


class Nested:
    """The `start` of a child that is a supervisor. Its parent does not call it but builds it: it needs no task."""

    __slots__ = ("build",)
    supervises = True

    def __init__(self, build: Callable[[], Shell]) -> None:
        self.build = build

    async def __call__(self) -> None:
        raise TypeError("a nested supervisor is started by the supervisor it is a child of")
