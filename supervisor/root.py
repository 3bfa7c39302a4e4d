"""What a whole tree shares, and how its root is entered and left.

The children's tasks are their supervisors' affair: no outer cancellation reaches them, and the tree itself is data. So
a cancelled or crashed body leads to the ordered stop, not to a cancellation of all children at once, and a child that
cannot be stopped keeps nobody from leaving.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Protocol

import anyio

from supervisor.errors import CancelledFromOutside, Escalated, Path
from supervisor.loops import running_loop
from supervisor.timers import Timers

logger = logging.getLogger("supervisor")


class Tree(Protocol):
    """What the root needs of the supervisor it runs."""

    def boot(self) -> None: ...

    def stop_soon(self) -> None: ...


class Root:
    """The runtime that the supervisors of one tree share.

    Args:
        random: numbers in [0, 1).
        on_leak: called when the tree has ended and these children, given up, still run.

    Attributes:
        loop: where the children's tasks run.
        timers: the clock of the whole tree.
        clock_stopped: its task is over.
    """

    def __init__(self, random: Callable[[], float], on_leak: Callable[[list[Path]], None]) -> None:
        self.random = random
        self.loop = running_loop()
        self.timers = Timers(self.loop.now)
        self.on_fatal: Callable[[], None] = lambda: None
        self._on_leak = on_leak
        self._leaked: list[Path] = []
        self.clock_stopped = anyio.Event()
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
        if self._ended.is_set():  # by one that was given up
            extra = {"event": "tree.raised_late"}
            logger.critical("a child that outlived its tree raised", exc_info=error, extra=extra)
        self._fatal = self._fatal or error
        self._body.cancel()
        self.on_fatal()

    def broken(self, defect: Exception) -> None:
        """The supervision itself has failed, so no end will be told: raise the defect where the tree was entered."""
        self._fatal = self._fatal or defect
        self._ended.set()
        self._body.cancel()

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
        _Clock(self).start()
        failure: BaseException | None = None
        try:
            with self._body:
                await self._boot(tree)
                yield
        except GeneratorExit:
            raise
        except BaseException as error:
            failure = error
        tree.stop_soon()
        failure = await _wait(self._ended) or failure
        self.timers.stop()
        if self._leaked:
            self._on_leak(list(self._leaked))
        failure = await _wait(self.clock_stopped) or failure
        self._raise_outcome(failure)

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


async def _wait(event: anyio.Event) -> BaseException | None:
    """Wait, whatever comes meanwhile: a native cancellation, Ctrl-C. Returns the last such thing."""
    interruption: BaseException | None = None
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except GeneratorExit:
            raise
        except BaseException as error:
            interruption = error
    return interruption


class _Clock:
    """The life of the task that the timers run in."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def start(self) -> None:
        self._root.loop.start(self, "supervisor.timers", copy_context())

    async def live(self) -> None:
        try:
            await self._root.timers.run()
        except anyio.get_cancelled_exc_class():
            self.bury()
        except GeneratorExit:
            raise
        except Exception as defect:
            self._root.broken(defect)
            self._root.clock_stopped.set()
        except BaseException as interrupt:
            self._go_on(interrupt)
        else:
            self._root.clock_stopped.set()

    def bury(self) -> None:
        """Somebody cancelled this task."""
        self._go_on(CancelledFromOutside("the tree was cancelled, but not by whoever entered it"))

    def _go_on(self, error: BaseException) -> None:
        """Stop the tree, with its deadlines kept, and raise this where it was entered."""
        self._root.fatal(error)
        self.start()
