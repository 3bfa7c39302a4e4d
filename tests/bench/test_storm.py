"""The storm cuts everybody at once and counts who comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.storm import Storm, _show

ROOT = Path(__file__).parents[2]
ALL_BACK = Storm(
    sessions=10,
    live=10,
    resumed=10,
    sent=100,
    lost=0,
    doubled=0,
    misordered=0,
    undeclared=0,
    foreign=0,
    errors={},
    resume_p50=0.2,
    resume_p99=0.4,
    resume_max=0.4,
    connects_per_second=25.0,
    server_cpu=0.1,
    clients_cpu=0.1,
)


@pytest.mark.parametrize(
    "worse", [{"live": 9}, {"resumed": 9}, {"lost": 1}, {"doubled": 1}, {"errors": {"CONN_008": 1}}, {"foreign": 1}]
)
def test_a_storm_holds_only_if_all_come_back_unharmed(worse: dict[str, object]) -> None:
    assert ALL_BACK.holds
    assert not msgspec.structs.replace(ALL_BACK, **worse).holds


def test_it_is_said_when_the_clients_were_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    _show(ALL_BACK)
    assert capsys.readouterr().out.splitlines()[-1] == "holds"
    _show(msgspec.structs.replace(ALL_BACK, clients_cpu=0.39))
    assert capsys.readouterr().out.splitlines()[-1].startswith("The clients had no time to spare")


@pytest.mark.slow
def test_a_small_storm_passes_and_harms_no_word(tmp_path: Path) -> None:
    report = tmp_path / "storm.json"
    command = [sys.executable, "-m", "bench", "storm", "--sessions", "5", "--words", "20", "--json", str(report)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    figures = json.loads(report.read_text())
    assert (figures["live"], figures["resumed"], figures["sent"], figures["lost"]) == (5, 5, 100, 0)
    assert 0 < figures["resume_p50"] <= figures["resume_p99"] <= figures["resume_max"]
