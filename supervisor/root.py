"""What a whole tree shares, and how its root is entered and left.

All tasks of a tree live in one task group, in a task that no outer cancellation reaches; the tree itself
is data. So a cancelled or crashed body leads to the ordered stop, not to a cancellation of all children
at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from supervisor.errors import CancelledFromOutside, Escalated, Path
from supervisor.timers import Timers


class Tree(Protocol):
    """What the root needs of the supervisor it runs."""

    def boot(self) -> None: ...

    def stop_soon(self) -> None: ...

    def bury(self) -> None: ...


class Root:
    """The runtime that the supervisors of one tree share.

    Args:
        random: numbers in [0, 1).
        on_leak: called when the tree has ended and these children, given up, still run.
    """

    group: TaskGroup

    def __init__(self, random: Callable[[], float], on_leak: Callable[[list[Path]], None]) -> None:
        self.random = random
        self._on_leak = on_leak
        self._leaked: list[Path] = []
        self.timers = Timers()
        self.on_fatal: Callable[[], None] = lambda: None
        self._hosted = anyio.Event()  # there is a group to start children in
        self._settled = anyio.Event()  # booted, or never going to
        self._ended = anyio.Event()
        self._body = anyio.CancelScope()
        self._start_error: Exception | None = None
        self._cause: Escalated | None = None
        self._fatal: BaseException | None = None

    # ---- told by the root supervisor

    def up(self) -> None:
        self._settled.set()

    def not_up(self, error: Exception) -> None:
        self._start_error = error
        self._settled.set()
        self._ended.set()

    def ended(self, cause: Escalated | None) -> None:
        self._cause = cause
        self._settled.set()
        self._ended.set()
        if cause is not None:
            self._body.cancel()

    def fatal(self, error: BaseException) -> None:
        """A child raised KeyboardInterrupt or the like: stop everything, then raise it where the tree was
        entered."""
        self._fatal = self._fatal or error
        self._body.cancel()
        self.on_fatal()

    @property
    def dead(self) -> bool:
        """Whether no task can be started any more."""
        return self.group.cancel_scope.cancel_called

    def cut_off(self) -> None:
        """Somebody cancelled what keeps the tree alive: stop it, and say so where it was entered."""
        self.fatal(CancelledFromOutside("the tree was cancelled, but not by whoever entered it"))

    def leaked(self, path: Path, *, still: bool) -> None:
        """A child was given up but runs on; or, at last, it has ended."""
        if still:
            self._leaked.append(path)
        else:
            self._leaked.remove(path)

    # ---- the lifetime

    @asynccontextmanager
    async def session(self, tree: Tree) -> AsyncGenerator[None]:
        self.on_fatal = tree.stop_soon
        failure: BaseException | None = None
        async with anyio.create_task_group() as outer:
            await self._start_host(outer, tree)
            try:
                with self._body:
                    await self._boot(tree)
                    yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:
                failure = error  # raised below: the task group would wrap it
            finally:
                tree.stop_soon()
                with anyio.CancelScope(shield=True):
                    await self._ended.wait()
        self._raise_outcome(failure)

    async def _start_host(self, outer: TaskGroup, tree: Tree) -> None:
        outer.start_soon(self._host, tree)  # not `start`: cancelled, that would wait for the host's end
        try:
            await self._hosted.wait()
        except BaseException:  # cancelled meanwhile: nothing runs yet, and no cancellation reaches the host
            self._ended.set()
            raise

    async def _host(self, tree: Tree) -> None:
        try:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as group:
                    self.group = group
                    group.start_soon(self._keep, self.timers.run, name="supervisor.timers")
                    self._hosted.set()
                    await self._keep(self._ended.wait)
                    self.timers.stop()
                    if self._leaked:
                        self._on_leak(list(self._leaked))
        finally:
            if not self._ended.is_set():  # asyncio cancels a whole group for one task that was cancelled before it ran
                self.cut_off()
                tree.bury()
            # A defect of ours must surface, not leave the body waiting for an end that cannot come.
            self._hosted.set()
            self._settled.set()
            self._ended.set()

    async def _keep(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part of the runtime to its end. Cancelled by whoever found its task, it has the tree stopped first."""
        while True:
            try:
                await part()
                return
            except anyio.get_cancelled_exc_class():
                self.cut_off()
                if self.dead:
                    raise

    async def _boot(self, tree: Tree) -> None:
        tree.boot()
        await self._settled.wait()
        if self._start_error is not None:
            raise self._start_error

    def _raise_outcome(self, failure: BaseException | None) -> None:
        if self._fatal is not None:
            raise self._fatal
        if failure is not None:
            if self._cause is not None:
                failure.add_note(f"meanwhile {self._cause}")
            raise failure
        if self._cause is not None:
            raise self._cause from self._cause.error
