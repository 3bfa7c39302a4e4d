"""The messages of Deepgram's `/v1/listen`, field by field as they stand in the JSON. Times are seconds."""

from __future__ import annotations

from typing import Annotated

import msgspec

NO_MODEL = "00000000-0000-0000-0000-000000000000"  # stands where Deepgram has the UUID of one of its models

# ---- from the client; fields that are not here are ignored


class KeepAliveMessage(msgspec.Struct, frozen=True, tag_field="type", tag="KeepAlive"): ...


class FinalizeMessage(msgspec.Struct, frozen=True, tag_field="type", tag="Finalize"): ...


class CloseStreamMessage(msgspec.Struct, frozen=True, tag_field="type", tag="CloseStream"): ...


class ConfigureMessage(msgspec.Struct, frozen=True, tag_field="type", tag="Configure"): ...


ClientMessage = KeepAliveMessage | FinalizeMessage | CloseStreamMessage | ConfigureMessage
CLIENT_TYPES = ("KeepAlive", "Finalize", "CloseStream", "Configure")

# ---- to the client

_Channels = tuple[int, int]  # which one, of how many
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class WordInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """`punctuated_word` is there if punctuation was asked for."""

    word: str
    start: _Seconds
    end: _Seconds
    confidence: float
    punctuated_word: str | None = None


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    transcript: str
    confidence: float
    words: tuple[WordInfo, ...] = ()


class Channel(msgspec.Struct, frozen=True):
    alternatives: tuple[Alternative, ...]


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str
    arch: str


class ResultsMetadata(msgspec.Struct, frozen=True, kw_only=True):
    request_id: str
    model_info: ModelInfo
    model_uuid: str = NO_MODEL


class ResultsMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="Results"):
    channel_index: _Channels = (0, 1)
    duration: _Seconds
    start: _Seconds
    is_final: bool
    speech_final: bool
    channel: Channel
    metadata: ResultsMetadata
    from_finalize: bool


class SpeechStartedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="SpeechStarted"):
    channel: _Channels = (0, 1)
    timestamp: _Seconds


class UtteranceEndMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="UtteranceEnd"):
    channel: _Channels = (0, 1)
    last_word_end: _Seconds


class MetadataMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="Metadata"):
    """The last message. `sha256` is of all bytes of audio that arrived, `created` an ISO 8601 time."""

    transaction_key: str = "deprecated"
    request_id: str
    sha256: str
    created: str
    duration: _Seconds
    channels: int
    models: tuple[str, ...] = (NO_MODEL,)
    model_info: dict[str, ModelInfo]


class ErrorMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="Error"):
    """`variant` is Deepgram's name of the error where it has one, else voxtree's, which `code` is always."""

    variant: str
    description: str
    message: str = ""
    code: str
    request_id: str


class ConfigureFailureMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ConfigureFailure"):
    request_id: str
    code: str
    description: str


ServerMessage = (
    ResultsMessage
    | SpeechStartedMessage
    | UtteranceEndMessage
    | MetadataMessage
    | ErrorMessage
    | ConfigureFailureMessage
)


class RefusedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a response that refuses the WebSocket."""

    err_code: str
    err_msg: str
    request_id: str
