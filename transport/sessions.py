"""What the doors need of sessions: where they come from, and a connection's hold on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.speech.messages import Ack, Resume, SessionEvent, Transcript
from actors.speech.ports import RecognitionConfig


class SessionLink(Protocol):
    """A connection's hold on its session."""

    async def audio(self, pcm: bytes) -> None:
        """Hand over PCM16 mono at the session's rate; waits while the session takes no more."""

    def has_room(self, size: int) -> bool:
        """Whether up to `size` bytes can be handed over by `audio_at_once` now."""

    def audio_at_once(self, pcm: bytes) -> None:
        """As `audio`, for what there is room for: it does not wait."""

    async def finalize(self) -> None:
        """End the utterance here."""

    async def stop(self) -> None:
        """No more audio: the session gives its remaining finals, then `Done`."""

    def acknowledge(self, seq: int) -> None:
        """The client has all finals and gaps up to `seq`."""

    def confirmed(self) -> None:
        """The client that has resumed knows its new token."""

    def delivered(self) -> None:
        """The client has everything, `Done` included."""

    def drain(self, seconds: float) -> None:
        """The server stops by then: the session gives the words for what it heard, then a fatal `GoingAway`."""

    def disconnected(self) -> None:
        """The connection is over, whoever ended it; nothing more is called."""

    async def next_event(self) -> SessionEvent:
        """What to tell the client next; waits for it. The last one is `Done` or a fatal `Problem`."""

    def offer(self, say: Callable[[Transcript | Ack], bool]) -> None:
        """Let `say` have an interim or an ack where it arises, if nothing waits for `next_event`.

        True from it: it was said; else it waits. It must be quick, and never raise.
        """


class Sessions(Protocol):
    """Where sessions come from."""

    async def open(
        self, session_id: str, config: RecognitionConfig, *, user: str = "", resumable: bool = True
    ) -> SessionLink:
        """Begin a session. If the wait is cancelled, no session is left behind.

        Args:
            user: whose it is; empty: nobody's in particular.
            resumable: whether it waits for a client that was lost.

        Raises:
            SpeechError: there will be none: `ServerBusy` (with `retry_after`), `SessionInUse`, `GoingAway`.
        """

    async def resume(
        self, session_id: str, resume: Resume, config: RecognitionConfig, *, user: str = ""
    ) -> SessionLink:
        """Go on with a session that lost its client, or has one that is out of date. Cancelled, it stays as it was.

        Args:
            user: who wants it.

        Raises:
            SpeechError: it cannot be: `ResumeFailed`, or as from `open`.
        """

    def ready(self) -> bool:
        """Whether a new session would find a place and a recogniser."""
