"""RIFF/WAVE headers, read from bytes without I/O.

Layout: IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0";
WAVE_FORMAT_EXTENSIBLE: Microsoft, "Multiple Channel Audio Data and WAVE Files".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from actors.speech.errors import AudioProcessingFailed, InvalidAudioFormat
from transport.audio.formats import AudioFormat, Encoding, require_supported

MAX_HEADER_BYTES = 64 * 1024  # Broadcast WAV puts bext and iXML chunks of some KiB before the audio
_MAX_CHUNKS = 64  # so that a header dripping in cannot be made dear to read again
_RIFF_BYTES = 12
_CHUNK_HEAD = struct.Struct("<4sI")
_FMT = struct.Struct("<HHIIHH")  # tag, channels, rate, bytes per second, bytes per frame, bits per sample
_EXTENSIBLE = 0xFFFE
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what a writer that cannot seek back leaves in the header (SoX, FFmpeg)
_TAGS = {
    1: "PCM",
    2: "Microsoft ADPCM",
    3: "float",
    6: "A-law",
    7: "mu-law",
    17: "IMA ADPCM",
    49: "GSM",
    85: "MP3",
}
_READABLE = {(1, 16): Encoding.PCM16, (6, 8): Encoding.ALAW, (7, 8): Encoding.MULAW}


class WavHeader(NamedTuple):
    """What a header says.

    Attributes:
        data_offset: bytes before the audio.
        data_bytes: how much audio follows; None when the header leaves it open.
    """

    format: AudioFormat
    data_offset: int
    data_bytes: int | None


def parse_header(head: bytes) -> WavHeader | None:
    """Read the header at the start of `head`; None while it is incomplete. Unknown chunks are passed over.

    Raises:
        InvalidAudioFormat: the audio is of a kind voxtree does not take; the detail says which.
        AudioProcessingFailed: the header itself makes no sense.
    """
    at, audio_format = _RIFF_BYTES, None
    for _ in range(_MAX_CHUNKS):
        if at + _CHUNK_HEAD.size > len(head):
            return None
        name, size = _CHUNK_HEAD.unpack_from(head, at)
        at += _CHUNK_HEAD.size
        if name == b"data":
            if audio_format is None:
                raise AudioProcessingFailed("the WAV header has no fmt chunk before its data")
            return WavHeader(audio_format, at, None if size in _UNKNOWN_SIZES else size)
        if at + size > MAX_HEADER_BYTES:
            break
        if name == b"fmt " and at + size <= len(head):
            audio_format = _parse_fmt(head[at : at + size])
        at += size + size % 2  # chunks begin at even offsets
    raise AudioProcessingFailed(f"the WAV header has no data chunk in its first {MAX_HEADER_BYTES} bytes")


def _parse_fmt(chunk: bytes) -> AudioFormat:
    if len(chunk) < _FMT.size:
        raise AudioProcessingFailed(f"the WAV header's fmt chunk has {len(chunk)} bytes, at least {_FMT.size} are due")
    tag, channels, sample_rate, _, _, bits = _FMT.unpack_from(chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)  # the sub-format's GUID begins with the plain tag
    encoding = _READABLE.get((tag, bits))
    if encoding is None:
        raise InvalidAudioFormat(
            f"this is a WAV with {bits}-bit {_TAGS.get(tag, f'encoding {tag:#06x}')} samples: send PCM16"
        )
    require_supported(sample_rate=sample_rate, channels=channels)
    return AudioFormat(encoding=encoding, sample_rate=sample_rate, channels=channels)
