"""From the client's bytes to what a session hears: PCM16 mono at the client's own rate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from actors.speech.errors import AudioProcessingFailed
from transport.audio.formats import AudioFormat, Encoding
from transport.audio.g711 import ALAW, MULAW

_Samples = npt.NDArray[np.int16]
_PCM16 = np.dtype("<i2")
_TABLES = {
    Encoding.MULAW: np.array(MULAW, dtype=_PCM16),
    Encoding.ALAW: np.array(ALAW, dtype=_PCM16),
}


class Decoder:
    """Decodes whole messages; keeps nothing from one to the next.

    PCM16 mono passes through uncopied. Two channels are averaged, rounded down.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self._frame_bytes = audio_format.frame_bytes
        self._decode = _decoding(audio_format)

    def feed(self, data: bytes) -> bytes:
        """Decode one message.

        Raises:
            AudioProcessingFailed: it is empty or cuts a sample in two. Nothing of it was used.
        """
        if not data or len(data) % self._frame_bytes:
            raise AudioProcessingFailed(self._refusal(len(data)))
        return self._decode(data)

    def _refusal(self, size: int) -> str:
        if not size:
            return "the audio message is empty"
        encoding, channels = self.format.encoding.value, self.format.channels
        return f"{size} bytes: {encoding} with {channels} channel(s) takes a multiple of {self._frame_bytes}"


def _decoding(audio_format: AudioFormat) -> Callable[[bytes], bytes]:
    mono = audio_format.channels == 1
    if audio_format.encoding is Encoding.PCM16:
        return bytes if mono else _mix_pcm16
    return partial(_expand if mono else _mix_expanded, _TABLES[audio_format.encoding])


def _mix_pcm16(data: bytes) -> bytes:
    return _mix(np.frombuffer(data, dtype=_PCM16))


def _expand(table: _Samples, data: bytes) -> bytes:
    samples: _Samples = table[np.frombuffer(data, dtype=np.uint8)]
    return samples.tobytes()


def _mix_expanded(table: _Samples, data: bytes) -> bytes:
    return _mix(table[np.frombuffer(data, dtype=np.uint8)])


def _mix(interleaved: _Samples) -> bytes:
    pairs = interleaved.astype(np.int32).reshape(-1, 2)  # 32 bits: the sum of two full-scale samples needs 17
    mono: _Samples = (pairs.sum(axis=1) >> 1).astype(_PCM16)
    return mono.tobytes()
