"""Supervision events as log lines: a listener for those who log with the standard library.

    Supervisor(children, on_event=LogListener())

Opt-in: no other module imports this one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from supervisor.names import event_name
from supervisor.reports import (
    BreakerClosed,
    BreakerOpened,
    BreakerProbed,
    BudgetSpent,
    ChildEnded,
    ChildFailed,
    ChildIgnored,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildStopping,
    ChildUnstoppable,
    ErrorEscalated,
    ErrorSurvived,
    Event,
    GaveUp,
    LoopBlocked,
    LoopRecovered,
    SignificantEnded,
)

LEVELS: Mapping[type[Event], int] = MappingProxyType(
    {
        ChildStarted: logging.DEBUG,
        ChildIgnored: logging.DEBUG,
        ChildStopping: logging.DEBUG,
        ChildEnded: logging.DEBUG,
        ChildRestarting: logging.WARNING,
        ChildFailed: logging.ERROR,
        ChildStartFailed: logging.ERROR,
        ChildStopFailed: logging.WARNING,
        ChildUnstoppable: logging.CRITICAL,
        ErrorSurvived: logging.WARNING,
        BudgetSpent: logging.ERROR,
        GaveUp: logging.CRITICAL,
        ErrorEscalated: logging.ERROR,
        SignificantEnded: logging.INFO,
        BreakerOpened: logging.ERROR,
        BreakerProbed: logging.INFO,
        BreakerClosed: logging.INFO,
        LoopBlocked: logging.ERROR,
        LoopRecovered: logging.WARNING,
    }
)


class LogListener:
    """Writes one record an event: the message says what happened to whom, `event` (`tree.child_started`),
    `path` and `incarnation` are extras.

    The traceback goes with the first word of an error (`ChildFailed`, `ChildStartFailed`, `ErrorSurvived`), not with
    what follows from it.

    Args:
        logger: where to; `supervisor` by default.
        levels: other levels than `LEVELS`, by kind of event.
    """

    def __init__(
        self, logger: logging.Logger | None = None, *, levels: Mapping[type[Event], int] = MappingProxyType({})
    ) -> None:
        self._logger = logger or logging.getLogger("supervisor")
        self._levels = {**LEVELS, **levels}

    def __call__(self, event: Event) -> None:
        level = self._levels[type(event)]
        if not self._logger.isEnabledFor(level):
            return
        path = "/".join(event.path)
        extra = {"event": f"tree.{event_name(type(event))}", "path": path, "incarnation": event.number}
        self._logger.log(level, "%s %s", path, describe(event), exc_info=_news(event), extra=extra)


def describe(event: Event) -> str:
    """What happened, in a few words, without whom it happened to."""
    match event:
        case ChildRestarting(delay=delay):
            return f"is restarted in {delay:.3g} s" if delay else "is restarted"
        case ChildEnded(exit=exit) | ChildFailed(exit=exit) | ChildStopFailed(exit=exit):
            return f"{_PHRASES[type(event)]}: {exit.kind.value}" + (f", {exit.error!r}" if exit.error else "")
        case GaveUp(child=child) | ErrorEscalated(child=child) | SignificantEnded(child=child):
            return f"{_PHRASES[type(event)]} {'/'.join(child)}"
        case ChildStartFailed(error=error) | ErrorSurvived(error=error):
            return f"{_PHRASES[type(event)]}: {error!r}"
        case BreakerOpened(breaker=breaker, seconds=seconds):
            return f"opened breaker {breaker} for {seconds:.3g} s"
        case BreakerProbed(breaker=breaker) | BreakerClosed(breaker=breaker):
            return f"{_PHRASES[type(event)]} breaker {breaker}"
        case LoopBlocked(seconds=seconds, stack=stack):
            return f"event loop blocked for {seconds:.3g} s, in:\n{stack}"
        case LoopRecovered(seconds=seconds):
            return f"event loop goes on after {seconds:.3g} s"
        case _:
            return _PHRASES[type(event)]


_PHRASES: Mapping[type[Event], str] = {
    ChildStarted: "started",
    ChildIgnored: "declined to start",
    ChildStopping: "is asked to stop",
    ChildEnded: "ended",
    ChildFailed: "failed",
    ChildStartFailed: "did not start",
    ChildStopFailed: "ended badly when told to stop",
    ChildUnstoppable: "does not stop and was given up; its task leaks",
    ErrorSurvived: "goes on after an error",
    BudgetSpent: "has used up its restarts and stays down",
    GaveUp: "gave up because of",
    ErrorEscalated: "ends with the error of",
    SignificantEnded: "shuts down after",
    BreakerProbed: "tries for",
    BreakerClosed: "closed",
}


def _news(event: Event) -> BaseException | None:
    match event:
        case ChildFailed(exit=exit) | ChildStopFailed(exit=exit):
            return exit.error
        case ChildStartFailed(error=error) | ErrorSurvived(error=error):
            return error
        case _:
            return None
