"""What a worker tells its parent of errors and backends, and the parent those who send alerts."""

from __future__ import annotations

from collections.abc import Callable

from actors.speech.backends.events import BackendDown, BackendDrained, BackendJoined, BackendLeft, BackendUp, PoolEvent
from actors.speech.catalogue import Severity
from actors.speech.error_handler import ErrorContext
from actors.speech.errors import BY_CODE, UnexpectedError
from transport.observers import Observer
from transport.workers.wire import BackendChanged, Failed, Said

JOINED, UP, DOWN, LEFT = "joined", "up", "down", "left"


class Reports(Observer):
    """Listens in a worker, and passes on what alerts are made of."""

    def __init__(self, say: Callable[[Said], None]) -> None:
        self._say = say

    def error(self, error: ErrorContext) -> None:
        self._say(
            Failed(
                code=error.error_code,
                severity=error.severity.value,
                when=error.when,
                endpoint=error.endpoint,
                path=error.path,
                session_id=error.session_id,
            )
        )

    def pool(self, event: PoolEvent) -> None:
        match event:
            case BackendJoined(name=name):
                self._say(BackendChanged(name, JOINED))
            case BackendUp(name=name):
                self._say(BackendChanged(name, UP))
            case BackendDown(name=name, code=code):
                self._say(BackendChanged(name, DOWN, code))
            case BackendLeft(name=name) | BackendDrained(name=name, leaving=True):
                self._say(BackendChanged(name, LEFT))
            case _:
                pass


class Backends:
    """The backends of all workers as those of one server: one is down while it is for any of them.

    Args:
        tell: told of what that means for the server.
    """

    def __init__(self, tell: Callable[[PoolEvent], None]) -> None:
        self._tell = tell
        self._known: dict[str, set[object]] = {}  # to whom it is
        self._down: dict[str, set[object]] = {}  # for whom it is

    def changed(self, who: object, change: BackendChanged) -> None:
        """A worker's process sees one of its backends change."""
        name = change.name
        known, down = self._known.setdefault(name, set()), self._down.setdefault(name, set())
        match change.change:
            case "left":
                self._forget(name, who)
            case "up":
                known.add(who)
                self._up(name, who)
            case "down":
                known.add(who)
                down.add(who)
                if len(down) == 1:
                    self._tell(BackendDown(name=name, error=BY_CODE.get(change.code, UnexpectedError)()))
            case _:
                known.add(who)
                self._tell(BackendJoined(name=name))

    def gone(self, who: object) -> None:
        """A process is no more, and sees nothing."""
        for name in list(self._known):
            self._up(name, who)
            self._known[name].discard(who)

    def _up(self, name: str, who: object) -> None:
        down = self._down[name]
        if who in down and len(down) == 1:
            self._tell(BackendUp(name=name, seconds=0.0))
        down.discard(who)

    def _forget(self, name: str, who: object) -> None:
        self._known[name].discard(who)
        if self._known[name]:
            self._up(name, who)
        else:
            self._down[name].clear()
            self._tell(BackendLeft(name=name))


def context_of(failed: Failed) -> ErrorContext:
    """An error of a worker as alerts know errors."""
    return ErrorContext(
        error_code=failed.code,
        severity=Severity(failed.severity),
        when=failed.when,
        endpoint=failed.endpoint,
        path=failed.path,
        session_id=failed.session_id,
    )
