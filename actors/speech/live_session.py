"""One session while it lives, seen from outside its actor."""

from __future__ import annotations

from contextlib import suppress

from actors.address import Ref
from actors.errors import ActorGone
from actors.mailbox import Mailbox
from actors.speech.errors import SpeechError
from actors.speech.messages import Attach, ClientGone, Deposed, Problem, Resume, SessionMessage
from actors.speech.record import SessionRecord
from actors.speech.signal import Latch

PREFIX = "session:"  # of the trees' names
MAILBOX = Mailbox(64)  # over a second of 20 ms frames; a client ahead of that waits


class Session:
    """One live session: its record, its actor's address, and who wants it."""

    def __init__(self, record: SessionRecord) -> None:
        self.record = record
        self.ref: Ref[SessionMessage] = Ref(PREFIX + record.session_id, MAILBOX)
        self._over = Latch()

    async def attach(self, number: int, resume: Resume) -> bool:
        """Have a client take the session over; False: the session ended before it could say whether it may.

        Raises:
            SpeechError: it may not.
        """
        client = self.record.clients[number]
        try:
            await self.ref.send(Attach(number, resume, client.token))
        except ActorGone:
            return False
        return await client.answer()

    async def give_up(self) -> None:
        """End it: another owner has it."""
        self.tell(Deposed(self.record.epoch))
        await self._over.wait()

    def tell(self, message: SessionMessage) -> None:
        """Tell the session, unless it is gone."""
        with suppress(ActorGone):
            self.ref.tell(message, control=True)

    def left(self, number: int) -> None:
        """This client's connection is over."""
        if self.record.clients.pop(number, None) is not None:
            self.tell(ClientGone(number))

    def ended(self, error: SpeechError) -> None:
        """The session's tree is gone. If it could not say why itself, `error` is the client's last event."""
        record = self.record
        self.ref.close()
        for number, client in record.clients.items():
            if number == record.client:
                client.outbox.put(Problem(code=error.code, fatal=True, known=True))
            else:
                client.refuse()
        for log in (record.log, *record.later):
            log.release(log.end)  # nobody will settle it any more
            log.released.notify()  # free whoever waits for room, also where there was nothing left to release
        self._over.set()
