"""Recordings: the one that ships with the project, and a folder of real speech where there is one."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import pytest

from transport.cli.recording import RECORDING

_BESIDE = Path(__file__).parents[3].parent / "shared" / "speech"
SPEECH = Path(os.environ.get("VOXTREE_SPEECH", _BESIDE))  # a folder with manifest.jsonl and the WAV files it names

needs_speech = pytest.mark.skipif(
    not (SPEECH / "manifest.jsonl").is_file(), reason=f"no recordings of real speech in {SPEECH} (VOXTREE_SPEECH)"
)


def demo_pcm() -> bytes:
    """The demo recording: PCM16 mono at 16 kHz."""
    with wave.open(str(RECORDING)) as file:
        return file.readframes(file.getnframes())


def pieces(data: bytes, size: int = 3_200) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
