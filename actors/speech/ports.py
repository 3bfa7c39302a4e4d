"""What a speech session needs from outside: a recogniser, and, where wanted, an index of what it has heard.

Riva fits these protocols, and so do the tests' fakes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Protocol

import msgspec


class Tier(Enum):
    """How dear a backend is to us; lower tiers are used while all higher ones are full or down."""

    PRIMARY = "primary"
    FALLBACK = "fallback"
    EMBEDDED = "embedded"


class RecognitionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a session asks of its recogniser. `sample_rate` is in Hz; the audio is always PCM16 mono."""

    sample_rate: int = 16000
    language: str = "en-US"  # BCP-47
    interim_results: bool = True
    word_times: bool = True
    punctuate: bool = True
    model: str = ""  # empty: the backend picks


class Word(msgspec.Struct, frozen=True, gc=False):
    """One recognised word; `start` and `end` are sample positions."""

    text: str
    start: int
    end: int
    confidence: float = 0.0


class Recognised(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a stream. A backend's positions count samples from its *stream's* start, at the session's rate.

    Those that a session is told of (`Heard`) count from the session's start instead.

    Attributes:
        text: empty when nothing was said between the last final and `processed`, silence or noise at most.
        words: with times; may be empty when the backend gives none.
        processed: samples the backend has heard so far (0: it does not say).
        stability: 0 to 1, interims only: how unlikely it is to change.
        confidence: 0 to 1, finals only; 0.0 when the backend does not say.
        provisional: a final that the backend did not give itself: the last interim of one that never did.
    """

    is_final: bool
    text: str = ""
    words: tuple[Word, ...] = ()
    processed: int = 0
    stability: float = 0.0
    confidence: float = 0.0
    provisional: bool = False


class RecognitionStream(Protocol):
    """One stream to a backend. One task may send while another iterates."""

    async def send(self, pcm: bytes) -> None:
        """Hand over PCM16 mono at the config's rate; waits while the backend takes no more."""

    async def force_final(self) -> None:
        """Ask for the end of the utterance now; the stream stays open."""

    async def finish(self) -> None:
        """No more audio. The remaining finals follow, then the iteration ends."""

    def __aiter__(self) -> AsyncIterator[Recognised]:
        """Results in order. Ends when the backend ended the stream without an error."""
        ...


class RecognitionBackend(Protocol):
    """One endpoint that recognises speech.

    Attributes:
        name: unique among the configured ones; shown in logs and events.
        max_streams: streams we may hold there at the same time.
        catch_up: how many times faster than real time it may be sent audio that has piled up.
        max_stream_age: seconds after which a stream is replaced, between two utterances.
        step: seconds of audio that it takes at a time. Less waits until there is so much; 0: nothing waits.
        quota_key: backends of the same key share a quota; while it is used up, none of them is asked for anything.
    """

    name: str
    tier: Tier
    max_streams: int
    catch_up: float
    max_stream_age: float
    step: float
    quota_key: str

    def open(self, config: RecognitionConfig, *, label: str) -> AbstractAsyncContextManager[RecognitionStream]:
        """Open a stream; leaving the context cancels whatever is still running. `label` names it in the backend's log.

        Raises (on entering, sending and iterating alike):
            SpeechError: with the code that says what happened, and the endpoint's name.
        """
        ...

    async def probe(self) -> None:
        """Ask it whether it could take a stream now: a real question to whatever would recognise, not to its host.

        Raises:
            SpeechError: what is wrong with it.
        """


class Utterance(msgspec.Struct, frozen=True):
    """Audio in which somebody speaks: PCM16 mono, `sample_rate` in Hz, the session's language (BCP-47)."""

    pcm: bytes
    sample_rate: int
    language: str


class Recollection(msgspec.Struct, frozen=True):
    """What was said in similar audio. `similarity`: 0 to 1, the share of its sound that was found again."""

    text: str
    similarity: float


class SoundIndex(Protocol):
    """Transcripts of utterances by how their audio sounds. Called from worker threads, by one at a time.

    Everything here may take milliseconds. `now` is in seconds of a steady clock.
    """

    def add(self, utterance: Utterance, text: str, now: float) -> None:
        """Remember an utterance, for as long and as far as the index's bounds allow."""

    def find(self, utterance: Utterance, now: float) -> Recollection | None:
        """What was said in this audio when it was heard before; None if it was not, or nobody can tell."""

    def expire(self, now: float) -> None:
        """Forget what is too old to be kept."""
