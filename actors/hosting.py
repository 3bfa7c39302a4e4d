"""One life of an actor, and how a supervisor starts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors.address import Ref
from actors.asks import QUESTION, Question
from actors.base import Actor
from actors.dead_letters import DeadLetters
from actors.dispatch import COROUTINE
from actors.errors import ActorGone, CleanUpTimeout
from actors.mailbox import Door, Mailbox, Stop
from actors.timers import Timer
from supervisor.errors import CancelledFromOutside, Ignore, Shutdown
from supervisor.incarnation import KILL_GRACE, Incarnation
from supervisor.loops import waiters
from supervisor.policy import Directive
from supervisor.spec import BrutalKill, Child, Restart
from supervisor.timers import Timers

M = TypeVar("M")

CLEAN_UP_LIMIT = 0.8 * KILL_GRACE  # seconds for `Actor.stopped`: over before a killed actor is given up
MESSAGES_PER_TURN = 64  # a checkpoint costs some 3 µs, a message some 0.5: fair to other tasks, at a tenth of the cost


def actor_child(
    id: str,
    factory: Callable[[], Actor[M]],
    *,
    ref: Ref[M] | None = None,
    mailbox: Mailbox | None = None,
    dead_letters: DeadLetters | None = None,
    restart: Restart = Restart.PERMANENT,
    shutdown: float | BrutalKill = 5.0,
    significant: bool = False,
) -> Child:
    """An actor as a supervisor's child; its started value is its `Ref`, the same one in every life.

    Asked to stop, it ends after the message in hand.

    Args:
        factory: makes the object for one life.
        ref: its address, when others must know it before the start; otherwise one is made, with this
            `mailbox` and these `dead_letters`.
        restart, shutdown, significant: as for every child.

    Raises:
        ValueError: `ref` is given with `mailbox` or `dead_letters`; an address has its mailbox already.
    """
    if ref is not None and (mailbox is not None or dead_letters is not None):
        raise ValueError("give the mailbox to the Ref, or no Ref: an address has its mailbox already")
    address = ref if ref is not None else Ref[M](id, mailbox, dead_letters=dead_letters)

    def start(*, task_status: Incarnation) -> Coroutine[Any, Any, None]:
        return _Life(factory(), address, task_status, restart).run()

    return Child(id, start, restart=restart, shutdown=shutdown, significant=significant)


class _Life(Generic[M]):
    """Runs one object from start to end. Errors in it are recorded, and raised once all of it is over.

    Each message wakes the whole chain of coroutines from the task's first to the one that sleeps, so there are few.
    """

    __slots__ = (
        "_actor",
        "_asked_to_stop",
        "_began",
        "_ending",
        "_failure",
        "_incarnation",
        "_ref",
        "_restart",
        "_tasks",
        "_timers",
        "path",
    )

    def __init__(self, actor: Actor[M], ref: Ref[M], incarnation: Incarnation, restart: Restart) -> None:
        self._actor = actor
        self._ref = ref
        self._incarnation = incarnation
        self._restart = restart
        self._began = False
        self._ending = False
        self._asked_to_stop = False  # by the supervisor
        self._failure: BaseException | None = None
        self._tasks: TaskGroup | None = None
        self._timers: set[Timer] | None = None
        self.path = incarnation.path
        actor.ref = ref
        actor.incarnation = incarnation
        actor._host = self

    async def run(self) -> None:
        """Live. Returns at a normal end, raises what ended it otherwise."""
        try:
            try:
                await self._work()
            except BaseException as error:
                await self._clean_up(error)
                raise
            await self._clean_up(None)
        except BaseException as error:
            self._over(error)
            raise
        self._over(None)

    def spawn(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        if self._tasks is None:
            raise RuntimeError(f"{self._ref!r} cannot spawn a task: it is not running")
        self._tasks.start_soon(self._record, function, *args)

    def start_timer(self, seconds: float, message: object, *, repeat: bool) -> Timer:
        if not 0 <= seconds < float("inf") or (repeat and seconds == 0):
            raise ValueError(f"{self._ref!r} cannot wait {seconds} s for {type(message).__name__}")
        if self._tasks is None or self.timers.stopped:
            raise RuntimeError(f"{self._ref!r} cannot start a timer: it is not running")
        if self._timers is None:
            self._timers = set()
        timer = Timer(self.timers, self._ref._inbox, self._timers, seconds, message, repeat=repeat)
        if self._ending:
            timer.cancel()  # this life hears nothing more, and the next one must not
        return timer

    @property
    def timers(self) -> Timers:
        return self._incarnation.timers

    def stop(self) -> None:
        self._ending = True
        self._cancel_timers()
        self._ref._inbox.nudge()

    def _cancel_timers(self) -> None:
        for timer in list(self._timers or ()):
            timer.cancel()

    def _stop_for_supervisor(self) -> None:
        self._asked_to_stop = True
        self.stop()

    async def _work(self) -> None:
        """Run the handlers and the spawned tasks, until the former end or one of all fails."""
        served = False
        try:
            async with anyio.create_task_group() as self._tasks:
                with self._recorded():
                    await self._serve()
                served = True
                self._tasks.cancel_scope.cancel()
        except BaseExceptionGroup:
            if self._failure is None:
                raise
        except BaseException:  # killed, which must pass; but not in silence over an error in a handler's `finally`
            if isinstance(self._failure, Exception):
                self._incarnation.report(self._failure)
            elif self._failure is not None:
                raise self._failure from None
            raise
        finally:
            self._tasks = None
            self._cancel_timers()
        if self._failure is not None:
            raise self._failure
        if not served:  # asyncio cancels a whole group for one task that was cancelled before it ran
            raise CancelledFromOutside(f"a task that {self._ref!r} had spawned was cancelled")

    async def _record(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        with self._recorded():
            await function(*args)

    @contextmanager
    def _recorded(self) -> Generator[None, None, None]:
        """A part of this life; if it fails, the whole life has."""
        try:
            yield
        except GeneratorExit:
            raise
        except anyio.get_cancelled_exc_class() as error:
            # One that nobody asked for is a failure too, and must not pass for ours.
            if anyio.current_effective_deadline() != float("-inf"):
                self._fail(error)
            raise
        except BaseException as error:  # an interrupt too: asyncio would let it end the event loop itself
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(self._failure, Exception) and not isinstance(error, Exception):
            self._failure, error = error, self._failure  # an interrupt matters more
        if self._failure is None:
            self._failure = error
        elif isinstance(error, Exception):
            self._incarnation.report(error)  # a second failure while the first one takes effect
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def _serve(self) -> None:
        """Start, then handle message after message. The hot path: it awaits only when there is none."""
        await self._actor._start()
        self._begin()
        new_waiter = waiters()
        handle, inbox, turn = self._actor._handle, self._ref._inbox, MESSAGES_PER_TURN
        while not self._ending:
            if not inbox.control and not inbox.data:
                waiter = inbox.arrival = new_waiter()
                try:
                    await waiter
                except BaseException:
                    inbox.left(waiter)
                    raise
                turn = MESSAGES_PER_TURN
                continue
            if turn == 0:
                await checkpoint()
                turn = MESSAGES_PER_TURN
            turn -= 1
            message = inbox.take()
            try:
                if type(message) is QUESTION:
                    await self._answer(message)
                elif message is Stop.REQUESTED:
                    self._ending = True
                else:
                    result = handle(message)
                    if type(result) is COROUTINE:
                        await result
            except Exception as error:
                if self._actor._postpones(error):
                    self._postpone(message)
                elif self._continues(error):
                    self._incarnation.report(error)
                else:
                    raise

    def _begin(self) -> None:
        self._began = True
        self._report_all(self._ref._move_in(self))
        self._incarnation.on_stop(self._stop_for_supervisor)
        self._incarnation.started(self._ref)

    async def _answer(self, question: Question[object]) -> None:
        try:
            result = self._actor._handle(question.message)
            question.answer(await result if type(result) is COROUTINE else result)
        except Exception as error:
            if not self._actor._postpones(error):
                question.fail(error if self._continues(error) else ActorGone(self._ref.name, error))
            raise
        except BaseException:
            question.fail(ActorGone(self._ref.name))
            raise

    def _postpone(self, message: object) -> None:
        self._ref._inbox.postpone(message)
        if isinstance(message, Timer):
            message.revive()

    def _continues(self, error: Exception) -> bool:
        """Whether a handler's error is to be reported and the next message handled."""
        return not isinstance(error, Shutdown) and self._incarnation.directive(error) is Directive.CONTINUE

    async def _clean_up(self, error: BaseException | None) -> None:
        if not self._began:
            return
        try:
            with anyio.move_on_after(CLEAN_UP_LIMIT, shield=True) as scope:
                await self._actor.stopped(error)
            if scope.cancelled_caught:
                self._incarnation.report(CleanUpTimeout(self._ref.name, CLEAN_UP_LIMIT))
        except Exception as failure:
            if error is None:
                raise
            self._incarnation.report(failure)  # what ended this life matters more

    def _over(self, error: BaseException | None) -> None:
        cause = error if isinstance(error, Exception) else None
        self._report_all(self._ref._move_out(self, cause, self._door_after(error)))

    def _door_after(self, error: BaseException | None) -> Door:
        """What the mailbox takes until there is a next life, judged by whether there will be one."""
        if self._restart is Restart.TEMPORARY or isinstance(error, Ignore):
            return Door.CLOSED
        if self._asked_to_stop or (error is not None and not isinstance(error, Exception)):
            return Door.ASKS_REFUSED
        if error is None or isinstance(error, Shutdown):
            normal = True
        else:
            directive = self._incarnation.directive(error)
            if directive in (Directive.STOP, Directive.ESCALATE):
                return Door.CLOSED
            normal = directive is Directive.CONTINUE  # to a supervisor, an end that is to be passed over
        return Door.CLOSED if normal and self._restart is Restart.TRANSIENT else Door.OPEN

    def _report_all(self, errors: list[Exception]) -> None:
        for error in errors:
            self._incarnation.report(error)
