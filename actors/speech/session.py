"""The session actor: the only writer of its session's record."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import assert_never

import anyio

from actors.base import Actor, handler
from actors.errors import ActorError
from actors.speech.messages import Learn, SessionMessage
from actors.speech.record import SessionRecord
from actors.speech.session_core import Command, End, Remind, Report, Send, SessionCore


class SessionActor(Actor[SessionMessage]):
    """Carries out what the core decides. Holds nothing itself: a new incarnation goes on with the record.

    What it decided but could not say any more, because it crashed in between, its next life says first.
    """

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._core = SessionCore(record)

    async def started(self) -> None:
        self._say()
        self._carry_out(self._core.begin(anyio.current_time()))

    @handler
    def receive(self, message: SessionMessage) -> int:
        """Apply one message; the reply, for those who ask, is the position up to which everything is settled."""
        self._carry_out(self._core.receive(message, now=anyio.current_time()))
        return self._record.timeline.confirmed

    def _carry_out(self, commands: Iterable[Command]) -> None:
        ends = False
        for command in commands:
            match command:
                case Send(event):
                    self._record.decided.append(event)
                case Report(error):
                    self.incarnation.report(error)
                case Learn():
                    self._teach(command)
                case Remind(seconds, message):
                    self.after(seconds, message)
                case End():
                    ends = True
                case _:
                    assert_never(command)
        self._say()
        if ends:
            self.stop()

    def _teach(self, what: Learn) -> None:
        if self._record.cache is not None:
            with suppress(ActorError):  # it has enough to do, or is gone: nobody depends on what it knows
                self._record.cache.tell(what)

    def _say(self) -> None:
        decided, outbox = self._record.decided, self._record.outbox
        while decided:
            outbox.put(decided[0])
            decided.popleft()
