"""From the bytes a client sends to the 16 kHz samples the models hear."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from actors.speech.errors import AudioProcessingFailed, InvalidAudioFormat
from transport.audio.formats import SAMPLE_RATES, DeclaredFormat, Encoding
from transport.audio.stream import AudioStream

Samples = npt.NDArray[np.float32]

RATE = 16_000  # Hz
HEADER_CONTRADICTS = "Error: config format doesn't match with header format"  # Riva's own words


class InvalidAudio(Exception):
    """The audio is not what was declared. The message is meant for the client."""


class UnsupportedRate(Exception):
    """There is no model for this sample rate (in Hz)."""

    def __init__(self, rate: int) -> None:
        super().__init__(f"sample rate {rate} Hz is not within {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]}")
        self.rate = rate


class AudioDecoder:
    """Decodes one stream. How the bytes are cut into messages makes no difference, not even within a sample.

    Args:
        encoding: as declared; None: as a WAV header says, PCM16 without one.
        rate: in Hz, as declared; 0: as a WAV header says.

    Raises:
        UnsupportedRate: here, or from `decode` when only a header could tell the rate and there is none.
        InvalidAudio: from `decode` and `flush`, when the first bytes contradict what was declared.
    """

    def __init__(self, encoding: Encoding | None, rate: int) -> None:
        if rate and rate not in SAMPLE_RATES:
            raise UnsupportedRate(rate)
        self._rate = rate
        self._stream = AudioStream(
            DeclaredFormat(encoding=encoding, sample_rate=rate or None, channels=1)  # Riva takes mono only
        )
        self._sample_bytes = 1 if encoding in (Encoding.MULAW, Encoding.ALAW) else 2
        self._rest = b""  # half a sample
        self._resampler: soxr.ResampleStream | None = None

    def decode(self, data: bytes) -> Samples:
        """The samples of `data`, as far as they are whole and through the resampler."""
        if not self._rate and self._stream.format is None and not _may_be_wav(self._rest + data):
            raise UnsupportedRate(0)
        data = self._rest + data
        whole = len(data) - len(data) % self._sample_bytes
        self._rest = data[whole:]
        return self._resample(self._pcm(data[:whole]), last=False)

    def flush(self) -> Samples:
        """The few milliseconds that the resampler still holds. More audio may follow."""
        return self._resample(b"", last=True)

    def finish(self) -> Samples:
        """What a stream still holds that was too short to tell what it is, and the resampler's rest."""
        try:
            pcm = self._stream.end()
        except AudioProcessingFailed as exc:
            raise InvalidAudio(f"Error: {exc.detail}") from exc
        return self._resample(pcm, last=True)

    def _pcm(self, data: bytes) -> bytes:
        if not data:
            return b""
        try:
            return self._stream.feed(data)
        except InvalidAudioFormat as exc:
            raise InvalidAudio(HEADER_CONTRADICTS) from exc
        except AudioProcessingFailed as exc:
            raise InvalidAudio(f"Error: {exc.detail}") from exc

    def _resample(self, pcm: bytes, *, last: bool) -> Samples:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768)
        rate = self._stream.format.sample_rate if self._stream.format else RATE
        if rate == RATE:
            return samples
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        resampled: Samples = self._resampler.resample_chunk(samples, last=last)
        if last:
            self._resampler = None
        return resampled


def _may_be_wav(head: bytes) -> bool:
    return not head or head[:4] == b"RIFF"[: len(head[:4])] or head[:4] == b"RF64"
