"""The word error rate of the whole path, with the recogniser killed meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transport.cli.recording import RECORDING, SENTENCES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_kills_fall_into_the_speech_and_cost_no_word(tmp_path: Path) -> None:
    shutil.copy(RECORDING, tmp_path / "demo.wav")
    rows = [{"file": "demo.wav", "text": " ".join(SENTENCES)}] * 2
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = tmp_path / "wer.json"
    command = [sys.executable, "-m", "bench", "wer", str(tmp_path), "--kill", "3", "--json", str(report)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(report.read_text())
    assert figures["kills"] >= 1
    assert figures["recordings_hit"] >= 2
    assert figures["wer_streamed"] == figures["wer_bare"]
    assert f"killed {figures['kills']} times" in ran.stdout
