"""Which method takes which message: read once per class, from the annotations."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Union, get_args, get_origin, get_type_hints

import msgspec

from actors.messages import Message

if TYPE_CHECKING:
    from actors.base import Actor

Handler = Callable[..., object]  # a function of (actor, message)
COROUTINE: type[types.CoroutineType[object, object, object]] = types.CoroutineType  # what an async one returns
MARK = "__handles_messages__"


class Mark(msgspec.Struct, frozen=True):
    """What a decorator says of a method.

    Attributes:
        states: those of a state machine that the method is for; none: every state.
        limit: messages a batch holds at most.
    """

    states: tuple[Enum, ...] = ()
    limit: int | None = None


class Taken(msgspec.Struct, frozen=True):
    """A type of message, and the method that takes it."""

    kind: type
    method: Handler
    mark: Mark
    batch: bool


def methods_of(cls: type) -> Iterator[Taken]:
    """The types each marked method takes. Overriding a marked one is a mark too.

    Raises:
        TypeError: an annotation does not say which messages are meant.
    """
    for name, mark in _marks(cls).items():
        method = getattr(cls, name)
        where = f"handler {cls.__name__}.{name}"
        for hint, batch in _hints(cls, method, where):
            kind = _as_class(hint, where)
            if batch and issubclass(kind, Message):
                raise TypeError(f"{where}: a batch has no answer to give, but {kind.__name__} can be asked")
            if mark.limit is not None and not batch:
                raise TypeError(f"{where} has a limit, but takes no batch: annotate a list")
            yield Taken(kind, method, mark, batch)


def table_of(cls: type) -> dict[type, Handler]:
    """The handler of each type of message.

    Raises:
        TypeError: a type has two handlers.
    """
    table: dict[type, Handler] = {}
    names: dict[type, str] = {}
    batches: dict[Handler, Handler] = {}
    for taken in methods_of(cls):
        name = _name(taken.method)
        if taken.kind in names:
            raise TypeError(
                f"{cls.__name__} has two handlers for {taken.kind.__name__}: {names[taken.kind]} and {name}"
            )
        names[taken.kind] = name
        table[taken.kind] = taken.method
        if taken.batch:
            table[taken.kind] = batches.setdefault(taken.method, _batched(taken.method, taken.mark.limit))
    return table


def declared(cls: type, base: type) -> Iterator[type]:
    """The messages that a class says it takes, by the last argument of `base[...]`."""
    for used in vars(cls).get("__orig_bases__", ()):
        if get_origin(used) is base:
            for member in _members(get_args(used)[-1]):
                kind = get_origin(member) or member
                if isinstance(kind, type) and kind is not object:
                    yield kind


def _batched(method: Handler, limit: int | None) -> Handler:
    """A handler of one message that takes along those behind it that have the same handler."""
    more = float("inf") if limit is None else limit - 1

    def handle(actor: Actor[object], first: object) -> object:
        following = actor.ref._inbox.take_next(lambda message: actor._handler_for(type(message)) is handle, more)
        return method(actor, [first, *following])

    return handle


def _marks(cls: type) -> dict[str, Mark]:
    found = ((name, getattr(value, MARK, None)) for base in reversed(cls.__mro__) for name, value in vars(base).items())
    return {name: mark for name, mark in found if isinstance(mark, Mark)}


def _hints(cls: type, method: Handler, where: str) -> Iterator[tuple[object, bool]]:
    """The members of the union that a method takes, and whether it takes them as a list."""
    parameters = list(inspect.signature(method).parameters.values())
    if len(parameters) != 2 or parameters[1].annotation is inspect.Parameter.empty:
        raise TypeError(f"{where} must take one message, annotated with its type")
    # Only this annotation: others may name what is imported for the type checker alone.
    only = types.SimpleNamespace(__annotations__={"message": parameters[1].annotation})
    names = {**vars(cls), cls.__name__: cls}
    try:
        hint = get_type_hints(only, getattr(method, "__globals__", {}), names)["message"]
    except NameError as error:
        raise TypeError(f"{where}: its message type cannot be looked up ({error})") from error
    batch = get_origin(hint) is list
    for member in _members(get_args(hint)[0] if batch else hint):
        yield member, batch


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


def _name(method: Handler) -> str:
    return str(getattr(method, "__name__", method))
