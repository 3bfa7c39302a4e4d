"""What a client asks for, checked; refusals are worded as Riva words them."""

from __future__ import annotations

from typing import Any

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from transport.audio.formats import Encoding
from transport.embedded.utterance import RATE, Endpointing

LANGUAGE = "en-US"
MIN_STOP_MS, MAX_STOP_MS = 100, 10_000

_ENCODINGS = {
    AudioEncoding.ENCODING_UNSPECIFIED: None,
    AudioEncoding.LINEAR_PCM: Encoding.PCM16,
    AudioEncoding.MULAW: Encoding.MULAW,
    AudioEncoding.ALAW: Encoding.ALAW,
}


class Refused(Exception):
    """A call that ends with a gRPC status other than OK. `details` goes to the client."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One call's settings. `rate` is in Hz, 0 when only a WAV header can tell; `encoding` likewise None."""

    encoding: Encoding | None
    rate: int
    interims: bool
    word_times: bool
    punctuate: bool
    endpointing: Endpointing


def read_streaming(config: Any, model: str) -> Settings:
    """The settings in a `StreamingRecognitionConfig`.

    Raises:
        Refused: INVALID_ARGUMENT, where something is asked for that is not there.
    """
    return _read(config.config, model, mode="online", interims=config.interim_results)


def read_offline(config: Any, model: str) -> Settings:
    """The settings in the `RecognitionConfig` of a unary call.

    Raises:
        Refused: INVALID_ARGUMENT, where something is asked for that is not there.
    """
    return _read(config, model, mode="offline", interims=False)


def _read(config: Any, model: str, *, mode: str, interims: bool) -> Settings:
    if config.language_code.lower() != LANGUAGE.lower() or config.model not in ("", model):
        raise unavailable_model(config, config.sample_rate_hertz, mode)
    if config.encoding not in _ENCODINGS:
        raise invalid(
            f"Error: encoding {_encoding_name(config.encoding)} is not supported; send LINEAR_PCM, MULAW or ALAW"
        )
    if config.audio_channel_count > 1:
        raise invalid(f"Error: {config.audio_channel_count} audio channels are not supported; send mono audio")
    return Settings(
        encoding=_ENCODINGS[config.encoding],
        rate=config.sample_rate_hertz,
        interims=interims,
        word_times=config.enable_word_time_offsets,
        punctuate=config.enable_automatic_punctuation,
        endpointing=_endpointing(config),
    )


def _endpointing(config: Any) -> Endpointing:
    """The two lengths of silence among Riva's six settings; the others count tokens that we do not have."""
    default = Endpointing()
    if not config.HasField("endpointing_config"):
        return default
    wanted = config.endpointing_config
    return Endpointing(
        stop=_samples(wanted.stop_history) or default.stop,
        early=_samples(wanted.stop_history_eou) or default.early,
    )


def _samples(milliseconds: int) -> int:
    """0 stands for the default, as it does in Riva."""
    if milliseconds <= 0:
        return 0
    return min(max(milliseconds, MIN_STOP_MS), MAX_STOP_MS) * RATE // 1000


def unavailable_model(config: Any, rate: int, mode: str) -> Refused:
    return invalid(
        "Error: Unavailable model requested given these parameters: "
        f"language_code={config.language_code}; sample_rate={rate}; type={mode}; "
    )


def invalid(details: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, details)


def _encoding_name(value: int) -> str:
    return str(AudioEncoding.Name(value)) if value in AudioEncoding.values() else str(value)


def model_config(model: str) -> Any:
    """What `GetRivaSpeechRecognitionConfig` says about the one model there is."""
    return pb.RivaSpeechRecognitionConfigResponse.Config(
        model_name=model,
        parameters={
            "language_code": LANGUAGE,
            "type": "online",
            "streaming": "True",
            "offline": "True",
            "sample_rate": str(RATE),
        },
    )
