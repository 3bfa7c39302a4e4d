"""The messages of `voxtree.v1`, field by field as they stand in the JSON."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from actors.speech.ports import RecognitionConfig

_DEFAULTS = RecognitionConfig()
_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Position = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]  # what JavaScript can count to

# ---- from the client; fields that are not here are ignored


class StartConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Every field may be missing; those of the audio's format may also be null."""

    language: _Text = _DEFAULTS.language
    encoding: _Text | None = None
    sample_rate: _Integer | None = None
    channels: _Integer | None = None
    interim_results: bool = _DEFAULTS.interim_results
    word_times: bool = _DEFAULTS.word_times
    punctuate: bool = _DEFAULTS.punctuate
    model: _Text = _DEFAULTS.model


class ResumeRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client presents that comes back."""

    token: _Text
    seq: _Position = 0
    end: _Position | None = None
    oldest: _Position | None = None


class StartMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event", tag="start"):
    config: StartConfig = StartConfig()
    resume: ResumeRequest | None = None


class AudioMessage(msgspec.Struct, frozen=True, tag_field="event", tag="audio", gc=False):
    data: bytes  # base64


class ReceivedMessage(msgspec.Struct, frozen=True, tag_field="event", tag="ack"):
    seq: _Position


class FinalizeMessage(msgspec.Struct, frozen=True, tag_field="event", tag="finalize"): ...


class StopMessage(msgspec.Struct, frozen=True, tag_field="event", tag="stop"): ...


class PingMessage(msgspec.Struct, frozen=True, tag_field="event", tag="ping"):
    t: _Integer | float | _Text | None = None


ClientMessage = StartMessage | AudioMessage | ReceivedMessage | FinalizeMessage | StopMessage | PingMessage
CLIENT_EVENTS = ("start", "audio", "ack", "finalize", "stop", "ping")

# ---- to the client


class ReadyConfig(msgspec.Struct, frozen=True, kw_only=True):
    language: str
    encoding: str
    sample_rate: int
    channels: int
    interim_results: bool
    word_times: bool
    punctuate: bool
    model: str


class ReadyLimits(msgspec.Struct, frozen=True, kw_only=True):
    max_chunk_bytes: int
    max_message_bytes: int
    idle_timeout_ms: int


class ReadyMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    session_id: str
    resume_token: str
    epoch: int
    position: int
    seq: int
    resumed: bool
    config: ReadyConfig
    limits: ReadyLimits
    credit: int
    resume_window_ms: int
    durability: Literal["memory", "process", "disk"]


class WordTimes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    text: str
    start_ms: int
    end_ms: int
    confidence: float


class TranscriptMessage(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="transcript"
):
    is_final: bool
    seq: int
    start: int
    end: int
    text: str
    words: tuple[WordTimes, ...] = ()
    confidence: float | None = None
    stability: float | None = None
    source: str
    similarity: float | None = None
    provisional: bool = False


class GapMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="gap"):
    seq: int
    start: int
    end: int
    code: str


class AckMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ack"):
    durable: int
    received: int
    seq: int


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="status"):
    state: str
    code: str | None = None
    message: str


class GoawayMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="goaway"):
    code: str
    message: str
    deadline_ms: int


class ErrorMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="error"):
    code: str
    name: str
    category: str
    severity: str
    message: str
    action: str
    detail: str = ""
    retry_after_ms: int | None = None
    fatal: bool
    ref: str


class DoneMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="done"):
    position: int
    seq: int


class PongMessage(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event", tag="pong"):
    t: int | float | str | None = None


ServerMessage = (
    ReadyMessage
    | TranscriptMessage
    | GapMessage
    | AckMessage
    | StatusMessage
    | GoawayMessage
    | ErrorMessage
    | DoneMessage
    | PongMessage
)
SERVER_EVENTS = ("ready", "transcript", "gap", "ack", "status", "goaway", "error", "done", "pong")
