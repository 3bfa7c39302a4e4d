"""Who listens to a session, and when it may hear what was decided. Pure, as `session_core` is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from actors.speech.catalogue import CATALOGUE
from actors.speech.errors import GoingAway, JournalUnavailable, ResumeFailed, SpeechError, TakenOver
from actors.speech.journal.port import Claimed, Fenced, Refused
from actors.speech.messages import (
    Ack,
    Acknowledge,
    Attach,
    Claimable,
    ClientGone,
    Committed,
    Deposed,
    Done,
    Finished,
    Gap,
    Problem,
    Recalled,
    RenewDue,
    Status,
    StillAlone,
    StillSilent,
    StillUnwritten,
    Transcript,
)
from actors.speech.publication import Event
from actors.speech.record import SessionRecord
from actors.speech.reports import Ending, SessionLeft, SessionResumed, Stated
from actors.speech.session_commands import (
    Adopt,
    AskFor,
    Command,
    Decision,
    End,
    Finish,
    Forget,
    Part,
    Remind,
    Renew,
    Say,
    Send,
    Tell,
    TurnAway,
    Write,
)

JOURNAL_SECONDS = 1.0  # how long finals may wait for the journal before the client is told that they do
RETURN_SECONDS = 3.0  # in which a client that comes back sends what it has kept; after that it has nothing to say
RENEW_SECONDS = 8.0  # how often the journal is told that the session lives: three times in its lease

FromClients = Attach | Acknowledge | ClientGone
FromJournal = Claimable | Committed | Finished | Deposed
Reminders = StillUnwritten | StillSilent | StillAlone | RenewDue
AudienceMessage = FromClients | FromJournal | Reminders


class Audience:
    """The rules of one session towards its clients and its journal.

    There is one client at a time, or none. The newest that shows a valid token has the session; a session without a
    client waits for one, as long as its window is, and goes on recognising what it has.
    """

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._publication = record.publication

    def begin(self, now: float) -> list[Command]:
        """What comes first in each life of the session's actor. What the last one asked may not have been heard."""
        record = self._record
        self._publication.give_again()
        commands: list[Command] = [Remind(RENEW_SECONDS, RenewDue())]
        commands += map(AskFor, record.claims.values())
        if record.alone_since is not None:
            left = max(0.0, record.alone_since + record.window - now)
            commands.append(Remind(left, StillAlone(record.alone_since)))
        return [*commands, *self.publish(())]

    def receive(self, message: AudienceMessage, now: float) -> list[Decision]:
        """What follows from a message at the time `now`."""
        match message:
            case Attach():
                return self._attach(message)
            case Claimable(client, epoch, outcome):
                return self._answered(client, epoch, outcome, now)
            case ClientGone(client):
                return self._gone(client, now)
            case Acknowledge(seq):
                return self._acknowledged(seq)
            case Committed(seq):
                return self._committed(seq)
            case Finished():
                self._publication.finished = True
                return []
            case Deposed(epoch):
                return self._deposed() if epoch == self._record.epoch else []
            case StillUnwritten(seq):
                return self._still_unwritten(seq)
            case StillSilent(client):
                if client == self._record.client:
                    self._record.intake.awaited = False
                return []
            case StillAlone(since):
                return [self._end(Ending.CLIENT_GONE)] if since == self._record.alone_since else []
            case RenewDue():
                return [*self._renewal(), Remind(RENEW_SECONDS, RenewDue())]
            case _:
                assert_never(message)

    def publish(self, decisions: Iterable[Decision]) -> list[Command]:
        """What can be done of what was decided, now or earlier: what is to be said goes to the journal first."""
        commands: list[Command] = []
        for decision in decisions:
            match decision:
                case Send(Transcript() | Gap() | Recalled() | Done() | Problem() as event):
                    self._publication.put(event)
                case Send(Status() as status):
                    self._record.status = None if status.state == "streaming" else status
                    stated = Stated(session=self._record.session_id, state=status.state, code=status.code)
                    commands += Tell(stated), Say(status)
                case Send(event):
                    commands.append(Say(event))
                case _:
                    commands.append(decision)
        if entries := self._publication.take_unwritten():
            commands += Write(entries), Remind(JOURNAL_SECONDS, StillUnwritten(entries[-1].seq))
        for event in self._publication.take_sayable():
            commands += Say(event), *self._after(event)
        if (done := self._publication.take_end()) is not None:
            commands.append(Finish(done.position))
        return commands

    def ack(self) -> Ack:
        """How far the session has come."""
        publication = self._publication
        return Ack(durable=publication.durable, received=self._record.intake.end, seq=publication.seq)

    def _after(self, event: Event) -> list[Command]:
        """What follows when this was said."""
        match event:
            case Gap() | Transcript(is_final=True):
                return [Say(self.ack())]
            case Problem(fatal=True, code=GoingAway.entry.code):
                return [Renew(connected=False, seq=self._publication.acked), self._end(Ending.DRAINED)]
            case Problem(fatal=True, code=code):
                return [Forget(), self._end(Ending.FAILED, code)]
            case Done():
                return [self._end(Ending.COMPLETED)]
            case _:
                return []

    # ---- clients

    def _attach(self, attach: Attach) -> list[Decision]:
        record, publication, seq = self._record, self._publication, attach.resume.seq
        if record.draining:
            return [TurnAway(attach.client, GoingAway())]
        if seq > publication.seq:
            return [TurnAway(attach.client, ResumeFailed(f"resume.seq {seq}: there were {publication.seq} finals"))]
        if not publication.keeps_words and seq < record.timeline.seq:
            return [TurnAway(attach.client, None)]  # what it lacks can only be recognised again
        record.claims[attach.client] = attach
        return [AskFor(attach)]

    def _answered(self, client: int, epoch: int, outcome: Claimed | Refused | Fenced, now: float) -> list[Decision]:
        if isinstance(outcome, Claimed):
            return self._claimed(client, outcome, now)
        attach = self._record.claims.pop(client, None)
        if isinstance(outcome, Refused):
            return [TurnAway(client, refusal(outcome))]
        if epoch == self._record.epoch:  # others have had the session, and written what is not known here
            return [TurnAway(client, None), *self._deposed()]
        return [] if attach is None else self._attach(attach)  # the other owner is this session: an earlier claim of it

    def _claimed(self, client: int, claimed: Claimed, now: float) -> list[Decision]:
        record = self._record
        record.epoch = claimed.epoch
        self._publication.give_again()  # under the new epoch
        attach = record.claims.pop(client, None)
        if attach is None:
            return []  # it has gone meanwhile; whoever had the session has it still
        commands: list[Decision] = [] if record.client is None else [Part(record.client)]
        away = 0.0 if record.alone_since is None else now - record.alone_since
        record.client, record.alone_since = client, None
        record.resumes += 1
        commands.append(Tell(SessionResumed(session=record.session_id, epoch=record.epoch, away=away)))
        self._publication.acknowledged(attach.resume.seq)
        commands.append(Adopt(client, self._position(attach.resume.oldest), claimed.entries))
        commands.append(Remind(RETURN_SECONDS, StillSilent(client)))
        if record.journal_late:
            commands.append(Say(_journal_late()))
        elif record.status is not None:
            commands.append(Say(record.status))
        return [*commands, Say(self.ack())]

    def _position(self, oldest: int | None) -> int:
        """Where the client is to go on; if it cannot from there, what it has not kept is lost."""
        record = self._record
        if oldest is not None and oldest > record.intake.end and not record.intake.ended:
            record.skip(oldest)
        return record.intake.end

    def _gone(self, client: int, now: float) -> list[Decision]:
        record = self._record
        record.claims.pop(client, None)
        if client != record.client:
            return []
        record.client, record.alone_since = None, now
        record.intake.awaited = True
        return [
            Tell(SessionLeft(session=record.session_id)),
            Renew(connected=False, seq=self._publication.acked),
            Remind(record.window, StillAlone(now)),
        ]

    def _acknowledged(self, seq: int) -> list[Decision]:
        before = self._publication.durable
        self._publication.acknowledged(seq)
        return [Say(self.ack())] if self._publication.durable > before else []

    # ---- the journal

    def _committed(self, seq: int) -> list[Decision]:
        publication, record = self._publication, self._record
        publication.committed(seq)
        if not record.journal_late:
            return []
        record.journal_late = False
        return [Say(record.status or Status(state="streaming", message="The words are coming again."))]

    def _still_unwritten(self, seq: int) -> list[Decision]:
        if self._record.journal_late or self._publication.seq >= seq:
            return []
        self._record.journal_late = True
        return [Say(_journal_late())]

    def _renewal(self) -> list[Decision]:
        if self._record.renewing:
            return []  # it was asked to, and has not answered
        return [Renew(connected=self._record.client is not None, seq=self._publication.acked)]

    def _deposed(self) -> list[Decision]:
        return [Say(Problem(code=TakenOver.entry.code, fatal=True)), self._end(Ending.TAKEN_OVER)]

    def _end(self, ending: Ending, code: str | None = None) -> End:
        self._record.ending = ending, code
        return End()


def refusal(refused: Refused) -> SpeechError:
    """What a client is told whose claim was refused: it may only be late, as the slower one of two that resumed."""
    return TakenOver() if refused.superseded else ResumeFailed()


def _journal_late() -> Status:
    entry = CATALOGUE[JournalUnavailable.entry.code]
    return Status(state="delayed", code=entry.code, message=entry.message)
