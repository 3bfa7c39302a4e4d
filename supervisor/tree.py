"""The supervisor as its users see it: a core that decides, and this shell, which does what the core says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from supervisor.commands import (
    ChildCount,
    ChildInfo,
    ChildState,
    DeleteChild,
    Inspect,
    RestartChild,
    Resume,
    StartChild,
    Suspend,
    TerminateChild,
)
from supervisor.errors import NotRunning, Path
from supervisor.incarnation import logger
from supervisor.links import Reply, RootLink
from supervisor.lives import Phase
from supervisor.policy import PolicyTable
from supervisor.root import Root
from supervisor.shell import Listener, Nested, Shell
from supervisor.snapshot import render
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


class Supervisor(Shell):
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
            quick; what it raises is logged and otherwise ignored, but for KeyboardInterrupt and SystemExit,
            which end the tree as if a child had raised them.
        on_leak: for the root. Python cannot kill a task: a child that ignores even its cancellation is given
            up (`ChildUnstoppable`), the others are stopped in spite of it, and the `async with` is left without it.
            But neither asyncio nor trio ends its loop before that task has ended. When all else has stopped this is
            called, once, with the paths of such children: the place to end a process (`os._exit`) that is about to
            end anyway. By default a critical log line names them.

    Raises:
        RuntimeError: it is entered twice, left by another task than entered it, or used before it was entered.
        InvalidSpec: the arguments do not fit together.
        StartFailed: on entering: a child did not start; those before it have been stopped again.
        Escalated: on leaving: it gave up.
        CancelledFromOutside: on leaving: its own tasks were cancelled, and not by cancelling the body.
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
        super().__init__(
            name,
            tuple(children),
            Options(
                strategy=strategy,
                intensity=intensity,
                auto_shutdown=auto_shutdown,
                max_children=max_children,
                one_at_a_time=one_at_a_time,
            ),
            policies,
            on_event,
        )
        self._on_leak = on_leak or _log_leak
        self._session: AbstractAsyncContextManager[None] | None = None

    @classmethod
    def child(
        cls,
        id: str,
        children: Iterable[Child] | Callable[[], Iterable[Child]] = (),
        *,
        restart: Restart = Restart.PERMANENT,
        shutdown: float | BrutalKill = INFINITY,
        significant: bool = False,
        budget: Intensity | None = None,
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

        return Child(id, Nested(build), restart=restart, shutdown=shutdown, significant=significant, budget=budget)

    async def __aenter__(self) -> Self:
        if self._link is not None:
            raise RuntimeError(f"supervisor {self.name!r} cannot be entered twice")
        await checkpoint_if_cancelled()
        self._entered_by = anyio.get_current_task().id
        root = Root(random.random, self._on_leak)
        self._attach(root, (self.name,), RootLink(self, self.name, root), copy_context())
        self._session = root.session(self)
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._session is not None
        if anyio.get_current_task().id != self._entered_by:
            raise RuntimeError(f"supervisor {self.name!r} must be left by the task that entered it")
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

    def render(self, max_children: int | None = 100) -> str:
        """`snapshot()` as text: one line a child, at most so many for one supervisor."""
        return render(self.snapshot(), max_children)

    # ---- the end

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
        """Let deaths and requests pile up unheard until `resume`, or until it is to stop: OTP's sys:suspend, for
        debugging and tests."""
        self.deliver(Suspend())

    def resume(self) -> None:
        """Work through what has piled up, in the order it came."""
        self.deliver(Resume())


def _log_leak(paths: list[Path]) -> None:
    stuck = ", ".join("/".join(path) for path in paths)
    logger.critical("all has stopped but %s", stuck, extra={"event": "tree.leaked"})
