"""How sessions use the journal: their commands as its operations, its answers as their messages."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import assert_never

import anyio

from actors.speech.errors import ServerBusy
from actors.speech.journal import port
from actors.speech.journal.body import Bodies, TextPolicy, pack_config, unpack_config
from actors.speech.journal.journal import Journal
from actors.speech.messages import (
    Attach,
    Claimable,
    Committed,
    Deposed,
    Finished,
    Gap,
    Resume,
    SessionMessage,
    Transcript,
)
from actors.speech.ports import RecognitionConfig
from actors.speech.record import SessionRecord
from actors.speech.session_commands import AskFor, Finish, Forget, Renew, Write

Tell = Callable[[SessionMessage], None]
TOKEN_BYTES = 32
PATIENCE = 5.0  # seconds for the journal to say whether a client may have a session; then it may ask again


class Keeping:
    """The journal of all sessions, as one session sees it.

    Args:
        journal: what is written to.
        bodies: how words are kept in it.
    """

    def __init__(self, journal: Journal, bodies: Bodies) -> None:
        self._journal = journal
        self._bodies = bodies

    @property
    def durability(self) -> port.Durability:
        """What a final that a client was sent survives."""
        return self._journal.durability

    @property
    def keeps_words(self) -> bool:
        """Whether the journal could give finals back."""
        return self._bodies.text is not TextPolicy.NONE

    def carry_out(self, record: SessionRecord, command: Write | Renew | Finish | Forget | AskFor, tell: Tell) -> None:
        """Ask the journal for what a session wants, and tell it what comes of that; never waits.

        Raises:
            ServerBusy: a client cannot have the session now.
        """
        session_id, epoch = record.session_id, record.epoch

        def submit(operation: port.Operation, answer: SessionMessage | None) -> None:
            def then(outcome: port.Outcome) -> None:
                if isinstance(operation, port.Renew):
                    record.renewing = False
                if isinstance(outcome, port.Fenced):
                    tell(Deposed(epoch))
                elif answer is not None:
                    tell(answer)

            self._journal.submit(operation, then)

        match command:
            case Write(entries):
                kept = tuple(self._bodies.entry(session_id, entry) for entry in entries)
                submit(port.Append(session_id, epoch, kept), Committed(entries[-1].seq))
            case Renew(connected, seq):
                record.renewing = True
                submit(port.Renew(session_id, epoch, connected, seq if self.keeps_words else 0), None)
            case Finish(position):
                submit(port.Finish(session_id, epoch, position), Finished())
            case Forget():
                self.forget(session_id, epoch)
            case AskFor(attach):
                self._ask(record, attach, tell)
            case _:
                assert_never(command)

    async def begin(self, session_id: str, config: RecognitionConfig, token: str, user: str = "") -> int | None:
        """Enter a new session, and return its epoch; None: another one has its id, and is connected or another user's.

        Raises:
            ServerBusy: the journal takes no new ones.
        """
        opening = port.Open(session_id, pack_config(config), digest(token), user_digest(user))
        outcome = await self._perform(opening, session_id)
        return outcome.epoch if isinstance(outcome, port.Opened) else None

    async def claim(
        self, session_id: str, resume: Resume, next_token: str, user: str = ""
    ) -> port.Claimed | port.Refused:
        """Own a session that a client wants to resume, if it may.

        Raises:
            ServerBusy: the journal can be asked nothing now.
        """
        claim = port.Claim(
            session_id,
            digest(resume.token),
            digest(next_token),
            resume.seq,
            rewind=not self.keeps_words,
            user=user_digest(user),
        )
        outcome = await self._perform(claim, session_id)
        assert isinstance(outcome, port.Claimed | port.Refused)  # who does not own a session is not fenced
        return outcome

    def config(self, claimed: port.Claimed) -> RecognitionConfig:
        """What the session was begun with."""
        return unpack_config(claimed.config)

    def events(self, session_id: str, entries: Iterable[port.Entry]) -> list[Transcript | Gap]:
        """What a client has missed.

        Raises:
            JournalDamaged: an entry cannot be read.
        """
        events = (self._bodies.event(session_id, entry) for entry in entries)
        return [event for event in events if event is not None]

    def confirm(self, session_id: str, epoch: int) -> None:
        """The client has its new token."""
        self._journal.submit(port.Confirm(session_id, epoch), _ignore)

    def leave(self, session_id: str, epoch: int) -> None:
        """Nobody here has the session any more; a client may resume it."""
        self._journal.submit(port.Renew(session_id, epoch, connected=False), _ignore)

    def forget(self, session_id: str, epoch: int) -> None:
        """Nobody can want the session any more."""
        self._journal.submit(port.Forget(session_id, epoch), _ignore)

    def _ask(self, record: SessionRecord, attach: Attach, tell: Tell) -> None:
        def then(outcome: port.Outcome) -> None:
            assert isinstance(outcome, port.Claimed | port.Refused | port.Fenced)
            tell(Claimable(attach.client, epoch, outcome))

        token, next_token, epoch = digest(attach.resume.token), digest(attach.next_token), record.epoch
        user = user_digest(record.user)  # its own: others do not get as far as asking
        claim = port.Claim(record.session_id, token, next_token, attach.resume.seq, owner=epoch, user=user)
        self._journal.submit(claim, then)

    async def _perform(self, operation: port.Operation, session_id: str) -> port.Outcome:
        with anyio.move_on_after(PATIENCE):
            return await self._journal.perform(operation, partial(self._give_up, session_id))
        raise ServerBusy("the journal does not answer", retry_after=PATIENCE)

    def _give_up(self, session_id: str, outcome: port.Outcome) -> None:
        """Who wanted the session did not wait for it."""
        match outcome:
            case port.Opened(epoch):
                self.forget(session_id, epoch)
            case port.Claimed(epoch=epoch):
                self.leave(session_id, epoch)
            case _:
                pass


def new_token() -> str:
    """A secret that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> bytes:
    """What the journal knows of a token."""
    return hashlib.sha256(token.encode()).digest()


def user_digest(user: str) -> bytes:
    """What the journal knows of a user; of nobody in particular, nothing."""
    return hashlib.sha256(user.encode()).digest() if user else b""


def _ignore(_: port.Outcome) -> None:
    """Nobody waits for it."""
