"""A folder of recordings with what is said in them: `manifest.jsonl` and the WAV files it names."""

from __future__ import annotations

from pathlib import Path

import msgspec

from transport.audio.formats import AudioFormat
from transport.audio.wav_file import UnreadableAudio, read_wav


class Recording(msgspec.Struct, frozen=True):
    """One line of the manifest; further fields are ignored."""

    file: str
    text: str


class Speech(msgspec.Struct, frozen=True):
    """A recording in memory: PCM16 mono."""

    name: str
    text: str
    pcm: bytes
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.sample_rate


def load(folder: Path) -> list[Speech]:
    """All recordings of the folder's manifest.

    Raises:
        SystemExit: there is no usable manifest; the message says what is expected.
    """
    manifest = folder / "manifest.jsonl"
    try:
        rows = msgspec.json.Decoder(Recording).decode_lines(manifest.read_bytes())
    except OSError as error:
        raise SystemExit(f"{manifest}: {error.strerror}; expected JSON lines with `file` and `text`") from error
    except msgspec.MsgspecError as error:
        raise SystemExit(f"{manifest}: {error}; expected JSON lines with `file` and `text`") from error
    return [_read(folder, row) for row in rows]


def _read(folder: Path, row: Recording) -> Speech:
    try:
        wav = read_wav(folder / row.file)
    except UnreadableAudio as error:
        raise SystemExit(str(error)) from error
    if wav.format != AudioFormat(sample_rate=wav.format.sample_rate):
        raise SystemExit(f"{wav.path}: expected PCM16 mono")
    return Speech(row.file, row.text, b"".join(wav.chunks()), wav.format.sample_rate)
