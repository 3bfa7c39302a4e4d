"""What a client asks of a stream, checked as Riva checks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from bench.riva.plan import Plan
from bench.riva.statuses import Refused, unavailable_model
from bench.riva.tones import check_rate
from transport.audio.g711 import ALAW, MULAW


class Settings:
    """What a stream's client asked for.

    Raises:
        Refused: it asked for what a scripted Riva has not.
    """

    def __init__(self, request: Any, plan: Plan) -> None:
        if not request.HasField("streaming_config"):
            raise Refused("INVALID_ARGUMENT", "Error: the first message of a stream must hold its streaming_config")
        config = request.streaming_config.config
        self.rate: int = config.sample_rate_hertz
        self.interims: bool = request.streaming_config.interim_results
        self.word_times: bool = config.enable_word_time_offsets
        self._pcm = _ENCODINGS.get(config.encoding)
        if config.language_code not in plan.languages or config.model not in ("", plan.model):
            raise unavailable_model(config.language_code, self.rate)
        if config.encoding not in _ENCODINGS:
            raise Refused("INVALID_ARGUMENT", f"Error: encoding {config.encoding} is not supported")
        try:
            check_rate(self.rate)
        except ValueError as error:
            raise unavailable_model(config.language_code, self.rate) from error

    def pcm(self, audio: bytes) -> bytes:
        """A message's audio as PCM16.

        Raises:
            Refused: there is half a sample in it.
        """
        if self._pcm is None and len(audio) % 2:
            raise Refused("INVALID_ARGUMENT", "Error: a message holds half a sample")
        return audio if self._pcm is None else self._pcm[np.frombuffer(audio, np.uint8)].tobytes()


_ENCODINGS: Mapping[int, Any] = {
    AudioEncoding.ENCODING_UNSPECIFIED: None,
    AudioEncoding.LINEAR_PCM: None,
    AudioEncoding.MULAW: np.array(MULAW, "<i2"),
    AudioEncoding.ALAW: np.array(ALAW, "<i2"),
}
