"""The session actor: the only writer of its session's record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import assert_never

from actors.base import Actor, handler
from actors.errors import ActorError, ActorGone
from actors.speech.audience import AudienceMessage
from actors.speech.client import Client
from actors.speech.errors import JournalDamaged, ServerBusy, SpeechError, TakenOver
from actors.speech.keeping import Keeping
from actors.speech.messages import Audio, ClientGone, Drain, Finalize, Learn, Problem, Ready, SessionMessage, Stop
from actors.speech.record import SessionRecord
from actors.speech.session_commands import (
    Adopt,
    AskFor,
    Command,
    End,
    Finish,
    Forget,
    Part,
    Remind,
    Renew,
    Report,
    Say,
    Tell,
    TurnAway,
    Write,
)
from actors.speech.session_core import SessionCore

SaidOnce = Audio | Finalize | Stop | Drain | AudienceMessage  # the recogniser's words are heard again, by the next one
CATCH_UP = 4  # times real time that a client may send what it has kept: a thousand that come back are no flood


class SessionActor(Actor[SessionMessage]):
    """Carries out what the core decides. Holds nothing itself: a new incarnation goes on with the record.

    What it decided but could not do any more, because it crashed in between, its next life does first; and it tries
    once more the message that the last life died of, if nobody would say that again.
    """

    def __init__(self, record: SessionRecord, keeping: Keeping) -> None:
        self._now: Callable[[], float]  # from its start on
        self._record = record
        self._keeping = keeping
        self._core = SessionCore(record)

    async def started(self) -> None:
        self._now = self.incarnation.timers.now
        self._begin(self._now())

    @handler
    def receive(self, message: SessionMessage) -> int:
        """Apply one message; the reply, for those who ask, is the position up to which everything is settled."""
        self._record.in_hand = message
        commands = self._core.receive(message, self._now())
        self._record.in_hand = None
        if commands:
            self._follow(commands)
        return self._record.timeline.confirmed

    def _begin(self, now: float) -> None:
        record = self._record
        self._carry_out()  # what the last life had decided
        self._follow(self._core.begin(now))
        message, record.in_hand = record.in_hand, None
        if isinstance(message, SaidOnce):  # the last life died of it; should this one too, it is passed over
            self._follow(self._core.receive(message, now))

    def _follow(self, commands: Iterable[Command]) -> None:
        self._record.todo.extend(commands)
        self._carry_out()

    def _carry_out(self) -> None:
        todo = self._record.todo
        while todo:
            self._do(todo[0])
            del todo[0]

    def _do(self, command: Command) -> None:
        match command:
            case Say(event):
                if (client := self._client(self._record.client)) is not None:
                    client.outbox.put(event)
            case Report(error):
                self.incarnation.report(error)
            case Tell(report):
                self._record.listener(report)
            case Learn():
                self._teach(command)
            case Remind(seconds, message):
                self.after(seconds, message)
            case Adopt():
                self._adopt(command)
            case TurnAway(client, error):
                self._turn_away(client, error)
            case Part(client):
                self._part(client)
            case End():
                self.stop()
            case Write() | Renew() | Finish() | Forget() | AskFor():
                self._keep(command)
            case _:
                assert_never(command)

    def _teach(self, what: Learn) -> None:
        if self._record.cache is not None:
            with suppress(ActorError):  # it has enough to do, or is gone: nobody depends on what it knows
                self._record.cache.tell(what)

    # ---- clients

    def _adopt(self, adopted: Adopt) -> None:
        record, client = self._record, self._client(adopted.client)
        if client is None:  # it has gone, and the message that says so is on its way
            return
        try:
            missed = self._keeping.events(record.session_id, adopted.missed)
        except JournalDamaged as error:  # written with another key, for one
            self.incarnation.report(error)
            client.refuse(error)
            self.ref.tell(ClientGone(adopted.client), control=True)
            return
        client.welcome(ready(record, client.token, adopted.position, self._keeping, resumed=True), missed)

    def _turn_away(self, number: int, error: SpeechError | None) -> None:
        if (client := self._client(number)) is not None:
            client.refuse(error)

    def _part(self, number: int) -> None:
        if (client := self._client(number)) is not None:
            client.outbox.put(Problem(code=TakenOver.entry.code, fatal=True))

    def _client(self, number: int | None) -> Client | None:
        return None if number is None else self._record.clients.get(number)

    # ---- the journal

    def _keep(self, command: Write | Renew | Finish | Forget | AskFor) -> None:
        try:
            self._keeping.carry_out(self._record, command, self._tell)
        except ServerBusy as busy:
            assert isinstance(command, AskFor)
            self._record.claims.pop(command.attach.client, None)
            self._turn_away(command.attach.client, busy)

    def _tell(self, message: SessionMessage) -> None:
        with suppress(ActorGone):  # the session is over, and was when the journal was asked for the last time
            self.ref.tell(message, control=True)


def ready(record: SessionRecord, token: str, position: int, keeping: Keeping, *, resumed: bool = False) -> Ready:
    """What a client is told first."""
    return Ready(
        session_id=record.session_id,
        config=record.config,
        position=position,
        seq=record.publication.seq,
        epoch=record.epoch,
        resumed=resumed,
        token=token,
        window=record.window,
        credit=CATCH_UP * record.config.sample_rate,
        durability=keeping.durability,
    )
