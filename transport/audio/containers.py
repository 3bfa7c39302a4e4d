"""Audio that is no raw samples, told by its first bytes.

Browsers and players send what their recorder makes; taken for PCM16 it would be loud noise, which a
recogniser turns into words nobody said.
"""

from __future__ import annotations

_MAGIC: tuple[tuple[int, bytes, str], ...] = (  # offset, bytes, name
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"OggS", "Ogg (Opus, Vorbis)"),
    (0, b"fLaC", "FLAC"),
    (4, b"ftyp", "MP4"),
    (0, b"ID3\x02\x00", "MP3"),
    (0, b"ID3\x03\x00", "MP3"),
    (0, b"ID3\x04\x00", "MP3"),
    (0, b"FORM", "AIFF"),
    (0, b"RIFX", "big-endian WAV"),
    (0, b"#!AMR", "AMR"),
)
_WAV = (b"RIFF", b"RF64")
HEAD_BYTES = 12  # enough for every mark above and for RIFF....WAVE

# kbit/s and Hz of MPEG-1 layer III, by their index in the frame header (ISO/IEC 11172-3, 2.4.2.3)
_MP3_BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_RATES = (44_100, 48_000, 32_000)


def recognise(head: bytes) -> str | None:
    """The name of the container or codec whose stream begins with `head` ("WAV"); None for raw samples."""
    if head[:4] in _WAV and head[8:12] == b"WAVE":
        return "WAV"
    for offset, mark, name in _MAGIC:
        if head.startswith(mark, offset):
            return name
    return "MP3" if _is_mp3(head) else None


def undecided(head: bytes) -> bool:
    """Whether `head`, not empty, breaks off inside a mark that `recognise` knows."""
    if len(head) < HEAD_BYTES and any(head[:4] == mark[: len(head)] for mark in _WAV):
        return True
    return any(len(head) < len(mark) and mark.startswith(head) for offset, mark, _ in _MAGIC if offset == 0)


def _is_mp3(head: bytes) -> bool:
    # The sync bits alone are an ordinary quiet sample (-1025): a second frame must follow the first.
    size = _mp3_frame_bytes(head)
    return size is not None and _mp3_frame_bytes(head[size:]) is not None


def _mp3_frame_bytes(head: bytes) -> int | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xFE != 0xFA:
        return None
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if bitrate in (0, 15) or rate == 3:
        return None
    return 144_000 * _MP3_BITRATES[bitrate] // _MP3_RATES[rate] + (head[2] >> 1 & 1)
