"""For tests of your own actors: one of them under a supervisor, a listener in place of another, scripted lives.

Best in virtual time (`supervisor.testing.virtual_backend`), where no wait takes real time. It is opt-in: no
other module imports it.

    async with running(Greeter) as greeter:
        assert await greeter.ref.ask(Greet("world")) == "hello, world"
        greeter.ref.tell(Break())
        await settle()
        assert len(greeter.lives) == 2
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import anyio
import msgspec

from actors.address import Ref
from actors.asks import QUESTION, Question
from actors.base import Actor
from actors.dead_letters import DeadLetter, DeadLetters
from actors.hosting import actor_child
from actors.mailbox import Mailbox
from actors.messages import Message
from supervisor.incarnation import Incarnation
from supervisor.loops import waiters
from supervisor.policy import PolicyTable
from supervisor.reports import ErrorSurvived
from supervisor.spec import Child, Intensity, Restart
from supervisor.testing import Recorder, settle
from supervisor.tree import Supervisor

__all__ = [
    "Asked",
    "Crashes",
    "Ends",
    "FailsToStart",
    "Line",
    "Probe",
    "Running",
    "Runs",
    "running",
    "scripted_child",
    "settle",
]

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")


class Probe(Generic[M]):
    """Stands where an actor would: others tell and ask its `ref`, the test looks at what came.

    Args:
        name: of the ref.
        mailbox: its bounds, to play a slow actor.

    Attributes:
        ref: the address to give away.
        heard: all that was expected and came, in order.
    """

    def __init__(self, name: str = "probe", mailbox: Mailbox | None = None) -> None:
        self.ref: Ref[M] = Ref(name, mailbox)
        self.heard: list[object] = []

    async def expect(self, kind: type[T], within: float = 5.0) -> T:
        """The next message, which must be of this type; if it was asked, its asker waits on.

        Args:
            within: seconds.

        Raises:
            AssertionError: none came, or another.
        """
        message = await self._next(within, kind.__name__)
        self.heard.append(message.message if type(message) is QUESTION else message)
        if not isinstance(self.heard[-1], kind):
            raise AssertionError(f"{self.ref.name} expected {kind.__name__}, and got {self.heard[-1]!r}")
        return self.heard[-1]

    async def expect_ask(self, kind: type[Message[R]], within: float = 5.0) -> Asked[R]:
        """The next message, which must be a question of this type. Raises as `expect` does, or if it was told."""
        message = await self._next(within, f"to be asked {kind.__name__}")
        if type(message) is not QUESTION or not isinstance(message.message, kind):
            raise AssertionError(f"{self.ref.name} expected to be asked {kind.__name__}, and got {message!r}")
        self.heard.append(message.message)
        return Asked(cast("Question[R]", message))

    async def expect_nothing(self, seconds: float = 0.0) -> None:
        """Wait; no message may be there, or come.

        Raises:
            AssertionError: one did.
        """
        await anyio.sleep(seconds)
        if self.ref.depth:
            raise AssertionError(f"{self.ref.name} expected nothing, and got {self.ref._inbox.take()!r}")

    async def _next(self, within: float, what: str) -> object:
        inbox = self.ref._inbox
        with anyio.move_on_after(within):
            while not len(inbox):
                waiter = inbox.arrival = waiters()()
                try:
                    await waiter
                except BaseException:
                    inbox.left(waiter)
                    raise
        if not len(inbox):
            raise AssertionError(f"{self.ref.name} expected {what}, and nothing came within {within:g} s")
        return inbox.take()


class Asked(Generic[R]):
    """A question that a probe has taken.

    Attributes:
        message: what was asked.
    """

    def __init__(self, question: Question[R]) -> None:
        self.message = question.message
        self._question = question

    def answer(self, value: R) -> None:
        """Give the asker its answer."""
        self._question.answer(value)

    def fail(self, error: Exception) -> None:
        """Have `ask` raise this."""
        self._question.fail(error)


class Running(Generic[M]):
    """An actor that `running` runs, and all that can be seen of it.

    Attributes:
        ref: its address.
        tree: its supervisor, in which it is the child `actor`.
        lives: the object of each life, the present one last.
        events: what its supervisor reported.
        dead_letters: what was lost at its mailbox.
    """

    def __init__(
        self,
        ref: Ref[M],
        tree: Supervisor,
        lives: list[Actor[M]],
        events: Recorder,
        dead_letters: list[DeadLetter],
    ) -> None:
        self.ref = ref
        self.tree = tree
        self.lives = lives
        self.events = events
        self.dead_letters = dead_letters

    @property
    def survived(self) -> list[Exception]:
        """The errors it has survived, by policy or in its clean-up."""
        return [event.error for event in self.events.of(ErrorSurvived)]


@asynccontextmanager
async def running(
    factory: Callable[[], Actor[M]],
    *,
    mailbox: Mailbox | None = None,
    restart: Restart = Restart.PERMANENT,
    shutdown: float = 5.0,
    intensity: Intensity = Intensity(),  # noqa: B008  # a frozen value
    policies: PolicyTable | None = None,
) -> AsyncGenerator[Running[M]]:
    """Run one actor under a supervisor of its own; all arguments are theirs.

    Raises:
        StartFailed: `started` raised.
        Escalated: the actor crashed more often than the intensity allows.
    """
    lives: list[Actor[M]] = []
    letters: list[DeadLetter] = []

    def make() -> Actor[M]:
        lives.append(factory())
        return lives[-1]

    ref: Ref[M] = Ref("actor", mailbox, dead_letters=DeadLetters(letters.append))
    child = actor_child("actor", make, ref=ref, restart=restart, shutdown=shutdown)
    events = Recorder()
    async with Supervisor([child], intensity=intensity, policies=policies, on_event=events) as tree:
        yield Running(ref, tree, lives, events, letters)


class Runs(msgspec.Struct, frozen=True):
    """A life that starts and goes on until it is stopped."""


class Ends(msgspec.Struct, frozen=True):
    """A life that starts and ends normally `after` seconds."""

    after: float = 0.0


class Crashes(msgspec.Struct, frozen=True):
    """A life that starts and raises `error` `after` seconds."""

    error: Exception
    after: float = 0.0


class FailsToStart(msgspec.Struct, frozen=True):
    """A life that raises `error` before it has started."""

    error: Exception


Line = Runs | Ends | Crashes | FailsToStart  # of a script


def scripted_child(id: str, *lives: Line, value: object = None, **options: Any) -> Child:
    """A child that lives as the script says; the last line holds for all later lives.

    Args:
        value: its started value.
        options: as `Child` takes them: `restart`, `shutdown`, `significant`.

    Raises:
        ValueError: without a script.
    """
    if not lives:
        raise ValueError(f"child {id!r} needs a script of at least one life")

    async def start(*, task_status: Incarnation) -> None:
        await _live(lives[min(task_status.number, len(lives)) - 1], task_status, value)

    return Child(id, cast("Callable[..., Awaitable[object]]", start), **options)


async def _live(life: Line, incarnation: Incarnation, value: object) -> None:
    if isinstance(life, FailsToStart):
        raise life.error
    incarnation.started(value)
    if isinstance(life, Runs):
        await incarnation.stop_requested()
        return
    with anyio.move_on_after(life.after):
        await incarnation.stop_requested()
        return
    if isinstance(life, Crashes):
        raise life.error
