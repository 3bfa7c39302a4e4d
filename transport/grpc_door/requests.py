"""Riva's requests, read: bytes in, steps to carry out out. No I/O; what cannot be done is raised.

Audio is LINEAR_PCM, MULAW or ALAW, or ENCODING_UNSPECIFIED: what the WAV header says, else LINEAR_PCM. One or two
channels (two are mixed down), 8 to 48 kHz. A rate or channel count of 0 is the WAV header's, else 16000 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
from google.protobuf.message import DecodeError
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_audio_pb2 import AudioEncoding
from riva.client.proto.riva_common_pb2 import RequestId

from actors.speech.errors import ChunkTooLarge, InvalidAudioFormat, InvalidMessage
from actors.speech.messages import Finalize, Stop
from actors.speech.ports import RecognitionConfig
from transport.audio.formats import AudioFormat, DeclaredFormat, Encoding, require_supported
from transport.audio.stream import AudioStream
from transport.wire.intake import Open, Samples
from transport.wire.reading import require_language

Step = Open | Samples | Finalize | Stop

MAX_NAME = 256  # characters of a request's id and of a model's name, which are said back

_ENCODINGS: Mapping[int, Encoding | None] = MappingProxyType(
    {
        AudioEncoding.ENCODING_UNSPECIFIED: None,
        AudioEncoding.LINEAR_PCM: Encoding.PCM16,
        AudioEncoding.MULAW: Encoding.MULAW,
        AudioEncoding.ALAW: Encoding.ALAW,
    }
)
# What a session has no use for. Riva, too, takes what the model cannot do, and does nothing about it.
_IGNORED = (
    "profanity_filter",
    "speech_contexts",
    "enable_separate_recognition_per_channel",
    "verbatim_transcripts",
    "diarization_config",
    "custom_configuration",
    "endpointing_config",
)


class Requests(Protocol):
    """What one call's messages mean.

    Attributes:
        request_id: the last that came, to be echoed; None: none came.
        ignored: the settings that were asked for and have no effect.
    """

    request_id: RequestId | None
    ignored: tuple[str, ...]

    def receive(self, message: bytes) -> list[Step]:
        """The steps for the next message, in order.

        Raises:
            SpeechError: it makes no sense, or asks for what there is not. The call is over.
        """

    def end(self) -> list[Step]:
        """The steps for the end of the messages. Raises as `receive`."""


class Streaming:
    """The messages of a `StreamingRecognize`: first the settings, then audio. See `Requests`.

    Args:
        max_chunk_bytes: audio that one message may hold.
    """

    def __init__(self, max_chunk_bytes: int) -> None:
        self.request_id: RequestId | None = None
        self.ignored: tuple[str, ...] = ()
        self._max_chunk_bytes = max_chunk_bytes
        self._hearing: _Hearing | None = None

    def receive(self, message: bytes) -> list[Step]:
        """See `Requests.receive`."""
        request = parsed(pb.StreamingRecognizeRequest, message)
        self.request_id = _id(request) or self.request_id
        if self._hearing is None:
            return self._begin(request)
        if request.HasField("streaming_config"):
            raise InvalidMessage("streaming_config may only be in the first message of a stream")
        steps = self._hear(self._hearing, request.audio_content)
        if request.runtime_config.get("force_eou", "").lower() == "true":
            steps.append(Finalize())
        return steps

    def end(self) -> list[Step]:
        """See `Requests.end`."""
        if self._hearing is None:
            raise InvalidMessage("the stream ended before its streaming_config")
        return [*self._hearing.end(), Stop()]

    def _begin(self, request: Any) -> list[Step]:
        if not request.HasField("streaming_config"):
            raise InvalidMessage("the first message of a stream must hold its streaming_config")
        wanted = request.streaming_config
        self.ignored = _ignored(wanted.config)
        self._hearing = _Hearing(wanted.config, interim_results=wanted.interim_results)
        return self._hearing.begin()

    def _hear(self, hearing: _Hearing, audio: bytes) -> list[Step]:
        if len(audio) > self._max_chunk_bytes:
            raise ChunkTooLarge(f"{len(audio)} bytes of audio in one message: allowed are {self._max_chunk_bytes}")
        return hearing.hear(audio) if audio else []


class Whole:
    """The one message of a `Recognize`. See `Requests`."""

    def __init__(self) -> None:
        self.request_id: RequestId | None = None
        self.ignored: tuple[str, ...] = ()

    def receive(self, message: bytes) -> list[Step]:
        """See `Requests.receive`."""
        request = parsed(pb.RecognizeRequest, message)
        self.request_id = _id(request)
        self.ignored = _ignored(request.config)
        hearing = _Hearing(request.config, interim_results=False)
        heard = hearing.hear(request.audio) if request.audio else []
        return [*hearing.begin(), *heard, *hearing.end(), Stop()]

    def end(self) -> list[Step]:
        """See `Requests.end`."""
        return []


class _Hearing:
    """From a call's settings and its audio to a session. The session begins as soon as its rate is known."""

    def __init__(self, wanted: Any, *, interim_results: bool) -> None:
        self._declared = _declared(wanted)
        self._config = _config(wanted, self._declared.filled(), interim_results=interim_results)
        self._audio = AudioStream(self._declared)
        self._begun = False

    def begin(self) -> list[Step]:
        return [] if self._declared.sample_rate is None else self._open(self._declared.filled())

    def hear(self, audio: bytes) -> list[Step]:
        pcm = self._audio.feed(audio)
        opening = [] if self._audio.format is None else self._open(self._audio.format)
        return [*opening, Samples(pcm)] if pcm else opening

    def end(self) -> list[Step]:
        pcm = self._audio.end()
        opening = self._open(self._audio.format or self._declared.filled())
        return [*opening, Samples(pcm)] if pcm else opening

    def _open(self, audio: AudioFormat) -> list[Step]:
        if self._begun:
            return []
        self._begun = True
        return [Open(msgspec.structs.replace(self._config, sample_rate=audio.sample_rate), audio)]


def parsed(kind: Any, message: bytes) -> Any:
    """A protobuf message of a kind.

    Raises:
        InvalidMessage: the bytes are none.
    """
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InvalidMessage(f"{len(message)} bytes that are no {kind.DESCRIPTOR.name}") from None


def _declared(wanted: Any) -> DeclaredFormat:
    if wanted.encoding not in _ENCODINGS:
        raise InvalidAudioFormat(
            f"encoding {_name(wanted.encoding)} is not taken: send LINEAR_PCM (16 bit), MULAW or ALAW, raw or as a WAV"
        )
    declared = DeclaredFormat(
        encoding=_ENCODINGS[wanted.encoding],
        sample_rate=wanted.sample_rate_hertz or None,
        channels=wanted.audio_channel_count or None,
    )
    require_supported(sample_rate=declared.sample_rate, channels=declared.channels)
    return declared


def _config(wanted: Any, audio: AudioFormat, *, interim_results: bool) -> RecognitionConfig:
    require_language(wanted.language_code, "language_code")
    if len(wanted.model) > MAX_NAME:
        raise InvalidMessage(f"model: a name of {len(wanted.model)} characters; allowed are {MAX_NAME}")
    return RecognitionConfig(
        sample_rate=audio.sample_rate,
        language=wanted.language_code,
        interim_results=interim_results,
        word_times=wanted.enable_word_time_offsets,
        punctuate=wanted.enable_automatic_punctuation,
        model=wanted.model,
    )


def _ignored(wanted: Any) -> tuple[str, ...]:
    given = {field.name for field, _ in wanted.ListFields()}
    return tuple(name for name in _IGNORED if name in given)


def _id(request: Any) -> Any | None:
    if not request.HasField("id"):
        return None
    if len(request.id.value) > MAX_NAME:
        raise InvalidMessage(f"id: {len(request.id.value)} characters; allowed are {MAX_NAME}")
    return request.id


def _name(encoding: int) -> str:
    return str(AudioEncoding.Name(encoding)) if encoding in AudioEncoding.values() else str(encoding)
