"""What a client is told, in the order in which it happened.

Positions (`start`, `end`, `position`, `durable`, `received`) are samples from the session's start, at its sample rate;
times that end in `_ms` are milliseconds from there.
"""

from __future__ import annotations

import msgspec

from transport.wire.voxtree_v1_schema import (
    AckMessage,
    ErrorMessage,
    GapMessage,
    GoawayMessage,
    ReadyMessage,
    StatusMessage,
    TranscriptMessage,
)


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The session is there; after a lost connection, it is there again.

    Attributes:
        resumed: it is the same session as before; False: the first time.
        position: from which sample the server wants audio. The client sends it by itself.
        durability: what a final that came survives: `memory` a lost connection, `process` the death of the server too,
            `disk` a power cut too.
    """

    session_id: str
    epoch: int
    position: int
    resumed: bool
    sample_rate: int
    durability: str


class Interim(msgspec.Struct, frozen=True, kw_only=True):
    """What seems to have been said; the next interim or final replaces it.

    Attributes:
        stability: 0 to 1, how unlikely it is to change; 0: unknown.
        source: the backend's tier, or `cache`: the words of similar audio, `similarity` from 0 to 1.
    """

    start: int
    end: int
    text: str
    stability: float = 0.0
    source: str
    similarity: float | None = None


class Word(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A word and when it was said."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """What was said between `start` and `end`. Comes once, and stays.

    Attributes:
        seq: its number; finals and gaps are numbered together, 1, 2, 3 …, and each starts where the one before ended.
        text: may be empty: silence.
        confidence: 0 to 1; None: unknown.
        provisional: made of the last interim, since the backend gave no final.
    """

    seq: int
    start: int
    end: int
    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    source: str
    provisional: bool = False


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Audio that could not be transcribed, in place of a final."""

    seq: int
    start: int
    end: int
    code: str


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """How far the server is: below `durable` everything is settled, below `received` it has the audio."""

    durable: int
    received: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the recognition does: `streaming`, `recovering`, `delayed`, `degraded`. Keep talking."""

    state: str
    message: str
    code: str | None = None


class GoingAway(msgspec.Struct, frozen=True, kw_only=True):
    """The server is about to restart, within `deadline_ms`. Keep talking: the session goes on at the next one."""

    code: str
    message: str
    deadline_ms: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error that the session survives. `message` is for the user, `detail` for the developer of the client."""

    code: str
    message: str
    action: str
    detail: str = ""
    retry_after: float | None = None
    ref: str = ""


class Reconnecting(msgspec.Struct, frozen=True, kw_only=True):
    """The connection was lost; the next attempt comes in `delay` seconds. Keep talking: what is said is kept."""

    reason: str
    attempt: int
    delay: float


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """All has been said: `position` samples were heard, `seq` finals and gaps came. Nothing follows."""

    position: int
    seq: int


SpeechEvent = Ready | Interim | Final | Gap | Ack | Status | GoingAway | Problem | Reconnecting | Done


def moved(event: SpeechEvent, samples: int, sample_rate: int) -> SpeechEvent:
    """The event of a session that began so many samples after the audio's start, as if it had begun there."""
    if not samples or not isinstance(event, Interim | Final | Gap):
        return event
    event = msgspec.structs.replace(event, start=event.start + samples, end=event.end + samples)
    if not isinstance(event, Final):
        return event
    ms = samples * 1000 // sample_rate
    words = (
        msgspec.structs.replace(word, start_ms=word.start_ms + ms, end_ms=word.end_ms + ms) for word in event.words
    )
    return msgspec.structs.replace(event, words=tuple(words))


# ---- from the wire


def ready(message: ReadyMessage) -> Ready:
    """The event for a message; so are the functions below."""
    return Ready(
        session_id=message.session_id,
        epoch=message.epoch,
        position=message.position,
        resumed=message.resumed,
        sample_rate=message.config.sample_rate,
        durability=message.durability,
    )


def interim(message: TranscriptMessage) -> Interim:
    return Interim(
        start=message.start,
        end=message.end,
        text=message.text,
        stability=message.stability or 0.0,
        source=message.source,
        similarity=message.similarity,
    )


def final(message: TranscriptMessage) -> Final:
    return Final(
        seq=message.seq,
        start=message.start,
        end=message.end,
        text=message.text,
        words=tuple(
            Word(text=word.text, start_ms=word.start_ms, end_ms=word.end_ms, confidence=word.confidence)
            for word in message.words
        ),
        confidence=message.confidence,
        source=message.source,
        provisional=message.provisional,
    )


def gap(message: GapMessage) -> Gap:
    return Gap(seq=message.seq, start=message.start, end=message.end, code=message.code)


def ack(message: AckMessage) -> Ack:
    return Ack(durable=message.durable, received=message.received)


def status(message: StatusMessage) -> Status:
    return Status(state=message.state, message=message.message, code=message.code)


def going_away(message: GoawayMessage) -> GoingAway:
    return GoingAway(code=message.code, message=message.message, deadline_ms=message.deadline_ms)


def problem(message: ErrorMessage) -> Problem:
    return Problem(
        code=message.code,
        message=message.message,
        action=message.action,
        detail=message.detail,
        retry_after=None if message.retry_after_ms is None else message.retry_after_ms / 1000,
        ref=message.ref,
    )
