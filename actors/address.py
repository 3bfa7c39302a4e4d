"""Where an actor can be reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from actors.asks import Question
from actors.dead_letters import DeadLetters, Lost
from actors.errors import ActorGone, AskTimeout
from actors.inbox import Inbox
from actors.mailbox import Door, Mailbox
from actors.messages import Message
from actors.monitors import Down, Monitor
from supervisor.timers import Timers

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")

# An idle actor with a quick handler answers while the asker yields, and then the asker needs neither a timer
# nor an event, which would cost more than all the rest. Trio runs the tasks of a turn in random order: hence
# twice.
YIELDS_FOR_AN_ANSWER = 2


class Tenant(Protocol):
    """The life of an actor, as seen from its address."""

    path: tuple[str, ...]

    @property
    def timers(self) -> Timers: ...

    def stop(self) -> None:
        """Take no further message."""


class Ref(Generic[M_contra]):
    """An actor's address, valid before its first start, over restarts and after its end. It owns the mailbox.

    A message is handled at most once. What is in the mailbox when an actor crashes is handled by its next
    life, in the same order; lost is only the message in hand. When the last life is over, as far as the
    child's restart type and the policies tell, the mailbox closes and says so (`ActorGone`); a start by hand
    opens it again. An actor that
    its supervisor stops may or may not come back: meanwhile its messages are kept, but asks are refused.

    Whether a supervisor has given up on a crashed actor cannot be seen from here: asks then end by their
    timeout, unless the supervisor's owner calls `close`.

    For tasks of the event loop that the actor runs in; other threads go through `anyio.from_thread`.

    Args:
        name: for errors and logs.
        mailbox: the bounds.
        dead_letters: who hears of messages that were lost here without their sender being told.
    """

    __slots__ = ("__weakref__", "_inbox", "_monitors", "_tenant", "name")

    def __init__(self, name: str, mailbox: Mailbox | None = None, *, dead_letters: DeadLetters | None = None) -> None:
        self.name = name
        self._inbox = Inbox(name, mailbox if mailbox is not None else Mailbox(), dead_letters)
        self._monitors: dict[Monitor, None] = {}  # in the order they were set
        self._tenant: Tenant | None = None

    def __repr__(self) -> str:
        return f"<Ref {self.name!r}>"

    @property
    def running(self) -> bool:
        """Whether an incarnation has started and not ended."""
        return self._tenant is not None

    @property
    def depth(self) -> int:
        """How many messages wait."""
        return len(self._inbox)

    @property
    def must_wait(self) -> bool:
        """Whether `send` would wait for room now."""
        return self._inbox.must_wait

    @property
    def dropped(self) -> int:
        """How many messages `Overflow.DROP_OLDEST` has cost so far."""
        return self._inbox.dropped

    def tell(self, message: M_contra, *, control: bool = False) -> None:
        """Leave a message and go on. It never waits; with `control` it overtakes all that came without.

        Raises:
            MailboxFull: no room; with `Overflow.DROP_OLDEST` only for control messages.
            ActorGone: the actor has ended for good.
        """
        if control:
            self._inbox.put_control(message)
        else:
            self._inbox.put(message)

    async def send(self, message: M_contra) -> None:
        """Leave a message, with `Overflow.WAIT` as soon as there is room; only then it yields.

        Cancelled, it left nothing.

        Raises:
            MailboxFull: no room, with `Overflow.REFUSE`.
            ActorGone: the actor has ended for good.
        """
        if self._inbox.must_wait:
            await self._inbox.send(message)
        else:
            self._inbox.put(message)

    async def ask(self, message: Message[R], timeout: float = 5.0) -> R:  # noqa: ASYNC109  # part of the question
        """Leave a message and wait for its answer, which is what the handler returns.

        Ask only actors that were started before you, so that no two wait for each other.

        Args:
            timeout: seconds, waiting for room included.

        Raises:
            AskTimeout: the actor may handle the message all the same; the answer is dropped.
            ActorGone: the actor failed over this message (its error is the cause), was stopped, or is gone.
            MailboxFull: no room, with `Overflow.REFUSE`; or the question was dropped to make room for others.
            Exception: what the handler raised, when the policy for it is to go on.
        """
        question = Question(message)
        if self._inbox.must_wait:
            with anyio.move_on_after(timeout):
                await self._inbox.send(question)
                await question.wait()
        else:
            self._inbox.put(question)
            for _ in range(YIELDS_FOR_AN_ANSWER):
                await checkpoint()
                if question.settled:
                    return question.result()
            await self._wait_for_answer(question, timeout)
        if question.settled:
            return question.result()
        raise AskTimeout(self.name, type(message).__name__, timeout)

    def stop(self) -> None:
        """Ask the actor to end normally, after the control messages it already has. Data that waits is kept.

        An actor that is not running does so when it starts, unless it has ended for good.
        """
        self._inbox.put_stop()

    def close(self, reason: BaseException | None = None) -> None:
        """Declare that the actor will not run again: whoever waits gets ActorGone, as will all who come, and
        messages that are left are dead letters.

        For the owner of the supervisor, once that has ended. No effect while the actor runs.
        """
        if self._tenant is None:
            self._inbox.shut(Door.CLOSED, reason)
            self._inbox.discard()

    def monitor(self, watcher: Callable[[Down], object] | Ref[Down]) -> Monitor:
        """Be told once, by `Down`, when the running incarnation has ended; at once if none runs.

        Args:
            watcher: called from the actor's task, so it must be quick; or an actor, told by its control lane,
                where a `Down` needs no room.
        """
        tell = watcher._hear_of if isinstance(watcher, Ref) else watcher
        monitor = Monitor(tell, self._monitors)
        if self._tenant is None:
            monitor.fire(Down(self, ActorGone(self.name)))
        else:
            self._monitors[monitor] = None
        return monitor

    async def _wait_for_answer(self, question: Question[R], timeout: float) -> None:  # noqa: ASYNC109  # as in `ask`
        """Wait until it is settled or the time is up: by the clock of the actor's tree, if it has one."""
        ends = anyio.current_time() + timeout
        if self._tenant is not None and not self._tenant.timers.stopped:
            timer = self._tenant.timers.after(timeout, question.wake, question.wake)
            ends = timer.when
            try:
                await question.wait()
            finally:
                timer.cancel()
        if not question.settled and anyio.current_time() < ends:  # no tree, or it has ended and its clock with it
            with anyio.CancelScope(deadline=ends):
                await question.wait()

    def _hear_of(self, down: Down) -> None:
        if self._inbox.takes(down):
            self._inbox.put_unbounded(down)
        else:  # nobody is left who wants to know
            self._bury(down, Lost.GONE)

    def _bury(self, message: object, reason: Lost) -> None:
        self._inbox.bury(message, reason)

    def _move_in(self, tenant: Tenant) -> list[Exception]:
        """Make an incarnation the one that takes the messages. Returns what monitors raised.

        Raises:
            RuntimeError: another actor lives here.
        """
        failures: list[Exception] = []
        if self._tenant is not None:
            if self._tenant.path != tenant.path:
                raise RuntimeError(f"{self!r} is the address of {self._tenant.path}, not of {tenant.path}")
            # Its supervisor abandoned it when it would not stop, and has started the next one.
            self._tenant.stop()
            failures = self._move_out(self._tenant, ActorGone(self.name), Door.OPEN)
        self._tenant = tenant
        self._inbox.shut(Door.OPEN)
        return failures

    def _move_out(self, tenant: Tenant, error: BaseException | None, door: Door) -> list[Exception]:
        """End an incarnation's hold on the address and tell the monitors. Returns what they raised."""
        if self._tenant not in (tenant, None):
            return []  # a successor has moved in, and all this was done then
        self._tenant = None
        self._inbox.redeliver()
        if error is None:
            self._inbox.forget_stop()
        self._inbox.shut(door, error)
        monitors, self._monitors = self._monitors, {}
        failures: list[Exception] = []
        interrupt: BaseException | None = None
        for monitor in monitors:
            try:
                monitor.fire(Down(self, error))
            except Exception as failure:  # the watcher's, not the actor's: the others must still be told
                failures.append(failure)
            except BaseException as raised:  # raised below, when all were told
                interrupt = raised
        if interrupt is not None:
            raise interrupt
        return failures
