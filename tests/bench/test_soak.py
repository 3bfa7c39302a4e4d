"""The soak counts words and looks for what grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak import Sample, Soak, slope

ROOT = Path(__file__).parents[2]


def samples(*mib: float) -> list[Sample]:
    return [Sample(at=36.0 * number, mib=value, files=10, tasks=5) for number, value in enumerate(mib)]


def test_a_slope_is_what_an_hour_adds() -> None:
    assert slope(samples(50.0, 50.5, 51.0), "mib") == pytest.approx(50.0)
    assert slope(samples(50.0, 51.0), "mib") is None


def test_the_first_fifth_is_left_out() -> None:
    soak = Soak(seed=1, samples=samples(0.0, 50.0, 50.0, 50.0, 50.0))
    assert soak.slopes == {"mib": 0.0, "files": 0.0, "tasks": 0.0}


@pytest.mark.slow
def test_a_short_soak_loses_nothing_and_samples_the_server(tmp_path: Path) -> None:
    report = tmp_path / "soak.json"
    command = [sys.executable, "-m", "bench", "soak", "--minutes", "0.01", "--sessions", "2", "--words", "30"]
    ran = subprocess.run([*command, "--json", str(report)], cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    figures = json.loads(report.read_text())
    assert (figures["sessions"], figures["sent"], figures["lost"], figures["doubled"]) == (2, 60, 0, 0)
    assert min(sample["tasks"] for sample in figures["samples"]) > 0
