"""The session actor: the only writer of its session's record."""

from __future__ import annotations

from contextlib import suppress
from typing import assert_never

import anyio

from actors.base import Actor, handler
from actors.errors import ActorError
from actors.speech.messages import Learn, SessionMessage
from actors.speech.record import SessionRecord
from actors.speech.session_core import End, Remind, Report, Send, SessionCore


class SessionActor(Actor[SessionMessage]):
    """Carries out what the core decides. Holds nothing itself: a new incarnation goes on with the record."""

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._core = SessionCore(record)

    @handler
    def receive(self, message: SessionMessage) -> int:
        """Apply one message; the reply, for those who ask, is the position up to which everything is settled."""
        for command in self._core.receive(message, now=anyio.current_time()):
            match command:
                case Send(event):
                    self._record.outbox.put(event)
                case Report(error):
                    self.incarnation.report(error)
                case Remind(seconds, message):
                    self.after(seconds, message)
                case Learn():
                    self._teach(command)
                case End():
                    self.stop()
                case _:
                    assert_never(command)
        return self._record.timeline.confirmed

    def _teach(self, what: Learn) -> None:
        if self._record.cache is not None:
            with suppress(ActorError):  # it has enough to do, or is gone: nobody depends on what it knows
                self._record.cache.tell(what)
