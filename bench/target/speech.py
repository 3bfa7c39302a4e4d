"""What is said to an endpoint: words that can be counted, or a recording."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.faults.stage import PAUSE, UTTERANCE
from bench.riva import CodedSpeech
from bench.riva.words import SLOT_SECONDS, TAGS
from transport.audio.formats import Encoding
from transport.audio.wav_file import read_wav
from transport.expected import ExpectedError

RATE = 16_000
CHUNK_SECONDS = 0.1
_CHUNK = round(2 * RATE * CHUNK_SECONDS)  # bytes


class Spoken(msgspec.Struct, frozen=True):
    """What one client says: 16-bit mono at 16 kHz. `coded`: its words, if they can be counted."""

    pcm: bytes
    coded: CodedSpeech | None = None

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / RATE

    def chunks(self) -> Iterator[bytes]:
        """The audio of one message after another."""
        return (self.pcm[at : at + _CHUNK] for at in range(0, len(self.pcm), _CHUNK))


class Script:
    """What clients say, one after another.

    Args:
        seconds: how long each speaks, about.
        counted: whether words can be counted: a scripted Riva recognises them.
        recording: a WAV file that all of them say, again and again if it is shorter; None: words, other ones each time.

    Raises:
        ExpectedError: the file cannot be used.
    """

    def __init__(self, seconds: float, recording: Path | None = None, *, counted: bool = False) -> None:
        self._words = max(1, round(seconds / (SLOT_SECONDS + PAUSE / UTTERANCE)))
        self._recording = None if recording is None else _read(recording, seconds)
        self._counted = counted
        self._tags = itertools.count(1)

    def next(self) -> Spoken:
        """What the next client says."""
        if self._recording is not None:
            return Spoken(self._recording)
        tag = next(self._tags) % TAGS or 1
        coded = CodedSpeech(words=self._words, tag=tag, utterance=UTTERANCE, pause=PAUSE)
        return Spoken(coded.read(0, coded.samples), coded if self._counted else None)


def _read(path: Path, seconds: float) -> bytes:
    wav = read_wav(path)
    audio = wav.format
    if (audio.encoding, audio.sample_rate, audio.channels) != (Encoding.PCM16, RATE, 1):
        raise ExpectedError(f"{path}: 16-bit mono at 16 kHz is needed; ffmpeg -i {path} -ac 1 -ar 16000 speech.wav")
    pcm, wanted = b"".join(wav.chunks()), 2 * round(seconds * RATE)
    return (pcm * (wanted // len(pcm) + 1))[:wanted]
