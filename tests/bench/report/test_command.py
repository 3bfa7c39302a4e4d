"""`python -m bench` lists, runs all, reports and compares; what it cannot read it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.all import command, runnable
from bench.report.runs import read
from bench.rounds import ROOT
from tests.bench.report.runs import cost, result, written
from transport.expected import ExpectedError


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_without_a_scenario_all_are_listed() -> None:
    ran = bench()

    assert (ran.returncode, ran.stderr) == (0, "")
    assert {"relay", "peers", "faults", "all", "report"} <= {line.split(" ")[0] for line in ran.stdout.splitlines()}


def test_a_run_is_compared_and_the_exit_status_tells(tmp_path: Path) -> None:
    base = written(tmp_path / "base", result(cpu=cost(100)))
    now = written(tmp_path / "now", result(cpu=cost(130)))

    ran, tolerated = (bench("report", str(now), "--against", str(base), *more) for more in ([], ["--tolerance", "40"]))
    of_a_file = bench("report", str(now / "relay.json"), "--against", str(base / "relay.json"))

    assert [each.returncode for each in (ran, tolerated, of_a_file)] == [1, 0, 1]
    assert ran.stdout.splitlines()[-1] == "worse by more than 20 %: relay: cpu"


def test_a_page_is_made_where_there_is_none_and_its_plots_beside_it(tmp_path: Path) -> None:
    run = written(tmp_path / "run", result(voxtree__cpu_20ms=cost(100), bare__cpu_20ms=cost(130)))

    ran = bench("report", str(run), "--page", str(tmp_path / "mine.md"))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "(images/bench-relay.svg)" in (tmp_path / "mine.md").read_text()
    assert (tmp_path / "images" / "bench-relay.svg").is_file()


def test_runs_that_have_nothing_in_common_are_refused_without_a_traceback(tmp_path: Path) -> None:
    base = written(tmp_path / "base", result("storm", cpu=cost(100)))
    now = written(tmp_path / "now", result("relay", cpu=cost(100)))

    ran = bench("report", str(now), "--against", str(base))

    assert ran.returncode == 2
    assert ran.stderr == f"{now} holds relay, and {base} storm: nothing to compare\n"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExpectedError, match=r"is not there: `python -m bench all --json-folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(ExpectedError, match=r"holds no \.json file"):
        read(tmp_path)
    (tmp_path / "old.json").write_text('{"figures": []}')
    with pytest.raises(ExpectedError, match=r"old\.json is nothing that a scenario wrote with --json"):
        read(tmp_path)


def test_a_scenario_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, result("relay"))
    (folder / "again.json").write_bytes((folder / "relay.json").read_bytes())

    with pytest.raises(ExpectedError, match=r"holds relay twice, in relay\.json too"):
        read(folder)


def test_all_takes_every_scenario_that_measures_and_asks_for_recordings_where_they_are_needed(tmp_path: Path) -> None:
    assert {"relay", "peers", "wer"} <= set(runnable())
    assert not {"all", "report", "riva"} & set(runnable())
    assert command("wer", tmp_path, quick=False, speech=None) is None
    words = command("wer", tmp_path, quick=True, speech=tmp_path)
    assert words is not None
    assert words[3:] == ["wer", str(tmp_path), "--quick", "--json", str(tmp_path / "wer.json")]


@pytest.mark.slow
def test_all_leaves_figures_and_tables_in_a_folder_that_a_report_can_read(tmp_path: Path) -> None:
    ran = bench("all", "--quick", "--only", "plan", "--only", "wer", "--json-folder", str(tmp_path))

    assert (ran.returncode, ran.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    assert lines[1] == "wer not run: needs recordings (--speech DIR)"
    assert lines[0].startswith("plan 0:")
    assert lines[0].endswith(" ok")
    assert list(read(tmp_path)) == ["plan"]
    assert "Riva streams" in (tmp_path / "plan.txt").read_text()
