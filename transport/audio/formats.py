"""What the client's audio looks like on the wire: encoding, rate, channels."""

from __future__ import annotations

from enum import Enum

import msgspec

from actors.speech.errors import InvalidAudioFormat

SAMPLE_RATES = range(8_000, 48_001)  # Hz; telephony to studio, what Riva's models and the resampler take
CHANNELS = range(1, 3)


class Encoding(Enum):
    """How one sample is written."""

    PCM16 = "pcm16"  # two bytes, little-endian
    MULAW = "mulaw"  # one byte, G.711
    ALAW = "alaw"  # one byte, G.711


ENCODINGS = ", ".join(encoding.value for encoding in Encoding)


class AudioFormat(msgspec.Struct, frozen=True, kw_only=True):
    """A format voxtree can decode. `sample_rate` is in Hz."""

    encoding: Encoding = Encoding.PCM16
    sample_rate: int = 16_000
    channels: int = 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return (2 if self.encoding is Encoding.PCM16 else 1) * self.channels


DEFAULT_FORMAT = AudioFormat()


class DeclaredFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What a client said about its audio; None where it said nothing."""

    encoding: Encoding | None = None
    sample_rate: int | None = None
    channels: int | None = None

    def filled(self) -> AudioFormat:
        """The declared format, with the defaults for what was not said."""
        return AudioFormat(
            encoding=self.encoding or DEFAULT_FORMAT.encoding,
            sample_rate=self.sample_rate or DEFAULT_FORMAT.sample_rate,
            channels=self.channels or DEFAULT_FORMAT.channels,
        )

    def agreed(self, header: AudioFormat) -> AudioFormat:
        """The format in a WAV header, which may say more than the client did, but nothing else.

        Raises:
            InvalidAudioFormat: naming both values, where they differ.
        """
        for field in ("encoding", "sample_rate", "channels"):
            said, found = getattr(self, field), getattr(header, field)
            if said is not None and said != found:
                raise InvalidAudioFormat(
                    f"{field} is {_shown(said)} as declared, but {_shown(found)} in the WAV header"
                )
        return header


def require_supported(*, sample_rate: int | None = None, channels: int | None = None) -> None:
    """Check the numbers of a format, wherever they come from.

    Raises:
        InvalidAudioFormat: naming the field, its value and what is allowed.
    """
    if sample_rate is not None and sample_rate not in SAMPLE_RATES:
        raise InvalidAudioFormat(f"sample_rate {sample_rate}: allowed are {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz")
    if channels is not None and channels not in CHANNELS:
        raise InvalidAudioFormat(f"channels {channels}: allowed are {CHANNELS[0]} and {CHANNELS[-1]}")


def _shown(value: Encoding | int) -> str:
    return value.value if isinstance(value, Encoding) else str(value)
