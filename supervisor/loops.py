"""What is taken from the event loops themselves, because anyio's own would cost the tree its promises or its speed.

A task group waits for each of its tasks, and Python cannot kill a task: one child that ignores its cancellation would
keep everybody in the `async with` for ever. So a child's task is in no group. What groups are for, that nothing is lost
and nothing is left behind, is the supervisor's work: it keeps each child until its end, and no tree is left before.
Such a task also costs half as much, in time and in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import anyio


class Waiter(Protocol):
    """What one task sleeps on, once. On asyncio it is a future itself: an event on top costs twice as much to wake."""

    def done(self) -> bool:
        """It was woken."""
        ...

    def set_result(self, result: None, /) -> None:
        """Wake the task. Not to be called again."""
        ...

    def __await__(self) -> Generator[Any, Any, None]: ...


def waiters() -> Callable[[], Waiter]:
    """What makes waiters for the running loop. To be kept: up to Python 3.11 a look for the loop is a system call."""
    try:
        return asyncio.get_running_loop().create_future
    except RuntimeError:
        return _TrioWaiter


def clock() -> Callable[[], float]:
    """The time of the running loop in seconds: `anyio.current_time`, but for its callbacks as well as for its tasks."""
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:
        import trio

        return trio.current_time


class Life(Protocol):
    """The whole of a task."""

    async def live(self) -> None:
        """Run. Must never raise."""

    def bury(self) -> None:
        """The task was cancelled before its first step: nothing has run, and nothing will."""


@dataclass(frozen=True, slots=True)
class Loop:
    """The event loop that a tree runs in.

    Attributes:
        start: run a life in a task of this name and in a copy of this context.
        now: the time in seconds, as `anyio.current_time` but without the search for the loop.
        new_scope: `anyio.CancelScope`, likewise.
        turn: `anyio.lowlevel.checkpoint`, likewise.
    """

    start: Callable[[Life, str, Context], None]
    now: Callable[[], float]
    new_scope: Callable[[], anyio.CancelScope]
    turn: Callable[[], Coroutine[Any, Any, None]]


def running_loop() -> Loop:
    """The loop that this is called in."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _trio_loop()
    return _asyncio_loop(loop)


def _asyncio_loop(loop: asyncio.AbstractEventLoop) -> Loop:
    alive: dict[asyncio.Task[None], Life] = {}  # the loop itself keeps only weak references

    def start(life: Life, name: str, context: Context) -> None:
        task = loop.create_task(life.live(), name=name, context=context.copy())
        alive[task] = life
        task.add_done_callback(forget, context=context)

    def forget(task: asyncio.Task[None]) -> None:
        life = alive.pop(task)
        if task.cancelled():  # before its first step, since a life never raises
            life.bury()

    return Loop(start, loop.time, type(anyio.CancelScope()), partial(asyncio.sleep, 0))


def _trio_loop() -> Loop:
    import trio

    @trio.lowlevel.disable_ki_protection  # system tasks have it, but Ctrl-C must reach a child that never yields
    async def interruptible(life: Life) -> None:
        await life.live()

    def start(life: Life, name: str, context: Context) -> None:
        trio.lowlevel.spawn_system_task(interruptible, life, name=name, context=context.copy())

    return Loop(start, trio.current_time, type(anyio.CancelScope()), trio.lowlevel.checkpoint)


class _TrioWaiter:
    """A future of asyncio's, as far as waiting goes."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        import trio

        self._event = trio.Event()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, _: None, /) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()
