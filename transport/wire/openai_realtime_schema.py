"""The messages of OpenAI's Realtime transcription, field by field as they stand in the JSON."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Prompt = Annotated[str, msgspec.Meta(max_length=16_000)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**31)]

# ---- a session's settings, from and to the client; fields that are not here are ignored


class Format(msgspec.Struct, frozen=True, omit_defaults=True):
    type: _Text = ""  # audio/pcm, audio/pcmu, audio/pcma
    rate: _Milliseconds | None = None  # Hz, for audio/pcm


class Transcription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    model: _Text | None = None
    language: _Text | None = None
    prompt: _Prompt | None = None


class TurnDetection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    type: _Text | None = None  # server_vad, semantic_vad
    threshold: float | None = None
    prefix_padding_ms: _Milliseconds | None = None
    silence_duration_ms: _Milliseconds | None = None
    eagerness: _Text | None = None


class NoiseReduction(msgspec.Struct, frozen=True, omit_defaults=True):
    type: _Text | None = None


class AudioInput(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing stays as it was; null switches it off."""

    format: Format | UnsetType | None = UNSET
    transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    noise_reduction: NoiseReduction | UnsetType | None = UNSET


class SessionAudio(msgspec.Struct, frozen=True):
    input: AudioInput = AudioInput()


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True):
    type: _Text = "transcription"
    audio: SessionAudio = SessionAudio()


class BetaSessionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The same, as the beta has it."""

    input_audio_format: _Text | UnsetType | None = UNSET  # pcm16, g711_ulaw, g711_alaw
    input_audio_transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET
    input_audio_noise_reduction: NoiseReduction | UnsetType | None = UNSET


# ---- from the client


class ClientBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    event_id: _Text | None = None


class SessionUpdate(ClientBase, frozen=True, kw_only=True, tag="session.update"):
    session: SessionRequest


class TranscriptionSessionUpdate(ClientBase, frozen=True, kw_only=True, tag="transcription_session.update"):
    session: BetaSessionRequest


class Append(ClientBase, frozen=True, kw_only=True, tag="input_audio_buffer.append", gc=False):
    audio: bytes  # base64


class Commit(ClientBase, frozen=True, kw_only=True, tag="input_audio_buffer.commit"): ...


class Clear(ClientBase, frozen=True, kw_only=True, tag="input_audio_buffer.clear"): ...


ClientMessage = SessionUpdate | TranscriptionSessionUpdate | Append | Commit | Clear
CLIENT_TYPES = (
    "session.update",
    "transcription_session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
)


class SecretLifetime(msgspec.Struct, frozen=True, kw_only=True):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, msgspec.Meta(ge=10, le=7200)] | None = None


class SecretRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a POST to /v1/realtime/client_secrets."""

    expires_after: SecretLifetime = SecretLifetime()
    session: SessionRequest = SessionRequest()


class BetaSecretOptions(msgspec.Struct, frozen=True, kw_only=True):
    expires_at: SecretLifetime = SecretLifetime()


class BetaSecretRequest(BetaSessionRequest, frozen=True, kw_only=True):
    """The body of a POST to /v1/realtime/transcription_sessions."""

    client_secret: BetaSecretOptions | None = None


# ---- to the client


class EffectiveInput(msgspec.Struct, frozen=True, kw_only=True):
    format: Format
    transcription: Transcription | None
    noise_reduction: NoiseReduction | None
    turn_detection: TurnDetection | None


class EffectiveAudio(msgspec.Struct, frozen=True):
    input: EffectiveInput


class Session(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="transcription"):
    id: str
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    audio: EffectiveAudio


class SecretValue(msgspec.Struct, frozen=True, kw_only=True):
    value: str
    expires_at: int  # seconds since 1970


class BetaSession(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["realtime.transcription_session"] = "realtime.transcription_session"
    modalities: tuple[Literal["text"], ...] = ("text",)
    input_audio_format: str
    input_audio_transcription: Transcription | None
    input_audio_noise_reduction: NoiseReduction | None
    turn_detection: TurnDetection | None
    client_secret: SecretValue | None = None


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered to a POST to /v1/realtime/client_secrets."""

    value: str
    expires_at: int  # seconds since 1970
    session: Session


class ServerBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    event_id: str = ""


class SessionCreated(ServerBase, frozen=True, kw_only=True, tag="session.created"):
    session: Session


class SessionUpdated(ServerBase, frozen=True, kw_only=True, tag="session.updated"):
    session: Session


class BetaSessionCreated(ServerBase, frozen=True, kw_only=True, tag="transcription_session.created"):
    session: BetaSession


class BetaSessionUpdated(ServerBase, frozen=True, kw_only=True, tag="transcription_session.updated"):
    session: BetaSession


class SpeechStarted(ServerBase, frozen=True, kw_only=True, tag="input_audio_buffer.speech_started"):
    audio_start_ms: int
    item_id: str


class SpeechStopped(ServerBase, frozen=True, kw_only=True, tag="input_audio_buffer.speech_stopped"):
    audio_end_ms: int
    item_id: str


class Committed(ServerBase, frozen=True, kw_only=True, tag="input_audio_buffer.committed"):
    previous_item_id: str | None
    item_id: str


class Cleared(ServerBase, frozen=True, kw_only=True, tag="input_audio_buffer.cleared"): ...


class InputAudio(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: tuple[InputAudio, ...] = (InputAudio(),)


class ItemAdded(ServerBase, frozen=True, kw_only=True, tag="conversation.item.added"):
    previous_item_id: str | None
    item: Item


class ItemDone(ServerBase, frozen=True, kw_only=True, tag="conversation.item.done"):
    previous_item_id: str | None
    item: Item


class ItemCreated(ServerBase, frozen=True, kw_only=True, tag="conversation.item.created"):
    previous_item_id: str | None
    item: Item


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["duration"] = "duration"
    seconds: float


class Delta(ServerBase, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.delta"):
    item_id: str
    content_index: int = 0
    delta: str


class Completed(ServerBase, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.completed"):
    item_id: str
    content_index: int = 0
    transcript: str
    usage: Usage


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """`ref` and `retry_after_ms` are voxtree's own."""

    type: Literal["invalid_request_error", "server_error"]
    code: str
    message: str
    param: str | None = None
    event_id: str | None = None
    ref: str | None = None
    retry_after_ms: int | None = None


class TranscriptionFailed(
    ServerBase, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.failed"
):
    item_id: str
    content_index: int = 0
    error: Error


class ErrorMessage(ServerBase, frozen=True, kw_only=True, tag="error"):
    error: Error


class Refusal(msgspec.Struct, frozen=True):
    """The body of an HTTP response that is none of success."""

    error: Error


ServerMessage = (
    SessionCreated
    | SessionUpdated
    | BetaSessionCreated
    | BetaSessionUpdated
    | SpeechStarted
    | SpeechStopped
    | Committed
    | Cleared
    | ItemAdded
    | ItemDone
    | ItemCreated
    | Delta
    | Completed
    | TranscriptionFailed
    | ErrorMessage
)
