"""What an actor is: a class whose handlers are chosen by the type of the message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Generic, Protocol, TypeVar, TypeVarTuple, Unpack, overload

from actors.address import Ref
from actors.dispatch import MARK, Handler, Mark, declared, table_of
from actors.errors import UnhandledMessage
from actors.timers import Timer
from supervisor.incarnation import Incarnation

M = TypeVar("M")
F = TypeVar("F", bound=Callable[..., object])
Ts = TypeVarTuple("Ts")


@overload
def handler(method: F, /) -> F: ...


@overload
def handler(*, limit: int) -> Callable[[F], F]: ...


def handler(method: F | None = None, /, *, limit: int | None = None) -> F | Callable[[F], F]:
    """Mark a method of an actor, sync or async, as the handler of the messages it annotates.

        @handler
        async def on_audio(self, message: Audio | Silence) -> None: ...

    What it returns is the answer to an `ask`. A message goes to the handler of its own class, or of the
    nearest base.

    A handler of a list takes a batch: the message whose turn it is and those right behind it that have the
    same handler. A crash then costs the whole batch, as that is what the actor has in hand.

        @handler(limit=50)
        async def on_audio(self, batch: list[Audio]) -> None: ...

    Args:
        limit: messages a batch holds at most; without it, all that wait.

    Raises:
        ValueError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"a batch holds at least 1 message, not {limit}")

    def mark(marked: F) -> F:
        setattr(marked, MARK, Mark(limit=limit))
        return marked

    return mark if method is None else mark(method)


class Host(Protocol):
    """What an actor can have done by whoever runs it."""

    def spawn(self, function: Callable[..., Awaitable[object]], *args: object) -> None: ...

    def start_timer(self, seconds: float, message: object, *, repeat: bool) -> Timer: ...

    def stop(self) -> None: ...


class Actor(Generic[M]):
    """State of its own, and handlers that are run one message at a time.

    `M` is the union of the messages it takes; the class is refused (TypeError) if one of them has no handler,
    if a type has two, or if an annotation does not say a type that can be looked up where the class is made.

    A handler's exception ends this life of the actor, and the supervisor decides on a next one, which begins
    with a new object; unless the policy for the error is to continue: then it is reported and the next
    message handled.

    Attributes:
        ref: its own address.
        incarnation: this life, as the supervisor knows it.
    """

    ref: Ref[M]
    incarnation: Incarnation
    _host: Host
    _handlers: ClassVar[dict[type, Handler]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._handlers = cls._make_handlers()
        cls._check_complete(Actor)

    async def started(self) -> None:
        """Get ready; messages wait until it returns. To raise is a failed start."""

    async def stopped(self, error: BaseException | None) -> None:
        """Clean up. It runs last, after all spawned tasks have ended, and only if `started` has returned.

        It cannot be cancelled, but is cut off after `CLEAN_UP_LIMIT` seconds.

        Args:
            error: what ended this life; None if it ended normally or was stopped, a cancellation if it was
                killed.
        """

    def spawn(self, function: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts) -> None:
        """Run a task beside the handlers. It is cancelled when this life ends; its failure is the actor's.

        Raises:
            RuntimeError: this life is not running.
        """
        self._host.spawn(function, *args)

    def after(self, seconds: float, message: M) -> Timer:
        """Have `message` handled in `seconds`, before data that waits; unless cancelled, or this life ends before.

        Raises:
            RuntimeError: this life is not running.
            ValueError: a negative or infinite time.
        """
        return self._host.start_timer(seconds, message, repeat=False)

    def every(self, seconds: float, message: M) -> Timer:
        """Have `message` handled each time `seconds` have passed, as `after` does.

        The beat is kept from the start, without drift; a beat that finds the one before still waiting is
        skipped.

        Raises:
            RuntimeError: this life is not running.
            ValueError: an interval of zero, a negative or infinite one.
        """
        return self._host.start_timer(seconds, message, repeat=True)

    def stop(self) -> None:
        """End this life normally, after the message in hand."""
        self._host.stop()

    async def _start(self) -> None:
        await self.started()

    @classmethod
    def _make_handlers(cls) -> dict[type, Handler]:
        return {Timer: handle_timer, **table_of(cls)}

    @classmethod
    def _check_complete(cls, base: type) -> None:
        """Refuse a class that declares a message, by `base[...]`, which it does not handle."""
        for kind in declared(cls, base):
            if cls._handler_for(kind) is None:
                raise TypeError(f"{cls.__name__} has no handler for {kind.__name__}")

    @classmethod
    def _handler_for(cls, kind: type) -> Handler | None:
        """The handler of the nearest base; remembered, so that it is found at once the next time."""
        known = cls._handlers.get(kind)
        if known is None:
            known = next((cls._handlers[base] for base in kind.__mro__ if base in cls._handlers), None)
            if known is not None:
                cls._handlers[kind] = known
        return known

    def _handle(self, message: object) -> object:
        """Call the handler of a message: what it returns, or the coroutine if it is async."""
        kind = type(message)
        handler = self._handlers.get(kind) or self._handler_for(kind)
        if handler is None:
            raise UnhandledMessage(self.ref.name, kind.__name__)
        return handler(self, message)

    def _postpones(self, error: Exception) -> bool:
        """Whether a handler's error means that the message is to come again."""
        return False


def handle_timer(actor: Actor[M], timer: Timer) -> object:
    """Handle the message of a timer whose turn it is, unless it was cancelled on its way."""
    return actor._handle(timer.message) if timer.heard() else None
