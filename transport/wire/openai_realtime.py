"""OpenAI's Realtime protocol for transcription, as its clients speak it today (GA) and did before (beta).

Audio comes in base64, words go out by item: see `transport.wire.openai_items`. Voice, responses and everything else
that a model of OpenAI's would do is not here. Deltas are pieces that clients put together, so only what cannot change
any more becomes one: the text of an item, whole, just before it is completed. Interims are seen as `speech_started`
alone. What a client asks for that only OpenAI's models understand is accepted, shown to it, and has no effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import assert_never

import msgspec

from actors.speech.catalogue import CATALOGUE, UNKNOWN, Action, Entry
from actors.speech.errors import AudioProcessingFailed, InvalidMessage, SpeechError
from actors.speech.messages import Ack, Done, Finalize, Gap, GoAway, Recalled, Status, Transcript
from transport.wire.client_secrets import PREFIX, ClientSecrets, offered
from transport.wire.openai_items import Items
from transport.wire.openai_realtime_schema import (
    CLIENT_TYPES,
    Append,
    BetaSessionCreated,
    BetaSessionUpdated,
    Clear,
    Cleared,
    ClientMessage,
    Commit,
    Error,
    ErrorMessage,
    Refusal,
    ServerMessage,
    SessionCreated,
    SessionUpdate,
    SessionUpdated,
    TranscriptionSessionUpdate,
)
from transport.wire.openai_settings import DEFAULTS, SessionSettings
from transport.wire.port import (
    Accepted,
    Answer,
    AnswerDue,
    AudioBytes,
    Bad,
    ClientEvent,
    Failed,
    Limits,
    Opened,
    Remind,
    Reply,
    Request,
    ServerEvent,
    Start,
    catalogue_close,
)
from transport.wire.reading import MAX_DETAIL, explained

SUBPROTOCOL = "realtime"
KEY_PREFIX = "openai-insecure-api-key."  # of the subprotocol with which browsers present a key
_BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
_TICK = 1.0  # seconds

_read = msgspec.json.Decoder(ClientMessage).decode
_write = msgspec.json.Encoder().encode


def connect(request: Request, session_id: str, *, secrets: ClientSecrets, is_beta: bool = False) -> Accepted | Answer:
    """Who speaks to a client of OpenAI's, as `transport.wire.port.Routes` has it.

    A key that looks like a secret of ours must be one; its session then has the settings for which it was made. Others
    have been looked at before, if anybody is asked who it is.

    Args:
        is_beta: it is known for a client of the beta; otherwise its request tells.
    """
    settings, key = DEFAULTS, key_of(request)
    if key.startswith(PREFIX):
        content = secrets.content(key)
        if content is None:
            return _unauthorized()
        settings = SessionSettings.carried(content)
    model = next(iter(request.query.get("model", ())), "")
    codec = OpenAIRealtime(session_id, settings, is_beta=is_beta or _is_beta(request), model=model)
    return Accepted(codec, SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None)


def key_of(request: Request) -> str:
    """The key that a client presents, whosever it is; empty if it presents none."""
    bearer = request.header("authorization").partition(" ")[2].strip()
    return offered(request, KEY_PREFIX) or bearer


def refusal(status: HTTPStatus, error: SpeechError) -> Answer:
    """A response in which OpenAI's clients find what was wrong."""
    return Answer(status, _write(Refusal(_error(error.entry, detail=error.detail))))


def _unauthorized() -> Answer:
    text = "Unknown or expired client secret: POST /v1/realtime/client_secrets gives a new one."
    error = Error(type="invalid_request_error", code="invalid_api_key", message=text)  # a code that clients look for
    return Answer(HTTPStatus.UNAUTHORIZED, _write(Refusal(error)))


def _is_beta(request: Request) -> bool:
    return "realtime=v1" in request.header("openai-beta") or _BETA_SUBPROTOCOL in request.subprotocols


class OpenAIRealtime:
    """The codec for one connection. See `transport.wire.port.Codec`.

    The session begins with the first update or the first audio. Clients have no word for its end: they close, and know
    from their commits that they have everything. `Status`, `Ack`, `GoAway` and `Recalled` have no equivalent and are
    not told: the error with which a session ends at last says as much.

    Args:
        session_id: items are named after it.
        settings: what the client's secret was made for.
        is_beta: the client spoke as those of the beta do; it may also turn out later.
        model: the one in the URL.
    """

    resumable = False

    def __init__(
        self, session_id: str, settings: SessionSettings = DEFAULTS, *, is_beta: bool = False, model: str = ""
    ) -> None:
        self._identity = f"sess_{session_id}"
        self._stem = session_id[-12:]  # the last group of a UUID
        self._is_beta = is_beta
        self._model = model
        self._settings = settings
        self._start: Start | None = None  # once it was said
        self._limits = Limits()
        self._items = Items(self._stem, is_beta=is_beta, is_manual=settings.is_manual)
        self._sample_bytes = 2
        self._appended = 0  # samples
        self._committed = 0  # … and how many of them were there at the last commit
        self._is_ticking = False
        self._events = 0
        self._client_event: str | None = None  # the id of the client's last message, until an error was told of it

    def connected(self) -> Sequence[ClientEvent]:
        """See `Codec.connected`."""
        if self._is_beta:
            return self._replies([BetaSessionCreated(session=self._settings.beta_session(self._identity))])
        return self._replies([SessionCreated(session=self._settings.session(self._identity))])

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        """See `Codec.decode`."""
        if isinstance(message, bytes):
            return (Bad(InvalidMessage("binary message: audio goes, in base64, into input_audio_buffer.append")),)
        try:
            meant = _read(message)
            self._client_event = meant.event_id
            return self._meant(meant)
        except SpeechError as error:
            return (Bad(error),)
        except (ValueError, RecursionError) as exc:
            self._client_event = _identity(message)
            return (Bad(explained(message, exc, CLIENT_TYPES)),)

    def encode(self, event: ServerEvent) -> Sequence[str]:
        """See `Codec.encode`."""
        return [self._text(message) for message in self._told(event)]

    def close_code(self, code: str) -> int:
        """See `Codec.close_code`."""
        return catalogue_close(code)

    # ---- from the client

    def _meant(self, message: ClientMessage) -> Sequence[ClientEvent]:
        match message:
            case Append(audio=audio):
                return self._append(audio)
            case Commit():
                return self._commit()
            case Clear():
                return self._clear()
            case SessionUpdate() | TranscriptionSessionUpdate():
                return self._update(message)
            case _:
                assert_never(message)

    def _append(self, audio: bytes) -> Sequence[ClientEvent]:
        begun = self._begun()
        if len(audio) % self._sample_bytes == 0 and len(audio) <= self._limits.max_chunk_bytes:  # else it is refused
            self._appended += len(audio) // self._sample_bytes
        return (*begun, AudioBytes(audio))

    def _commit(self) -> Sequence[ClientEvent]:
        if self._appended == self._committed:
            raise AudioProcessingFailed("input_audio_buffer.commit: no audio was appended since the last one")
        self._committed = self._appended
        return (Finalize(), *self._replies(self._items.commit(self._appended)), *self._ticking())

    def _clear(self) -> Sequence[ClientEvent]:
        cleared = self._replies([Cleared()])
        if not self._settings.is_manual or self._appended == self._committed:
            return cleared  # what was heard while the server detects turns stays heard
        self._committed = self._appended
        self._items.clear(self._appended)
        return (Finalize(), *cleared, *self._ticking())

    def _update(self, message: SessionUpdate | TranscriptionSessionUpdate) -> Sequence[ClientEvent]:
        settings = self._settings.updated(message.session)
        start = settings.start(self._model)
        if self._start is not None and start != self._start:
            raise InvalidMessage(
                f"{message.__struct_config__.tag}: audio format, language and model cannot change once the session has "
                "begun, with its first update or audio: connect again"
            )
        self._settings = settings
        ended = self._items.detect_turns() if self._items.is_manual and not settings.is_manual else []
        self._items.is_manual = settings.is_manual
        self._is_beta = self._items.is_beta = isinstance(message, TranscriptionSessionUpdate)
        updated: ServerMessage
        if self._is_beta:
            updated = BetaSessionUpdated(session=settings.beta_session(self._identity))
        else:
            updated = SessionUpdated(session=settings.session(self._identity))
        return (*self._begun(), *self._replies([updated, *ended]))

    def _begun(self) -> Sequence[ClientEvent]:
        """What begins the session, unless it has begun."""
        if self._start is not None:
            return ()
        self._start = start = self._settings.start(self._model)
        assert start.audio is not None
        self._sample_bytes = start.audio.filled().frame_bytes
        self._items.rate = start.config.sample_rate
        return (start,)

    def _ticking(self) -> Sequence[ClientEvent]:
        if self._is_ticking:
            return ()
        self._is_ticking = True
        return (Remind(_TICK),)

    # ---- to the client

    def _told(self, event: ServerEvent) -> Sequence[ServerMessage]:
        match event:
            case Transcript(is_final=True):
                return self._items.final(event)
            case Transcript():
                return self._items.interim(event)
            case Gap(code=code):
                return self._items.gap(event, _error(CATALOGUE.get(code, UNKNOWN)))
            case Failed():
                return self._failed(event)
            case Status():
                self._items.status(event)
            case AnswerDue():
                return self._items.tick()
            case Done():
                return self._items.end()
            case Opened(limits=limits):
                self._limits = limits
            case Recalled() | Ack() | GoAway():
                pass
            case _:
                assert_never(event)
        return ()

    def _failed(self, event: Failed) -> Sequence[ServerMessage]:
        problem = event.problem
        entry = CATALOGUE.get(problem.code, UNKNOWN)
        error = _error(entry, detail=problem.detail, retry_after=problem.retry_after)
        if error.type == "invalid_request_error":
            error = msgspec.structs.replace(error, event_id=self._client_event)
            self._client_event = None
        unfinished = self._items.end(error) if problem.fatal else []
        return [*unfinished, ErrorMessage(error=msgspec.structs.replace(error, ref=event.ref))]

    def _replies(self, messages: Iterable[ServerMessage]) -> Sequence[ClientEvent]:
        return [Reply(self._text(message)) for message in messages]

    def _text(self, message: ServerMessage) -> str:
        self._events += 1
        numbered = msgspec.structs.replace(message, event_id=f"event_{self._stem}_{self._events}")
        return _write(numbered).decode()


def _error(entry: Entry, *, detail: str = "", retry_after: float | None = None) -> Error:
    return Error(
        type="invalid_request_error" if entry.action is Action.FIX_CONFIG else "server_error",
        code=entry.code,
        message=f"{entry.message} ({detail})" if detail else entry.message,
        retry_after_ms=None if retry_after is None else round(retry_after * 1000),
    )


class _Identified(msgspec.Struct, frozen=True):
    event_id: object = None


def _identity(message: str) -> str | None:
    """What the client calls a message that cannot be read otherwise; None: nothing."""
    try:
        given = msgspec.json.decode(message, type=_Identified).event_id
    except (ValueError, RecursionError):
        return None
    return given[:MAX_DETAIL] if isinstance(given, str) else None
