"""NVIDIA Riva's Realtime API: JSON text messages with a `type`, audio in base64, times in milliseconds.

A client asks for a session object by POST (`mint`), opens a WebSocket with or without the secret in it (`connect`),
sends the object back with its own settings in it, then its audio. Others open the WebSocket first.

Riva's own client shapes what is sent here. It reads any type with `error` in it as the end, skips types that it does
not know, and overwrites its text with each `completed`: so the last one has the whole transcript.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from itertools import count
from typing import assert_never

import msgspec

from actors.speech.catalogue import CATALOGUE, UNKNOWN, Action, Entry, Fault
from actors.speech.errors import (
    GoingAway,
    InvalidAudioFormat,
    InvalidMessage,
    SpeechError,
)
from actors.speech.messages import Ack, Done, Finalize, Gap, GoAway, Recalled, Status, Stop, Transcript
from actors.speech.ports import RecognitionConfig
from transport.audio.containers import recognise, undecided
from transport.audio.formats import DeclaredFormat, Encoding, require_supported
from transport.wire.client_secrets import ClientSecrets, offered
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
from transport.wire.reading import explained, require_language
from transport.wire.riva_realtime_schema import (
    CLIENT_TYPES,
    AppendMessage,
    ClearedMessage,
    ClearMessage,
    ClientMessage,
    CommitMessage,
    CommittedMessage,
    CompletedMessage,
    Conversation,
    CreatedMessage,
    DeltaMessage,
    DoneMessage,
    ErrorDetails,
    ErrorMessage,
    FailedMessage,
    NoticeMessage,
    Secret,
    ServerMessage,
    Session,
    SessionUpdate,
    UpdatedMessage,
    UpdateMessage,
    WordInfo,
    WordsInfo,
)

SUBPROTOCOL = "realtime"
TOKEN_PREFIX = "realtime-token."  # of the subprotocol that carries the secret

_ENCODINGS: Mapping[str, Encoding | None] = {
    "pcm16": Encoding.PCM16,
    "mulaw": Encoding.MULAW,
    "g711_ulaw": Encoding.MULAW,  # as OpenAI's API, of which this one is a relative, calls it
    "alaw": Encoding.ALAW,
    "g711_alaw": Encoding.ALAW,
    "none": None,  # a file, which has its header, or else samples as the other settings say
}
_read = msgspec.json.Decoder(ClientMessage).decode
_write = msgspec.json.Encoder().encode


def mint(request: Request, *, secrets: ClientSecrets) -> Answer:
    """The answer to a POST: the default session object, with a secret for the WebSocket.

    What is in the POST does not matter: clients send their settings in the WebSocket.
    """
    value, expires_at = secrets.mint(user=request.user)
    session = Session(id=f"sess_{uuid.uuid4()}", client_secret=Secret(value=value, expires_at=expires_at))
    return Answer(HTTPStatus.OK, _write(session))


def connect(request: Request, session_id: str, *, secrets: ClientSecrets) -> Accepted | Answer:
    """Who speaks to a client, as `transport.wire.port.Routes` has it.

    A secret that is offered must be a good one. Whether any need be is decided before.
    """
    if "transcription" not in request.query.get("intent", ("transcription",)):
        return _refusal(HTTPStatus.BAD_REQUEST, "intent: only `transcription` is spoken here")
    token = offered(request, TOKEN_PREFIX)
    if token is not None and not secrets.knows(token):
        text = "client_secret: unknown or expired; POST /v1/realtime/transcription_sessions gives a new one"
        return _refusal(HTTPStatus.UNAUTHORIZED, text, {"WWW-Authenticate": 'Bearer realm="voxtree"'})
    return Accepted(RivaRealtime(session_id), SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None)


def _refusal(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, _write({"detail": text}), headers or {})


class RivaRealtime:
    """The codec of Riva's Realtime API for one connection. See `transport.wire.port.Codec`.

    An item is one utterance, here as there: its `delta` is all of the present hypothesis, and replaces the one before.
    Silence is no item: an empty `completed` would wipe out what Riva's client has.

    The session goes on after an error that is not `error`: what could not be transcribed is a `failed` item, which
    Riva's client skips. What a recogniser is up to, and that the server goes away, are types of our own:
    `transcription_session.recovering`, `degraded`, `delayed`, `recovered` and `going_away`. Recollections are not
    passed on, since a `delta` with one would replace a hypothesis for other audio.

    Args:
        session_id: by which the log has the session; clients see it in the object's `id`.
    """

    resumable = False

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._session = Session(id=f"sess_{session_id}")
        self._answered = False  # the client's update
        self._begun = False  # the settings are in use
        self._events = count(1)
        self._item = 1
        self._finals: list[str] = []
        self._config = RecognitionConfig()

    def connected(self) -> Sequence[ClientEvent]:
        """See `Codec.connected`."""
        # With our defaults, should audio come without an update. The format is open until then.
        created = CreatedMessage(event_id=self._event_id(), conversation=Conversation(id=f"conv_{self._session_id}"))
        return (_reply(created), Start(_recognition(self._session), audio=None))

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        """See `Codec.decode`."""
        if isinstance(message, bytes):
            return (Bad(InvalidMessage("a binary message: audio goes into input_audio_buffer.append, in base64")),)
        try:
            return self._meant(_read(message))
        except SpeechError as error:
            return (Bad(error),)
        except (ValueError, RecursionError) as exc:  # msgspec's are ValueErrors, and so is a lone surrogate's
            return (Bad(explained(message, exc, CLIENT_TYPES)),)

    def encode(self, event: ServerEvent) -> Sequence[str]:
        """See `Codec.encode`."""
        message = self._on_wire(event)
        return () if message is None else (_write(message).decode(),)

    def close_code(self, code: str) -> int:
        """See `Codec.close_code`."""
        return catalogue_close(code)

    # ---- from the client

    def _meant(self, message: ClientMessage) -> Sequence[ClientEvent]:
        match message:
            case AppendMessage():
                return self._append(message)
            case CommitMessage():  # after each chunk: it ends no utterance
                before = f"item_{self._item - 1}" if self._item > 1 else None
                committed = CommittedMessage(
                    event_id=self._event_id(), previous_item_id=before, item_id=self._item_id()
                )
                return (_reply(committed),)
            case UpdateMessage(update):
                return self._update(update)
            case DoneMessage():
                self._begun = True
                return (Stop(),)
            case ClearMessage():  # what was sent is being recognised already
                return (_reply(ClearedMessage(event_id=self._event_id())),)
            case _:
                assert_never(message)

    def _append(self, message: AppendMessage) -> Sequence[ClientEvent]:
        events: list[ClientEvent] = []
        if message.audio:
            if not self._begun and _is_headless(message.audio):
                events.append(_start(msgspec.structs.replace(self._session, input_audio_format="pcm16")))
            self._begun = True
            events.append(AudioBytes(message.audio))
        forced = message.runtime_config and message.runtime_config.force_eou
        if str(forced).lower() == "true":
            events.append(Finalize())
        return events

    def _update(self, update: SessionUpdate) -> Sequence[ClientEvent]:
        session = _updated(self._session, update)
        if self._begun:
            if session != self._session:
                raise InvalidMessage("session: it has begun, and its settings stay as they are")
            return (self._updated(),)
        start = _start(session)
        self._session, self._answered, self._begun = session, True, start.audio is not None
        # The answer comes behind: where there is no room for the session, that is the answer.
        return (start, self._updated())

    def _updated(self) -> Reply:
        return _reply(UpdatedMessage(event_id=self._event_id(), session=self._session))

    # ---- to the client

    def _on_wire(self, event: ServerEvent) -> ServerMessage | None:
        match event:
            case Transcript():
                return self._transcript(event)
            case Gap():
                return self._failed(_details(CATALOGUE.get(event.code, UNKNOWN)))
            case Failed():
                return self._problem(event)
            case Status(state="streaming"):
                return self._notice("recovered", event.code, event.message)
            case Status():
                return self._notice(event.state, event.code, event.message)
            case GoAway(seconds):
                entry = GoingAway.entry
                return self._notice("going_away", entry.code, entry.message, deadline_ms=round(seconds * 1000))
            case Opened():
                self._config = event.ready.config
                return None
            case Done():
                return self._completed(" ".join(self._finals), is_last=True)
            case Recalled() | Ack() | AnswerDue():
                return None
            case _:
                assert_never(event)

    def _notice(self, state: str, code: str | None, message: str, **more: int) -> NoticeMessage:
        name = f"transcription_session.{state}"
        return NoticeMessage(type=name, event_id=self._event_id(), code=code, message=message, **more)

    def _transcript(self, event: Transcript) -> ServerMessage | None:
        if not event.is_final:
            return DeltaMessage(event_id=self._event_id(), item_id=self._item_id(), delta=event.text)
        if not event.text:
            return None
        self._finals.append(event.text)
        return self._completed(event.text, self._words(event))

    def _completed(self, text: str, words: tuple[WordInfo, ...] = (), *, is_last: bool = False) -> CompletedMessage:
        return CompletedMessage(
            event_id=self._event_id(),
            item_id=self._end_item(),
            transcript=text,
            is_last_result=is_last,
            words_info=WordsInfo(words=words),
        )

    def _words(self, event: Transcript) -> tuple[WordInfo, ...]:
        if not self._config.word_times:
            return ()
        rate = self._config.sample_rate
        return tuple(
            WordInfo(
                word=word.text,
                start_time=word.start * 1000 // rate,
                end_time=word.end * 1000 // rate,
                confidence=round(word.confidence, 4),
            )
            for word in event.words
        )

    def _problem(self, event: Failed) -> ServerMessage:
        problem = event.problem
        details = _details(
            CATALOGUE.get(problem.code, UNKNOWN),
            detail=problem.detail,
            ref=event.ref,
            retry_after=problem.retry_after,
        )
        # A client that waits for the answer to its update takes nothing for it but that, or an error.
        if problem.fatal or not (self._answered or self._begun):
            return ErrorMessage(event_id=self._event_id(), error=details)
        return self._failed(details)

    def _failed(self, details: ErrorDetails) -> FailedMessage:
        return FailedMessage(event_id=self._event_id(), item_id=self._end_item(), error=details)

    def _event_id(self) -> str:
        return f"event_{next(self._events)}"

    def _item_id(self) -> str:
        return f"item_{self._item}"

    def _end_item(self) -> str:
        self._item += 1
        return f"item_{self._item - 1}"


def _reply(message: ServerMessage) -> Reply:
    return Reply(_write(message).decode())


def _updated(session: Session, update: SessionUpdate) -> Session:
    """The session with what the update gives; what is not given stays, and so does what we do not do."""
    changes = {}
    for name in ("input_audio_transcription", "input_audio_params", "recognition_config"):
        given = getattr(update, name)
        if given is not None:
            changes[name] = msgspec.structs.replace(getattr(session, name), **_given(given))
    if update.input_audio_format is not None:
        changes["input_audio_format"] = update.input_audio_format
    return msgspec.structs.replace(session, **changes)


def _is_headless(audio: bytes) -> bool:
    """Whether what was announced as a file is samples from its first byte on: then they are as the settings say."""
    return recognise(audio) is None and not undecided(audio)


def _given(update: msgspec.Struct) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(update).items() if value is not None}


def _start(session: Session) -> Start:
    """How a session with these settings begins.

    Raises:
        SpeechError: something in them is not to be had.
    """
    language = session.input_audio_transcription.language
    require_language(language)
    if session.input_audio_format not in _ENCODINGS:
        raise InvalidAudioFormat(
            f"input_audio_format {session.input_audio_format!r}: allowed are {', '.join(_ENCODINGS)}"
        )
    encoding = _ENCODINGS[session.input_audio_format]
    if encoding is None:
        return Start(_recognition(session), audio=None)
    params = session.input_audio_params
    require_supported(sample_rate=params.sample_rate_hz, channels=params.num_channels)
    return Start(
        _recognition(session),
        DeclaredFormat(encoding=encoding, sample_rate=params.sample_rate_hz, channels=params.num_channels),
    )


def _recognition(session: Session) -> RecognitionConfig:
    return RecognitionConfig(
        sample_rate=session.input_audio_params.sample_rate_hz,
        language=session.input_audio_transcription.language,
        model=session.input_audio_transcription.model,
        word_times=session.recognition_config.enable_word_time_offsets,
        punctuate=session.recognition_config.enable_automatic_punctuation,
    )


def _details(entry: Entry, *, detail: str = "", ref: str = "", retry_after: float | None = None) -> ErrorDetails:
    asked = entry.fault in (Fault.CLIENT, Fault.CONFIG) and entry.action is Action.FIX_CONFIG
    return ErrorDetails(
        type="invalid_request_error" if asked else "server_error",
        code=entry.code,
        message=entry.message,
        detail=detail or msgspec.UNSET,
        retryable=entry.action in (Action.RETRY, Action.RECONNECT),
        retry_after_ms=msgspec.UNSET if retry_after is None else round(retry_after * 1000),
        ref=ref or msgspec.UNSET,
    )
