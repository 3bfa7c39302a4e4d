"""The bench of the cache runs on any folder of recordings, and on good ones its figures are good."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from bench.changes import CHANGES
from tests.transport.test_cache_index import sentences

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The demo recording's sentences as a folder of recordings."""
    lines = []
    for number, sentence in enumerate(sentences()):
        with wave.open(str(tmp_path / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, sentence.sample_rate, 0, "NONE", ""))
            file.writeframes(sentence.pcm)
        lines.append(json.dumps({"file": f"{number}.wav", "text": sentence.text}))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.slow
def test_the_bench_of_the_cache_finds_every_recording_after_every_change_and_no_wrong_one(folder: Path) -> None:
    report = folder / "figures.json"
    command = [sys.executable, "-m", "bench", "cache", str(folder), "--quick", "--json", str(report)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    figures = json.loads(report.read_text())
    assert (figures["recordings"], figures["entries"], figures["queries"]) == (4, 50, 4 * len(CHANGES))
    assert [(one["change"], one["recall"], one["first"], one["wrong"]) for one in figures["found"]] == [
        (change, 100.0, 100.0, 0) for change in CHANGES
    ]
    assert (figures["wrong"], figures["finals"]) == (0, None)
    assert 0 < figures["lookup_ms_p50"] <= figures["lookup_ms_p95"]
