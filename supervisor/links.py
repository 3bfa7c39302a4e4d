"""What connects a supervisor with the outside: whom it tells how it fares, and where its answers go."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import anyio

from supervisor.commands import Entry, Exited, Input, Kill, NotStarted, Started
from supervisor.errors import Escalated, Path
from supervisor.reports import ChildEnded, ChildStarted, ChildStartFailed, Event, Exit, ExitKind, Occasion
from supervisor.root import Root
from supervisor.snapshot import Snapshot
from supervisor.spec import INFINITY
from supervisor.timers import Timer, Timers


class Node(Protocol):
    """What a link needs of a supervisor."""

    @property
    def timers(self) -> Timers: ...

    def deliver(self, what: Input) -> None: ...

    def emit(self, event: Event) -> None: ...

    def stop_soon(self) -> None: ...

    def snapshot(self, number: int = 1, last_exit: str | None = None, *, folded: Collection[Path] = ()) -> Snapshot: ...


class Link(Protocol):
    """Whom a supervisor tells how it fares."""

    def up(self) -> None: ...

    def not_up(self, error: Exception) -> None: ...

    def ended(self, exit: Exit, cause: Escalated | None) -> None: ...


class RootLink:
    """The root has no supervisor above it: its own start and end become events, and the body's affair."""

    def __init__(self, tree: Node, name: str, root: Root) -> None:
        self._tree = tree
        self._root = root
        self._path = (name,)

    def up(self) -> None:
        self._tree.emit(ChildStarted(path=self._path))
        self._root.up()

    def not_up(self, error: Exception) -> None:
        self._tree.emit(ChildStartFailed(path=self._path, error=error, occasion=Occasion.BOOT))
        self._root.not_up(error)

    def ended(self, exit: Exit, cause: Escalated | None) -> None:
        self._tree.emit(ChildEnded(path=self._path, exit=exit))
        self._root.ended(cause)


class ParentLink:
    """A nested supervisor seen from its parent: what an Incarnation is for a child with a task."""

    __slots__ = ("_entry", "_killed", "_number", "_parent", "_supervisor", "_timer")

    def __init__(self, parent: Node, entry: Entry, supervisor: Node) -> None:
        self._parent = parent
        self._entry = entry
        self._number = entry.number
        self._supervisor = supervisor
        self._timer: Timer | None = None
        self._killed = False

    @property
    def supervisor(self) -> Node:
        return self._supervisor

    def up(self) -> None:
        self._parent.deliver(Started(self._entry, self._number, self._supervisor))

    def not_up(self, error: Exception) -> None:
        self._parent.deliver(NotStarted(self._entry, self._number, error))

    def ended(self, exit: Exit, cause: Escalated | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._killed:
            exit = Exit(ExitKind.KILLED)
        self._parent.deliver(Exited(self._entry, self._number, exit))

    def ask(self, seconds: float) -> None:
        if seconds != INFINITY:
            self._timer = self._parent.timers.after(seconds, self.kill)
        self._supervisor.stop_soon()

    def kill(self) -> None:
        self._killed = True
        self._supervisor.deliver(Kill())


class Reply:
    """Where the answer to one request arrives."""

    __slots__ = ("_arrived", "_error", "_value", "done")

    def __init__(self) -> None:
        self._arrived: anyio.Event | None = None
        self.done = False
        self._value: object = None
        self._error: Exception | None = None

    def set(self, value: object, error: Exception | None) -> None:
        self.done, self._value, self._error = True, value, error
        if self._arrived is not None:
            self._arrived.set()

    async def result(self) -> Any:
        if not self.done:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        if self._error is not None:
            raise self._error
        return self._value
