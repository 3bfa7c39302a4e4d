"""The messages of Riva's Realtime API, field by field as they stand in the JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]

# ---- the session object, as a client gets it: by POST, and when it has updated it


class TranscriptionSettings(msgspec.Struct, frozen=True, kw_only=True):
    language: str = "en-US"
    model: str = ""  # the recogniser picks
    prompt: str = ""


class AudioParams(msgspec.Struct, frozen=True, kw_only=True):
    sample_rate_hz: int = 16_000
    num_channels: int = 1


class RecognitionSettings(msgspec.Struct, frozen=True, kw_only=True):
    max_alternatives: int = 1
    enable_automatic_punctuation: bool = False
    enable_word_time_offsets: bool = False
    enable_profanity_filter: bool = False
    enable_verbatim_transcripts: bool = False


class DiarizationSettings(msgspec.Struct, frozen=True, kw_only=True):
    enable_speaker_diarization: bool = False
    max_speaker_count: int = 8


class BoostingSettings(msgspec.Struct, frozen=True, kw_only=True):
    enable_word_boosting: bool = False
    word_boosting_list: tuple[str, ...] = ()


class EndpointingSettings(msgspec.Struct, frozen=True, kw_only=True):
    start_history: int = 0
    start_threshold: int = 0
    stop_history: int = 0
    stop_threshold: int = 0
    stop_history_eou: int = 0
    stop_threshold_eou: int = 0


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    value: str
    expires_at: int  # seconds since 1970


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force. The defaults are Riva's, but for the model."""

    id: str
    object: str = "realtime.transcription_session"
    modalities: tuple[str, ...] = ("text",)
    input_audio_format: str = "pcm16"
    input_audio_transcription: TranscriptionSettings = TranscriptionSettings()
    input_audio_params: AudioParams = AudioParams()
    recognition_config: RecognitionSettings = RecognitionSettings()
    speaker_diarization: DiarizationSettings = DiarizationSettings()
    word_boosting: BoostingSettings = BoostingSettings()
    endpointing_config: EndpointingSettings = EndpointingSettings()
    client_secret: Secret | None = None


# ---- from the client; fields that are not here are ignored, and what is null is as good as not there


class TranscriptionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    language: _Text | None = None
    model: _Text | None = None


class AudioParamsUpdate(msgspec.Struct, frozen=True, kw_only=True):
    sample_rate_hz: _Integer | None = None
    num_channels: _Integer | None = None


class RecognitionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    enable_automatic_punctuation: bool | None = None
    enable_word_time_offsets: bool | None = None


class SessionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    input_audio_format: _Text | None = None
    input_audio_transcription: TranscriptionUpdate | None = None
    input_audio_params: AudioParamsUpdate | None = None
    recognition_config: RecognitionUpdate | None = None


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    force_eou: _Text | bool | None = None  # Riva's map has strings only


class UpdateMessage(msgspec.Struct, frozen=True, tag_field="type", tag="transcription_session.update"):
    session: SessionUpdate


class AppendMessage(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.append", gc=False):
    audio: bytes  # base64
    runtime_config: RuntimeConfig | None = None


class CommitMessage(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.commit"): ...


class ClearMessage(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.clear"): ...


class DoneMessage(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.done"): ...


ClientMessage = UpdateMessage | AppendMessage | CommitMessage | ClearMessage | DoneMessage
CLIENT_TYPES = tuple(
    str(each.__struct_config__.tag) for each in (UpdateMessage, AppendMessage, CommitMessage, ClearMessage, DoneMessage)
)

# ---- to the client; each has a `type` and an `event_id`


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: str = "realtime.conversation"


class CreatedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="conversation.created"):
    event_id: str
    conversation: Conversation


class UpdatedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="transcription_session.updated"):
    event_id: str
    session: Session


class CommittedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="input_audio_buffer.committed"):
    event_id: str
    previous_item_id: str | None
    item_id: str


class ClearedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="input_audio_buffer.cleared"):
    event_id: str


_ITEM = "conversation.item.input_audio_transcription."


class DeltaMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=f"{_ITEM}delta"):
    event_id: str
    item_id: str
    content_index: int = 0
    delta: str


class WordInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    word: str
    start_time: int  # ms
    end_time: int
    confidence: float
    speaker_tag: int = 0


class WordsInfo(msgspec.Struct, frozen=True, kw_only=True):
    words: tuple[WordInfo, ...] = ()


class CompletedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=f"{_ITEM}completed"):
    event_id: str
    item_id: str
    content_index: int = 0
    transcript: str
    is_last_result: bool
    words_info: WordsInfo = WordsInfo()


class ErrorDetails(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    code: str
    message: str
    param: str | None = None
    detail: str | msgspec.UnsetType = msgspec.UNSET
    retryable: bool
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET
    ref: str | msgspec.UnsetType = msgspec.UNSET


class FailedMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=f"{_ITEM}failed"):
    event_id: str
    item_id: str
    content_index: int = 0
    error: ErrorDetails


class ErrorMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    event_id: str
    error: ErrorDetails


class NoticeMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Of types that are ours alone, `transcription_session.` and a state."""

    type: str
    event_id: str
    code: str | None = None
    message: str
    deadline_ms: int | msgspec.UnsetType = msgspec.UNSET


ServerMessage = (
    CreatedMessage
    | UpdatedMessage
    | CommittedMessage
    | ClearedMessage
    | DeltaMessage
    | CompletedMessage
    | FailedMessage
    | ErrorMessage
    | NoticeMessage
)
