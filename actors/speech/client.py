"""One client of a session, as the session knows it."""

from __future__ import annotations

from collections.abc import Iterable

from actors.speech.errors import SpeechError
from actors.speech.messages import Ready, SessionEvent
from actors.speech.outbox import Outbox
from actors.speech.signal import Latch


class Client:
    """What one connection is told, and whether it has its session yet.

    Args:
        token: with which it may come back.

    Attributes:
        token: see above.
        outbox: what waits to be sent.
        ready: it has its session since, with what it was told first; None: not yet.
        refusal: why it does not get it; None: that is not known, or it does.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.outbox = Outbox()
        self.ready: Ready | None = None
        self.refusal: SpeechError | None = None
        self._answered = Latch()

    @property
    def deposed(self) -> bool:
        """Nothing it says counts any more."""
        return self.outbox.over

    def welcome(self, ready: Ready, missed: Iterable[SessionEvent] = ()) -> None:
        """The session is its: it is told so, and what it has missed."""
        self.ready = ready
        self.outbox.begin((ready, *missed))
        self._answered.set()

    def refuse(self, error: SpeechError | None = None) -> None:
        """It does not get the session. Without an error: not from whom it asked."""
        self.refusal = error
        self._answered.set()

    async def answer(self) -> bool:
        """Wait for the session's answer: True if it is this client's.

        Raises:
            SpeechError: it is not, and will not be. False: that is for the journal to say.
        """
        await self._answered.wait()
        if self.refusal is not None:
            raise self.refusal
        return self.ready is not None
