"""Which method of a state machine is for which state: read once per class, from the marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, TypeVar

from actors.dispatch import MARK, Handler, Mark, methods_of

F = TypeVar("F", bound=Callable[..., object])
A = TypeVar("A", bound=Callable[[Any], object])

Move = tuple[Enum | None, type]  # a state, or None for every state, and a type of message

ENTERING = "__entering_states__"
TIMED_OUT = "__timed_out_states__"


def in_state(*states: Enum) -> Callable[[F], F]:
    """Mark a method of a state machine as the handler, in these states, of the messages it annotates.

    It goes before a plain `handler`, which serves every state that has none of its own.
    """

    def mark(method: F) -> F:
        setattr(method, MARK, Mark(states))
        return method

    return mark


def entering(*states: Enum) -> Callable[[A], A]:
    """Mark a method, sync or async, without parameters, as what is done when one of these states begins."""
    return _marker(ENTERING, states)


def timed_out(*states: Enum) -> Callable[[A], A]:
    """Mark a method, sync or async, without parameters, as what is done when the time of these states is up."""
    return _marker(TIMED_OUT, states)


def moves_of(cls: type) -> Iterator[tuple[Move, Handler]]:
    """The handlers by state and type of message.

    Raises:
        TypeError: two for the same, or one that wants a list.
    """
    seen: set[Move] = set()
    for taken in methods_of(cls):
        if taken.batch:
            raise TypeError(f"{cls.__name__} is a state machine: it takes one {taken.kind.__name__} at a time, no list")
        states: tuple[Enum | None, ...] = taken.mark.states or (None,)
        for state in states:
            if (state, taken.kind) in seen:
                raise TypeError(f"{cls.__name__} has two handlers for {taken.kind.__name__} in {_name(state)}")
            seen.add((state, taken.kind))
            yield (state, taken.kind), taken.method


def marked(cls: type, mark: str) -> Iterator[tuple[Enum, Handler]]:
    """The methods with `ENTERING` or `TIMED_OUT`, by state. Overriding a marked one is a mark too.

    Raises:
        TypeError: two for the same state.
    """
    marks = {name: getattr(value, mark, None) for base in reversed(cls.__mro__) for name, value in _own(base, mark)}
    seen: dict[Enum, str] = {}
    for name, states in marks.items():
        for state in states or ():
            if state in seen:
                raise TypeError(f"{cls.__name__} has two methods for {_name(state)}: {seen[state]} and {name}")
            seen[state] = name
            yield state, getattr(cls, name)


def check_states(cls: type, used: list[Enum], initial: Enum | None) -> None:
    """Refuse states of another enum than the initial one's: they would never be."""
    if used and initial is None:
        raise TypeError(f"{cls.__name__} has no initial state")
    for state in used:
        if type(state) is not type(initial):
            raise TypeError(f"{cls.__name__} begins in {_name(initial)}, and can never be in {_name(state)}")


def _own(base: type, mark: str) -> list[tuple[str, object]]:
    return [(name, value) for name, value in vars(base).items() if hasattr(value, mark)]


def _marker(name: str, states: tuple[Enum, ...]) -> Callable[[A], A]:
    def mark(method: A) -> A:
        setattr(method, name, states)
        return method

    return mark


def _name(state: Enum | None) -> str:
    return "every state" if state is None else str(state)
