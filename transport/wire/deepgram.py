"""Deepgram's protocol for live audio, `/v1/listen`: settings in the query, binary audio, and JSON with a `type`.

What this protocol has no words for is not said: how a session gets on (`Status`, `GoAway`, `Ack`), and what was said in
similar audio before (`Recalled`), which nothing here would tell from what was heard. A gap is told as an error that
ends nothing, so that no word is lost in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import assert_never

import msgspec

from actors.speech.catalogue import CATALOGUE, UNKNOWN
from actors.speech.errors import (
    AudioProcessingFailed,
    ClientTimeout,
    InvalidAudioFormat,
    InvalidMessage,
)
from actors.speech.messages import (
    Ack,
    Done,
    Finalize,
    Gap,
    GoAway,
    Problem,
    Recalled,
    Status,
    Stop,
    Transcript,
)
from actors.speech.ports import Word
from transport.audio.formats import DEFAULT_FORMAT
from transport.version import version
from transport.wire.deepgram_audio import Recut
from transport.wire.deepgram_query import BadParameter, Options, read
from transport.wire.deepgram_schema import (
    CLIENT_TYPES,
    NO_MODEL,
    Alternative,
    Channel,
    ClientMessage,
    CloseStreamMessage,
    ConfigureFailureMessage,
    ConfigureMessage,
    ErrorMessage,
    FinalizeMessage,
    KeepAliveMessage,
    MetadataMessage,
    ModelInfo,
    RefusedRequest,
    ResultsMessage,
    ResultsMetadata,
    ServerMessage,
    SpeechStartedMessage,
    UtteranceEndMessage,
    WordInfo,
)
from transport.wire.port import (
    Accepted,
    Answer,
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
    catalogue_close,
)
from transport.wire.reading import explained

_SCHEMES = ("token", "bearer")  # as which browsers, which can send no header, offer a key: (SCHEME, KEY)
_PUNCTUATION = ".,;:?!¿¡…。，、？！"  # what a `word` is without
_VERSION = version()  # of a model's: asking takes too long for every message
_SERVER_FAILED = 1011
# Close codes that Deepgram's clients know, for those of the catalogue that they do not.
_CLOSE = {1003: 1008, 4401: 1008, 4404: 1008, 4408: _SERVER_FAILED, 4409: 1008}
_VARIANTS = {
    InvalidMessage.entry.code: "SchemaError",
    InvalidAudioFormat.entry.code: "DATA-0000",
    AudioProcessingFailed.entry.code: "DATA-0000",
    ClientTimeout.entry.code: "NET-0001",
}
_read = msgspec.json.Decoder(ClientMessage).decode
_write = msgspec.json.Encoder().encode


def connect(request: Request, session_id: str) -> Accepted | Answer:
    """Who speaks to a client that asks for `/v1/listen`, as `transport.wire.port.Routes` has it."""
    headers = {"dg-request-id": session_id}
    try:
        options = read(request.query)
    except BadParameter as bad:
        text = str(bad)
        body = RefusedRequest(err_code="INVALID_QUERY_PARAMETER", err_msg=text, request_id=session_id)
        return Answer(HTTPStatus.BAD_REQUEST, _write(body), {**headers, "dg-error": text})
    scheme = next((each for each in request.subprotocols[:1] if each in _SCHEMES), None)
    return Accepted(Deepgram(options, session_id, datetime.now(UTC)), scheme, headers)


class Deepgram:
    """The codec of `/v1/listen` for one connection. See `transport.wire.port.Codec`.

    Finals end where utterances do (`speech_final`), unless the client asked for them or a backend was lost. One without
    text settles silence; it ends an utterance too, if that has not ended yet.

    Args:
        options: what the client asked for.
        request_id: by which it knows the session.
        created: when it came.
    """

    resumable = False

    def __init__(self, options: Options, request_id: str, created: datetime) -> None:
        self._options = options
        self._request_id = request_id
        self._created = created
        self._format = DEFAULT_FORMAT if options.audio is None else options.audio.filled()
        self._rate = options.config.sample_rate
        self._audio = Recut(options.audio)
        self._closed = False  # the client sends no more
        self._finalized_at: int | None = None  # at how many bytes it asked for a final that has not come yet
        self._speaking = False
        self._last_word_end = 0

    def connected(self) -> Sequence[ClientEvent]:
        """See `Codec.connected`."""
        return (Start(self._options.config, self._options.audio),)

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        """See `Codec.decode`. Audio may be cut anywhere; what follows the end is ignored, as by Deepgram."""
        if self._closed:
            return ()
        if isinstance(message, str):
            return self._text(message)
        return self._bytes(message) if message else self._close()

    def encode(self, event: ServerEvent) -> Sequence[str]:
        """See `Codec.encode`."""
        return [_write(message).decode() for message in self._told(event)]

    def close_code(self, code: str) -> int:
        """See `Codec.close_code`. 1012 and 1013 stay: no client takes them for an end in order."""
        close = catalogue_close(code)
        return _CLOSE.get(close, close)

    # ---- from the client

    def _bytes(self, message: bytes) -> Sequence[ClientEvent]:
        try:
            data = self._audio.feed(message)
        except InvalidAudioFormat as error:
            return (Bad(error),)
        return (AudioBytes(data),) if data else ()

    def _text(self, message: str) -> Sequence[ClientEvent]:
        try:
            return self._meant(_read(message))
        except (ValueError, RecursionError) as exc:  # msgspec's errors are ValueErrors, and so is a lone surrogate's
            return (Bad(explained(message, exc, CLIENT_TYPES, hint="; audio goes into binary messages")),)

    def _meant(self, message: ClientMessage) -> Sequence[ClientEvent]:
        match message:
            case KeepAliveMessage():
                return ()  # that it came is enough
            case FinalizeMessage():
                self._finalized_at = self._audio.passed
                return (Finalize(),)
            case CloseStreamMessage():
                return self._close()
            case ConfigureMessage():
                refusal = ConfigureFailureMessage(
                    request_id=self._request_id,
                    code="CONFIGURE_KEYTERMS_NOT_SUPPORTED",
                    description="The settings are those of the query, until the end.",
                )
                return (Reply(_write(refusal).decode()),)
            case _:
                assert_never(message)

    def _close(self) -> Sequence[ClientEvent]:
        self._closed = True
        return (Stop(),)

    # ---- to the client

    def _told(self, event: ServerEvent) -> Iterable[ServerMessage]:
        match event:
            case Opened(ready, audio):
                self._rate, self._format = ready.config.sample_rate, audio
                return ()
            case Transcript():
                return self._final(event) if event.is_final else self._interim(event)
            case Gap():
                where = f"from {self._seconds(event.start)} s to {self._seconds(event.end)} s"
                return (self._error(Problem(code=event.code, detail=where)),)
            case Failed(problem):
                return (self._error(problem),)
            case Done():
                return (self._metadata(event.position),)
            case Recalled() | Ack() | Status() | GoAway() | AnswerDue():
                return ()
            case _:
                assert_never(event)

    def _interim(self, event: Transcript) -> Iterable[ServerMessage]:
        yield from self._begun(event.end)  # by then, since an interim's words have no times
        if self._options.interim_results:
            yield self._results(event)

    def _final(self, event: Transcript) -> Iterable[ServerMessage]:
        words = event.words
        if event.text:
            yield from self._begun(words[0].start if words else event.start)
            self._last_word_end = words[-1].end if words else event.end
        from_finalize = self._is_asked_for(event)
        ends = self._speaking and not (from_finalize or event.provisional)
        yield self._results(event, speech_final=ends and self._options.endpointing, from_finalize=from_finalize)
        if ends:
            self._speaking = False
            if self._options.utterance_end:
                yield UtteranceEndMessage(last_word_end=self._seconds(self._last_word_end))

    def _begun(self, position: int) -> Iterable[ServerMessage]:
        """Somebody speaks. Worth a word once for each utterance."""
        if self._options.vad_events and not self._speaking:
            yield SpeechStartedMessage(timestamp=self._seconds(position))
        self._speaking = True

    def _is_asked_for(self, final: Transcript) -> bool:
        """Whether it came for `Finalize`: the first one with words from before that."""
        if self._finalized_at is None:
            return False
        asked_at = self._finalized_at // self._format.frame_bytes
        if final.text or final.end >= asked_at:
            self._finalized_at = None
        return bool(final.text) and (final.words[0].start if final.words else final.start) < asked_at

    def _results(self, event: Transcript, *, speech_final: bool = False, from_finalize: bool = False) -> ServerMessage:
        alternative = Alternative(
            transcript=event.text,
            confidence=round(event.confidence if event.is_final else event.stability, 4),
            words=tuple(self._word(word) for word in event.words),
        )
        return ResultsMessage(
            duration=self._seconds(event.end - event.start),
            start=self._seconds(event.start),
            is_final=event.is_final,
            speech_final=speech_final,
            channel=Channel((alternative,)),
            metadata=ResultsMetadata(request_id=self._request_id, model_info=self._model(event.source.value)),
            from_finalize=from_finalize,
        )

    def _word(self, word: Word) -> WordInfo:
        return WordInfo(
            word=word.text.strip(_PUNCTUATION).lower() or word.text,
            start=self._seconds(word.start),
            end=self._seconds(word.end),
            confidence=round(word.confidence, 4),
            punctuated_word=word.text if self._options.config.punctuate else None,
        )

    def _metadata(self, position: int) -> ServerMessage:
        return MetadataMessage(
            request_id=self._request_id,
            sha256=self._audio.sha256,
            created=f"{self._created:%Y-%m-%dT%H:%M:%S}.{self._created.microsecond // 1000:03}Z",
            duration=self._seconds(position),
            channels=self._format.channels,
            model_info={NO_MODEL: self._model("voxtree")},
        )

    def _model(self, arch: str) -> ModelInfo:
        return ModelInfo(name=self._options.config.model or "default", version=_VERSION, arch=arch)

    def _error(self, problem: Problem) -> ServerMessage:
        entry = CATALOGUE.get(problem.code, UNKNOWN)
        failed = problem.fatal and self.close_code(entry.code) == _SERVER_FAILED
        return ErrorMessage(
            variant=_VARIANTS.get(entry.code, "NET-0000" if failed else entry.code),
            description=entry.message,
            message=problem.detail,
            code=entry.code,
            request_id=self._request_id,
        )

    def _seconds(self, samples: int) -> float:
        return round(samples / self._rate, 6)  # to less than a sample
