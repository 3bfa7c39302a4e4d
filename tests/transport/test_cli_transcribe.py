"""`voxtree transcribe`: what its user is told besides the words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transport.wavs import wav
from transport.audio.wav_file import read_wav
from transport.cli.transcribe import _Display
from transport.client import Gap


def test_audio_that_was_lost_is_said_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(bytes(32000)))
    display = _Display(read_wav(path), prints_finals=True)
    display.show(Gap(seq=1, start=16000, end=96000, code="AUDIO_004"))
    assert capsys.readouterr().err == "voxtree: warning: 5.0 s from 1.0 s on could not be transcribed [AUDIO_004]\n"
