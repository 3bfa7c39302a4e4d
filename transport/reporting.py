"""What of all that happens is an error, and whose: the one way from events to the error handler."""

from __future__ import annotations

from collections.abc import Callable

from actors.errors import ActorGone
from actors.speech.backends.events import BackendDown, ModelMissing, PoolEvent
from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import (
    LoopStoodStill,
    PartDoesNotStop,
    PartGaveUp,
    SessionGaveUp,
    SpeechError,
    UnexpectedError,
)
from actors.speech.live_session import PREFIX
from supervisor.errors import Path
from supervisor.reports import (
    BudgetSpent,
    ChildFailed,
    ChildStartFailed,
    ChildStopFailed,
    ChildUnstoppable,
    ErrorEscalated,
    ErrorSurvived,
    Event,
    Exit,
    GaveUp,
    LoopRecovered,
    Occasion,
)
from transport.observers import Observer


class Reporting(Observer):
    """Hands each error of the tree and of the backends to the handler.

    Several events may come of one error: the handler knows it again by its object. Errors of connections are handed
    over by the connections, which alone know what their clients were told.

    Args:
        whose: the user of a session, by its id.
    """

    def __init__(self, handler: ErrorHandler, whose: Callable[[str], str] = lambda session_id: "") -> None:
        self._handler = handler
        self._whose = whose

    def tree(self, event: Event) -> None:
        if (error := _cause(_error_of(event))) is not None:
            session_id = session_of(event.path)
            context = ErrorContext(
                path="/".join(event.path),
                session_id=session_id,
                user_id=self._whose(session_id),
                retry_attempt=event.number - 1,
            )
            self._handler.report(error, context)

    def pool(self, event: PoolEvent) -> None:
        if isinstance(event, BackendDown | ModelMissing):
            self._handler.report(event.error, ErrorContext(endpoint=event.name))


def session_of(path: Path) -> str:
    """The session a part of the tree belongs to; empty: none."""
    return next((name.removeprefix(PREFIX) for name in path if name.startswith(PREFIX)), "")


def _cause(error: BaseException | None) -> BaseException | None:
    """Who asked an actor that died has failed of what the actor died of; of one that was stopped, of nothing."""
    while isinstance(error, ActorGone):
        error = error.reason
    return error


def _error_of(event: Event) -> BaseException | None:
    match event:
        case ChildStartFailed(occasion=Occasion.BOOT):
            return None  # raised where the tree was started; whoever started it says so
        case ChildFailed(exit=Exit(error=error)):
            return UnexpectedError("it ended by itself") if error is None else error
        case ChildStopFailed(exit=Exit(error=error)):
            return error
        case ChildStartFailed(error=error) | ErrorSurvived(error=error):
            return error
        case GaveUp(path=path, child=child) | ErrorEscalated(path=path, child=child):
            return _gave_up(path, f"because of {'/'.join(child)}")
        case BudgetSpent(path=path):
            return _gave_up(path, "its own restarts are used up")
        case ChildUnstoppable():
            return PartDoesNotStop("it was cancelled and goes on")
        case LoopRecovered(seconds=seconds):
            return LoopStoodStill(f"for {seconds:.1f} s")
        case _:
            return None


def _gave_up(path: Path, why: str) -> SpeechError:
    return SessionGaveUp(why) if session_of(path) else PartGaveUp(why)
