"""The wire protocol `voxtree.v1`: JSON text messages with an `event`, binary messages with audio.

On the wire positions are samples, and times are milliseconds and named `_ms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from actors.speech.catalogue import CATALOGUE, UNKNOWN
from actors.speech.errors import (
    GoingAway,
    InvalidAudioFormat,
    SpeechError,
)
from actors.speech.messages import (
    Ack,
    Acknowledge,
    Done,
    Finalize,
    Gap,
    GoAway,
    Recalled,
    Resume,
    Status,
    Stop,
    Transcript,
)
from actors.speech.ports import RecognitionConfig
from transport.audio.formats import ENCODINGS, DeclaredFormat, Encoding, require_supported
from transport.wire.port import (
    Accepted,
    AnswerDue,
    AudioBytes,
    Bad,
    ClientEvent,
    Failed,
    Opened,
    Reply,
    Request,
    ServerEvent,
    Start,
    Told,
    catalogue_close,
)
from transport.wire.reading import explained, require_language
from transport.wire.voxtree_v1_schema import (
    CLIENT_EVENTS,
    AckMessage,
    AudioMessage,
    ClientMessage,
    DoneMessage,
    ErrorMessage,
    FinalizeMessage,
    GapMessage,
    GoawayMessage,
    PingMessage,
    PongMessage,
    ReadyConfig,
    ReadyLimits,
    ReadyMessage,
    ReceivedMessage,
    ResumeRequest,
    ServerMessage,
    StartConfig,
    StartMessage,
    StatusMessage,
    StopMessage,
    TranscriptMessage,
    WordTimes,
)

SUBPROTOCOL = "voxtree.v1"

_HINT = "; audio goes into binary messages"
_read = msgspec.json.Decoder(ClientMessage).decode
_write = msgspec.json.Encoder().encode


def connect(request: Request, session_id: str) -> Accepted:
    """Who speaks to a client that wants `voxtree.v1`, as `transport.wire.port.Routes` has it."""
    # Clients may offer nothing, or a token beside the protocol, which must not be sent back.
    return Accepted(VoxtreeV1(), SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None)


class VoxtreeV1:
    """The codec of `voxtree.v1` for one connection. See `transport.wire.port.Codec`."""

    resumable = True

    def __init__(self) -> None:
        self._config = RecognitionConfig()

    def connected(self) -> Sequence[ClientEvent]:
        """See `Codec.connected`."""
        return ()

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        """See `Codec.decode`."""
        if isinstance(message, bytes):
            return (AudioBytes(message),)
        try:
            return (_meant(_read(message)),)
        except SpeechError as error:
            return (Bad(error),)
        except (
            ValueError,
            RecursionError,
        ) as exc:  # msgspec's errors are ValueErrors, and so is a lone surrogate's
            return (Bad(explained(message, exc, CLIENT_EVENTS, tag="event", audio="data", hint=_HINT)),)

    def encode(self, event: ServerEvent) -> Sequence[str]:
        """See `Codec.encode`."""
        if isinstance(event, AnswerDue):  # nobody waits for an answer here
            return ()
        return (_write(self._on_wire(event)).decode(),)

    def close_code(self, code: str) -> int:
        """See `Codec.close_code`."""
        return catalogue_close(code)

    def _on_wire(self, event: Told) -> ServerMessage:
        match event:
            case Transcript():
                return self._transcript(event)
            case Recalled():
                return _recalled(event)
            case Ack():
                return AckMessage(durable=event.durable, received=event.received, seq=event.seq)
            case Gap():
                return GapMessage(seq=event.seq, start=event.start, end=event.end, code=event.code)
            case Status():
                return StatusMessage(state=event.state, code=event.code, message=event.message)
            case GoAway(seconds):
                return _goaway(seconds)
            case Failed():
                return _error(event)
            case Opened():
                self._config = event.ready.config
                return _ready(event)
            case Done():
                return DoneMessage(position=event.position, seq=event.seq)
            case _:
                assert_never(event)

    def _transcript(self, event: Transcript) -> TranscriptMessage:
        return TranscriptMessage(
            is_final=event.is_final,
            seq=event.seq,
            start=event.start,
            end=event.end,
            text=event.text,
            words=self._words(event),
            confidence=round(event.confidence, 4) or None,
            stability=round(event.stability, 4) or None,
            source=event.source.value,
            provisional=event.provisional,
        )

    def _words(self, event: Transcript) -> tuple[WordTimes, ...]:
        if not (event.words and self._config.word_times):
            return ()
        rate = self._config.sample_rate
        return tuple(
            WordTimes(
                text=word.text,
                start_ms=word.start * 1000 // rate,
                end_ms=word.end * 1000 // rate,
                confidence=round(word.confidence, 4),
            )
            for word in event.words
        )


def _meant(message: ClientMessage) -> ClientEvent:
    match message:
        case AudioMessage(data):
            return AudioBytes(data)
        case StartMessage(config, resume):
            return _start(config, resume)
        case ReceivedMessage(seq):
            return Acknowledge(seq)
        case FinalizeMessage():
            return Finalize()
        case StopMessage():
            return Stop()
        case PingMessage(t):
            return Reply(_write(PongMessage(t)).decode())
        case _:
            assert_never(message)


def _start(config: StartConfig, resume: ResumeRequest | None) -> Start:
    require_language(config.language)
    require_supported(sample_rate=config.sample_rate, channels=config.channels)
    audio = DeclaredFormat(
        encoding=_encoding(config.encoding), sample_rate=config.sample_rate, channels=config.channels
    )
    recognition = RecognitionConfig(
        sample_rate=audio.filled().sample_rate,
        language=config.language,
        interim_results=config.interim_results,
        word_times=config.word_times,
        punctuate=config.punctuate,
        model=config.model,
    )
    back = None if resume is None else Resume(**msgspec.structs.asdict(resume))
    return Start(recognition, audio, back)


def _encoding(name: str | None) -> Encoding | None:
    try:
        return None if name is None else Encoding(name)
    except ValueError:
        raise InvalidAudioFormat(f"encoding {name!r}: allowed are {ENCODINGS}") from None


def _recalled(event: Recalled) -> TranscriptMessage:
    """An interim by its form, so that clients that know nothing of it take it for as little as it is worth."""
    return TranscriptMessage(
        is_final=False,
        seq=0,
        start=event.start,
        end=event.end,
        text=event.text,
        source="cache",
        similarity=round(event.similarity, 4),
    )


def _ready(event: Opened) -> ReadyMessage:
    ready, audio, limits = event.ready, event.audio, event.limits
    config = ready.config
    return ReadyMessage(
        session_id=ready.session_id,
        resume_token=ready.token,
        epoch=ready.epoch,
        position=ready.position,
        seq=ready.seq,
        resumed=ready.resumed,
        config=ReadyConfig(
            language=config.language,
            encoding=audio.encoding.value,
            sample_rate=config.sample_rate,
            channels=audio.channels,
            interim_results=config.interim_results,
            word_times=config.word_times,
            punctuate=config.punctuate,
            model=config.model,
        ),
        limits=ReadyLimits(
            max_chunk_bytes=limits.max_chunk_bytes,
            max_message_bytes=limits.max_message_bytes,
            idle_timeout_ms=round(limits.idle_timeout * 1000),
        ),
        credit=ready.credit,
        resume_window_ms=round(ready.window * 1000),
        durability=ready.durability.value,
    )


def _goaway(seconds: float) -> GoawayMessage:
    entry = GoingAway.entry
    return GoawayMessage(code=entry.code, message=entry.message, deadline_ms=round(seconds * 1000))


def _error(event: Failed) -> ErrorMessage:
    problem = event.problem
    entry = CATALOGUE.get(problem.code, UNKNOWN)
    retry_after = problem.retry_after
    return ErrorMessage(
        code=entry.code,
        name=entry.name,
        category=entry.family,
        severity=entry.severity.value,
        message=entry.message,
        action=entry.action.value,
        detail=problem.detail,
        retry_after_ms=None if retry_after is None else round(retry_after * 1000),
        fatal=problem.fatal,
        ref=event.ref,
    )
