"""What an actor is: a class whose handlers are chosen by the type of the message."""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import (
    Annotated,
    ClassVar,
    Generic,
    Protocol,
    TypeVar,
    TypeVarTuple,
    Union,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)

from actors.address import Ref
from supervisor.incarnation import Incarnation

M = TypeVar("M")
F = TypeVar("F", bound=Callable[..., object])
Ts = TypeVarTuple("Ts")

Handler = Callable[..., object]  # a function of (actor, message)
_MARK = "__handles_messages__"


def handler(method: F) -> F:
    """Mark a method of an actor, sync or async, as the handler of the messages it annotates.

        @handler
        async def on_audio(self, message: Audio | Silence) -> None: ...

    What it returns is the answer to an `ask`. A message goes to the handler of its own class, or of the
    nearest base.
    """
    setattr(method, _MARK, True)
    return method


class Host(Protocol):
    """What an actor can have done by whoever runs it."""

    def spawn(self, function: Callable[..., Awaitable[object]], *args: object) -> None: ...

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
        cls._handlers = dict(_handlers_of(cls))
        _check_complete(cls)

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

    def stop(self) -> None:
        """End this life normally, after the message in hand."""
        self._host.stop()

    @classmethod
    def _handler_for(cls, kind: type) -> Handler | None:
        """The handler of the nearest base; remembered, so that it is found at once the next time."""
        known = cls._handlers.get(kind)
        if known is None:
            known = next((cls._handlers[base] for base in kind.__mro__ if base in cls._handlers), None)
            if known is not None:
                cls._handlers[kind] = known
        return known


def _handlers_of(cls: type) -> Iterator[tuple[type, Handler]]:
    """The types each marked method takes, with the method. Overriding a marked one is a mark too."""
    taken: dict[type, str] = {}
    for name in _marked_names(cls):
        function = getattr(cls, name)
        for kind in _message_types(cls, function):
            if kind in taken:
                raise TypeError(f"{cls.__name__} has two handlers for {kind.__name__}: {taken[kind]} and {name}")
            taken[kind] = name
            yield kind, function


def _marked_names(cls: type) -> list[str]:
    marked = (name for base in reversed(cls.__mro__) for name, value in vars(base).items() if hasattr(value, _MARK))
    return list(dict.fromkeys(marked))


def _message_types(cls: type, function: Callable[..., object]) -> list[type]:
    parameters = list(inspect.signature(function).parameters.values())
    where = f"handler {cls.__name__}.{getattr(function, '__name__', function)}"
    if len(parameters) != 2 or parameters[1].annotation is inspect.Parameter.empty:
        raise TypeError(f"{where} must take one message, annotated with its type")
    # Only this annotation: others may name what is imported for the type checker alone.
    only = types.SimpleNamespace(__annotations__={"message": parameters[1].annotation})
    names = {**vars(cls), cls.__name__: cls}
    try:
        hint = get_type_hints(only, getattr(function, "__globals__", {}), names)["message"]
    except NameError as error:
        raise TypeError(f"{where}: its message type cannot be looked up ({error})") from error
    return [_as_class(member, where) for member in _members(hint)]


def _members(hint: object) -> Iterator[object]:
    """The types a union consists of, aliases and nested unions resolved."""
    hint = getattr(hint, "__value__", hint)  # what `type Alias = ...` stands for
    origin = get_origin(hint)
    if origin is Union or origin is types.UnionType:
        for member in get_args(hint):
            yield from _members(member)
    elif origin is Annotated:
        yield from _members(get_args(hint)[0])
    else:
        yield hint


def _as_class(hint: object, where: str) -> type:
    kind = get_origin(hint) or hint
    if not isinstance(kind, type):
        raise TypeError(f"{where}: {hint!r} is not a class that messages can have")
    return kind


def _check_complete(cls: type[Actor[M]]) -> None:
    """Refuse a class that declares a message, by `Actor[...]`, which it does not handle."""
    for base in vars(cls).get("__orig_bases__", ()):
        if get_origin(base) is Actor:
            for member in _members(get_args(base)[0]):
                kind = get_origin(member) or member
                if isinstance(kind, type) and kind is not object and cls._handler_for(kind) is None:
                    raise TypeError(f"{cls.__name__} has no handler for {kind.__name__}")
