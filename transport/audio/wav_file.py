"""Reading WAV files for the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from actors.speech.errors import SpeechError
from transport.audio.containers import HEAD_BYTES, recognise
from transport.audio.formats import AudioFormat
from transport.audio.wav import MAX_HEADER_BYTES, WavHeader, parse_header
from transport.expected import ExpectedError


class UnreadableAudio(ExpectedError):
    """A file that cannot be used as audio. Its text names the file and says why, for the one who chose it."""


class WavFile(msgspec.Struct, frozen=True, kw_only=True):
    """A WAV file, ready to be sent.

    Attributes:
        frames: samples of each channel.
        warning: what is wrong with the file though it can be used; None when nothing is.
    """

    path: Path
    format: AudioFormat
    frames: int
    warning: str | None
    data_offset: int

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return self.frames / self.format.sample_rate

    def chunks(self, seconds: float = 0.1, *, start: int = 0) -> Iterator[bytes]:
        """The audio as it is in the file, in whole samples, `seconds` at a time, from sample `start` on."""
        size = max(1, round(seconds * self.format.sample_rate)) * self.format.frame_bytes
        left = (self.frames - start) * self.format.frame_bytes
        with self.path.open("rb") as file:
            file.seek(self.data_offset + start * self.format.frame_bytes)
            while left and (chunk := file.read(min(size, left))):
                left -= len(chunk)
                yield chunk


def read_wav(path: str | os.PathLike[str]) -> WavFile:
    """Look at a WAV file. A file that ends early is used as far as it goes, and `warning` says so.

    Raises:
        UnreadableAudio: there is no such file, it is not a WAV voxtree can decode, or it holds no audio.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head, size = file.read(MAX_HEADER_BYTES), os.fstat(file.fileno()).st_size
    except OSError as exc:
        raise UnreadableAudio(f"{path}: {(exc.strerror or str(exc)).lower()}") from exc
    header = _header(path, head)
    present = max(0, size - header.data_offset)
    promised = present if header.data_bytes is None else header.data_bytes
    frames = min(present, promised) // header.format.frame_bytes
    if not frames:
        raise UnreadableAudio(f"{path}: the WAV file holds no audio")
    warning = None
    if present < promised:
        warning = f"{path}: cut short: {present} of {promised} bytes of audio are there, using those"
    return WavFile(path=path, format=header.format, frames=frames, warning=warning, data_offset=header.data_offset)


def _header(path: Path, head: bytes) -> WavHeader:
    kind = recognise(head)
    if kind != "WAV":
        raise UnreadableAudio(f"{path}: {_not_wav(head, kind)}")
    try:
        header = parse_header(head)
    except SpeechError as exc:
        raise UnreadableAudio(f"{path}: {exc.detail}") from exc
    if header is None:
        raise UnreadableAudio(f"{path}: the file ends inside its WAV header")
    return header


def _not_wav(head: bytes, kind: str | None) -> str:
    if not head:
        return "the file is empty"
    if kind is not None:
        return f"this is {kind}, not WAV; convert it: ffmpeg -i FILE -ar 16000 -ac 1 -c:a pcm_s16le OUT.wav"
    if len(head) < HEAD_BYTES:
        return f"not a WAV file: it has only {len(head)} bytes"
    return "not a WAV file: it does not begin with RIFF....WAVE"
