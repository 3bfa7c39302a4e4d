"""The supervisor as its users see it: a core that decides, and this shell, which does what the core says."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Self, assert_never

import anyio

from supervisor.commands import (
    Answer,
    Boot,
    ChildCount,
    ChildInfo,
    ChildState,
    Command,
    DeleteChild,
    Emit,
    Ended,
    Entry,
    Input,
    Inspect,
    KillEntry,
    NotStarted,
    NotUp,
    Request,
    RestartChild,
    Resume,
    RetryLater,
    StartChild,
    StartEntry,
    Stop,
    StopEntry,
    Suspend,
    TerminateChild,
    Up,
)
from supervisor.core import Core
from supervisor.errors import NotRunning, Path
from supervisor.incarnation import Incarnation, logger
from supervisor.links import Link, ParentLink, Reply, RootLink
from supervisor.policy import PolicyTable
from supervisor.procedures import Phase
from supervisor.reports import Event, Exit, ExitKind
from supervisor.root import Root
from supervisor.spec import (
    INFINITY,
    AutoShutdown,
    BrutalKill,
    Child,
    Intensity,
    Options,
    Restart,
    Strategy,
)
from supervisor.timers import Timers

Listener = Callable[[Event], None]
ORDERLY = Exit(ExitKind.SHUTDOWN)


class Supervisor:
    """Starts its children in order, restarts those that fail, and stops them in reverse order.

    The root of a tree is entered: `async with Supervisor([...]) as tree:`. Entering returns when all children
    have started, leaving stops them; whatever ends the body (an error, a cancellation), the children are
    stopped in order first. Others are children: `Supervisor.child(...)`.

    Args:
        children: in start order. A dynamic supervisor begins without any.
        name: the first part of every path.
        strategy: who is restarted together.
        intensity: the restart budget. Beyond it the supervisor gives up: it stops its children and ends, so
            that its own supervisor decides. The root's body is cancelled then, and `Escalated` comes out of
            the `async with`.
        auto_shutdown: whether it ends when its significant children have. The root's body goes on; see `wait`.
        max_children: for dynamic supervisors; children that wait for a restart count.
        one_at_a_time: for dynamic supervisors: deal with one child at a time, to the end, as OTP does.
            Otherwise a child that is slow to start or to stop keeps no other waiting.
        policies: what to do about which error; without a table restart types alone decide, as in OTP.
        on_event: told of all that happens in this supervisor and below it. Called synchronously, so it must be
            quick; what it raises is logged and otherwise ignored.
        on_leak: for the root. Python cannot kill a task: a child that ignores even its cancellation is given
            up (`ChildUnstoppable`), and the others are stopped in spite of it, but its task keeps the
            `async with` from being left. When all else has ended this is called, once, with the paths of such
            children: the place to end the process (`os._exit`). By default a critical log line names them.

    Raises:
        InvalidSpec: the arguments do not fit together.
        StartFailed: on entering: a child did not start; those before it have been stopped again.
        Escalated: on leaving: it gave up.
    """

    def __init__(
        self,
        children: Iterable[Child] = (),
        *,
        name: str = "root",
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = Intensity(),  # noqa: B008  (frozen)
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        max_children: int | None = None,
        one_at_a_time: bool = False,
        policies: PolicyTable | None = None,
        on_event: Listener | None = None,
        on_leak: Callable[[list[Path]], None] | None = None,
    ) -> None:
        self.name = name
        self.policies = policies or PolicyTable()
        self._children = tuple(children)
        self._options = Options(
            strategy=strategy,
            intensity=intensity,
            auto_shutdown=auto_shutdown,
            max_children=max_children,
            one_at_a_time=one_at_a_time,
        )
        self._options.check(self._children)
        self._on_event = on_event
        self._on_leak = on_leak or _log_leak
        self._parent: Supervisor | None = None
        self._link: Link | None = None
        self._session: AbstractAsyncContextManager[None] | None = None
        self._waiters: anyio.Event | None = None
        self._inputs: deque[Input] = deque()
        self._delivering = False

    @classmethod
    def child(
        cls,
        id: str,
        children: Iterable[Child] | Callable[[], Iterable[Child]] = (),
        *,
        restart: Restart = Restart.PERMANENT,
        shutdown: float | BrutalKill = INFINITY,
        significant: bool = False,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = Intensity(),  # noqa: B008  (frozen)
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        max_children: int | None = None,
        one_at_a_time: bool = False,
        policies: PolicyTable | None = None,
        on_event: Listener | None = None,
    ) -> Child:
        """A supervisor as a child of another one, made afresh for each incarnation.

        Its started value is the nested `Supervisor`. Its own arguments are checked when it is started, as
        OTP does:
        what is wrong with them is the `InvalidSpec` behind a `StartFailed`.

        Args:
            children: as for `Supervisor`, or a function that makes them anew for each incarnation. What it
                raises is the start's error; `Ignore` declines to start.
        """
        fixed = () if callable(children) else tuple(children)

        def build() -> Supervisor:
            return cls(
                children() if callable(children) else fixed,
                name=id,
                strategy=strategy,
                intensity=intensity,
                auto_shutdown=auto_shutdown,
                max_children=max_children,
                one_at_a_time=one_at_a_time,
                policies=policies,
                on_event=on_event,
            )

        return Child(id, _Nested(build), restart=restart, shutdown=shutdown, significant=significant)

    async def __aenter__(self) -> Self:
        if self._link is not None:
            raise RuntimeError(f"supervisor {self.name!r} cannot be entered twice")
        root = Root(random.random, self._on_leak)
        self._attach(root, (self.name,), RootLink(self, self.name, root), copy_context())
        self._session = root.session(self)
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._session is not None
        return await self._session.__aexit__(kind, error, traceback)

    # ---- requests, answered in the order in which they are made

    async def start_child(self, child: Child) -> Any:
        """Start a child, the last in order, and return what it started with (None if it declined).

        It inherits the caller's context variables, and keeps them over restarts. A caller cancelled while
        waiting leaves the child behind, supervised.

        Raises:
            StartFailed: it did not come up; nothing of it is kept. Not retried.
            AlreadyStarted, AlreadyPresent: the id is in use, running or not.
            MaxChildrenReached, InvalidSpec, SupervisorGone
        """
        reply = Reply()
        return await self._request(StartChild(child, reply, copy_context()), reply)

    async def terminate_child(self, id: str) -> None:
        """Stop a child, or call off its pending restart. The spec is kept, unless it is temporary or dynamic.

        Raises:
            NotFound: there is none of this id. (A dynamic supervisor takes it as having ended already.)
            SupervisorGone
        """
        reply = Reply()
        await self._request(TerminateChild(id, reply), reply)

    async def restart_child(self, id: str) -> Any:
        """Start a child that is not running, and return what it started with. Costs no restart budget.

        Raises:
            StartFailed: it did not come up; the spec is kept.
            StillRunning, StillRestarting, NotFound, NotDynamic, SupervisorGone
        """
        reply = Reply()
        return await self._request(RestartChild(id, reply), reply)

    async def delete_child(self, id: str) -> None:
        """Forget the spec of a child that is not running.

        Raises:
            StillRunning, StillRestarting, NotFound, NotDynamic, SupervisorGone
        """
        reply = Reply()
        await self._request(DeleteChild(id, reply), reply)

    async def inspect(self) -> tuple[ChildInfo, ...]:
        """`which_children`, but in its turn: after all that was asked before."""
        reply = Reply()
        children: tuple[ChildInfo, ...] = await self._request(Inspect(reply), reply)
        return children

    # ---- queries, answered at once, whatever is under way

    def which_children(self) -> tuple[ChildInfo, ...]:
        """The children in start order, as they are this moment."""
        return self._core.which_children()

    def count_children(self) -> ChildCount:
        return self._core.count_children()

    def value(self, id: str) -> Any:
        """What the child's live incarnation started with.

        Raises:
            NotFound, NotRunning
        """
        entry = self._core.find(id)
        if entry.state not in (ChildState.RUNNING, ChildState.STOPPING):
            raise NotRunning(entry.path)
        return entry.value

    # ---- the end

    def stop_soon(self, exit: Exit = ORDERLY) -> None:
        """Begin to stop this supervisor and all below it, in order; `exit` is what its own supervisor sees.

        Callable from anywhere in the event loop's thread, a child or a signal handler included.
        """
        self.deliver(Stop(exit))

    async def stop(self) -> None:
        """Stop this supervisor and all below it, in order, and wait for the end. Not to be awaited by a
        child."""
        self.stop_soon()
        await self.wait()

    async def wait(self) -> None:
        """Wait until this supervisor has ended, for whatever reason."""
        while self._core.phase is not Phase.ENDED:
            self._waiters = self._waiters or anyio.Event()
            await self._waiters.wait()

    def suspend(self) -> None:
        """Let deaths and requests pile up unheard until `resume`: OTP's sys:suspend, for debugging and
        tests."""
        self.deliver(Suspend())

    def resume(self) -> None:
        """Work through what has piled up, in the order it came."""
        self.deliver(Resume())

    # ---- the shell: for Incarnation, Root and nested supervisors

    @property
    def timers(self) -> Timers:
        return self._root.timers

    def boot(self) -> None:
        self.deliver(Boot())

    def fatal(self, error: BaseException) -> None:
        self._root.fatal(error)

    def leaked(self, path: Path, *, still: bool) -> None:
        self._root.leaked(path, still=still)

    def emit(self, event: Event) -> None:
        """Tell every listener from here up."""
        node: Supervisor | None = self
        while node is not None:
            if node._on_event is not None:
                _tell(node._on_event, event)
            node = node._parent

    def deliver(self, what: Input) -> None:
        """Give the core an input and carry out its commands. Re-entrant: what comes up meanwhile waits
        its turn."""
        self._inputs.append(what)
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._inputs:
                for command in self._core.receive(self._inputs.popleft(), anyio.current_time()):
                    self._carry_out(command)
        finally:
            self._delivering = False

    def _attach(self, root: Root, path: Path, link: Link, context: Context) -> None:
        self._root = root
        self._link = link
        self._core = Core(path, self._children, self._options, self.policies, root.random, context)

    async def _request(self, request: Request, reply: Reply) -> Any:
        self.deliver(request)
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
        if isinstance(entry.child.start, _Nested):
            self._start_nested(entry, entry.child.start)
            return
        life = entry.life = Incarnation(entry, self)
        entry.context.run(partial(self._root.group.start_soon, life.live, name="/".join(entry.path)))
        if not entry.child.takes_status:
            life.started()

    def _start_nested(self, entry: Entry, nested: _Nested) -> None:
        try:
            supervisor = nested.build()
        except Exception as error:  # the user's function, or InvalidSpec: a failed start like any other
            self.deliver(NotStarted(entry, entry.number, error))
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


class _Nested:
    """The `start` of a child that is a supervisor. Its parent does not call it but builds it: it needs no
    task."""

    __slots__ = ("build",)
    supervises = True

    def __init__(self, build: Callable[[], Supervisor]) -> None:
        self.build = build

    async def __call__(self) -> None:
        raise TypeError("a nested supervisor is started by the supervisor it is a child of")


def _log_leak(paths: list[Path]) -> None:
    logger.critical("all has stopped but %s", ", ".join("/".join(path) for path in paths))


def _tell(listener: Listener, event: Event) -> None:
    try:
        listener(event)
    except Exception:
        logger.exception("a listener failed on %r", event)
