"""A client's audio from its first byte on: a header if there is one, then samples."""

from __future__ import annotations

from actors.speech.errors import AudioProcessingFailed, InvalidAudioFormat
from transport.audio.containers import recognise, undecided
from transport.audio.decoder import Decoder
from transport.audio.formats import AudioFormat, DeclaredFormat
from transport.audio.wav import WavHeader, parse_header

# What can follow the audio in a WAV file. Anything else after it is audio too: some recorders write the size
# of their first chunk into the header and go on.
_TRAILING_CHUNKS = (
    b"LIST",
    b"INFO",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"cue ",
    b"fact",
    b"JUNK",
    b"PAD ",
    b"iXML",
    b"smpl",
)


class AudioStream:
    """Decodes one client's audio, message by message, to PCM16 mono at its own rate.

    A WAV header at the very start is recognised, also when messages cut it, and its format is used as far as
    the client did not declare another. Without a header every message must hold whole samples; with one,
    messages are slices of a file and may end anywhere.

    Attributes:
        format: how the audio is decoded; None until the first audio has told.

    Args:
        declared: what the client said in `start`.
        fixed_rate: the rate the session already runs at, in Hz; None while the header may still choose it.
    """

    def __init__(self, declared: DeclaredFormat | None = None, *, fixed_rate: int | None = None) -> None:
        self.format: AudioFormat | None = None
        self._declared = declared or DeclaredFormat()
        self._fixed_rate = fixed_rate
        self._head = b""
        self._raw: Decoder | None = None
        self._wav: _WavBody | None = None

    def feed(self, data: bytes) -> bytes:
        """The next message's samples; empty while the header is incomplete, and after a file's audio.

        Raises:
            AudioProcessingFailed: the message cannot be decoded; nothing of it was used.
            InvalidAudioFormat: this stream will never be understood.
        """
        if self._raw is not None:
            return self._raw.feed(data)
        if self._wav is not None:
            return self._wav.feed(data)
        return self._begin(data)

    def end(self) -> bytes:
        """The samples still held back, if the stream ended before it was clear what it is.

        Raises:
            AudioProcessingFailed: it ended inside a WAV header or inside a sample.
        """
        head, self._head = self._head, b""
        if not head:
            return b""
        if recognise(head) == "WAV":
            raise AudioProcessingFailed(f"the audio ended after {len(head)} bytes, inside its WAV header")
        return self._begin_raw(head)

    def _begin(self, data: bytes) -> bytes:
        head, self._head = self._head + data, b""
        if head and undecided(head):
            self._head = head
            return b""
        kind = recognise(head)
        if kind is None:
            return self._begin_raw(head)
        if kind != "WAV":
            raise InvalidAudioFormat(f"this is {kind}: send PCM16, mu-law or A-law samples, or a WAV of them")
        return self._begin_wav(head)

    def _begin_raw(self, head: bytes) -> bytes:
        audio_format = self._declared.filled()
        decoder = Decoder(audio_format)
        pcm = decoder.feed(head)
        self.format, self._raw = audio_format, decoder
        return pcm

    def _begin_wav(self, head: bytes) -> bytes:
        header = parse_header(head)
        if header is None:
            self._head = head
            return b""
        self.format = self._declared.agreed(header.format)
        self._require_rate(header.format.sample_rate)
        self._wav = _WavBody(header)
        rest = head[header.data_offset :]
        return self._wav.feed(rest) if rest else b""

    def _require_rate(self, sample_rate: int) -> None:
        if self._fixed_rate not in (None, sample_rate):
            raise InvalidAudioFormat(
                f"the session runs at {self._fixed_rate} Hz, since start gave no sample_rate, "
                f"but the WAV header says {sample_rate}: give sample_rate in start"
            )


class _WavBody:
    """The bytes after a WAV header, of which only the first `data_bytes` need be audio."""

    def __init__(self, header: WavHeader) -> None:
        self._decoder = Decoder(header.format)
        self._frame_bytes = header.format.frame_bytes
        self._left = header.data_bytes  # None: everything is audio
        self._padding = (header.data_bytes or 0) % 2  # chunks begin at even offsets
        self._cut = b""  # the start of a sample whose rest is in the next message
        self._after = b""  # the first bytes past `data_bytes`, until it is clear what they are
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        if not data:
            raise AudioProcessingFailed("the audio message is empty")
        if self._left is None:
            return self._whole_frames(data)
        if self._ended:
            return b""
        audio, beyond = data[: self._left], data[self._left :]
        self._left -= len(audio)
        return self._whole_frames(audio + self._more(beyond) if beyond else audio)

    def _more(self, beyond: bytes) -> bytes:
        self._after += beyond
        mark = self._after[self._padding : self._padding + 4]
        if len(mark) < 4:
            return b""
        if mark in _TRAILING_CHUNKS:
            self._ended = True
            return b""
        self._left = None
        return self._after

    def _whole_frames(self, data: bytes) -> bytes:
        data = self._cut + data
        end = len(data) - len(data) % self._frame_bytes
        self._cut = data[end:]
        return self._decoder.feed(data[:end]) if end else b""
