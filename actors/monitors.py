"""Being told of an actor's end without sharing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Never

import msgspec

if TYPE_CHECKING:
    from actors.address import Ref


class Down(msgspec.Struct, frozen=True):
    """A life of an actor is over.

    Attributes:
        ref: the actor. It may be started again; a new life needs a new monitor.
        error: what ended that life; None if it ended normally or was stopped. ActorGone if there was no life
            to watch when the monitor was set.
    """

    ref: Ref[Never]
    error: BaseException | None


class Monitor:
    """One watch on one life of an actor. Tells once, or never if it is cancelled before."""

    __slots__ = ("_others", "_tell")

    def __init__(self, tell: Callable[[Down], object], others: dict[Monitor, None]) -> None:
        self._tell = tell
        self._others = others

    def cancel(self) -> None:
        """Do not tell. No effect after the end."""
        self._others.pop(self, None)

    def fire(self, down: Down) -> None:
        """Tell."""
        self._tell(down)
