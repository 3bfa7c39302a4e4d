"""Who listens to what happens in a server: logs, metrics, alerts, the console. None of them can stop it."""

from __future__ import annotations

from collections.abc import Iterable

from actors.speech.backends.events import PoolEvent
from actors.speech.error_handler import ErrorContext
from actors.speech.journal.reports import JournalReport
from actors.speech.reports import SessionReport
from supervisor.reports import Event


class Observer:
    """Is told of everything, from the event loop. What it does must be quick and must not raise."""

    def tree(self, event: Event) -> None:
        """Something happened in the supervision tree."""

    def pool(self, event: PoolEvent) -> None:
        """Something happened to a backend."""

    def session(self, report: SessionReport) -> None:
        """Something happened to a session."""

    def journal(self, report: JournalReport) -> None:
        """Something happened to the journal."""

    def refused(self, reason: str) -> None:
        """A request was refused before there was a session: `path`, `plain_http`, `origin`, …"""

    def reloaded(self, ok: bool) -> None:
        """The settings were read again, and could be used or not."""

    def error(self, error: ErrorContext) -> None:
        """An error was handled: each comes once."""


class Observers(Observer):
    """Tells each of some observers, in their order."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._all = tuple(observers)

    def tree(self, event: Event) -> None:
        for each in self._all:
            each.tree(event)

    def pool(self, event: PoolEvent) -> None:
        for each in self._all:
            each.pool(event)

    def session(self, report: SessionReport) -> None:
        for each in self._all:
            each.session(report)

    def journal(self, report: JournalReport) -> None:
        for each in self._all:
            each.journal(report)

    def refused(self, reason: str) -> None:
        for each in self._all:
            each.refused(reason)

    def reloaded(self, ok: bool) -> None:
        for each in self._all:
            each.reloaded(ok)

    def error(self, error: ErrorContext) -> None:
        for each in self._all:
            each.error(error)
