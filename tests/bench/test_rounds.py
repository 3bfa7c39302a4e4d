"""The benches of actors and supervisor run, and say in their table what could not."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import actors, rounds, supervisor
from bench.rounds import Contender, Figures, Measure

ROOT = Path(__file__).parents[2]
QUEUE = Contender("queue", "asyncio_queue")
TELL = Measure("tell", "messages/s", "tell", amount=1.0, quick=0.001)


def quick_run(contenders: list[Contender], measures: list[Measure]) -> int:
    arguments = argparse.ArgumentParser()
    rounds.add_arguments(arguments)
    return rounds.run("actors", arguments.parse_args(["--quick"]), contenders, measures)


@pytest.mark.parametrize(
    ("scenario", "contenders", "measures", "floor"),
    [
        ("actors", actors.CONTENDERS, actors.MEASURES, "asyncio.Queue"),
        ("supervisor", supervisor.CONTENDERS, supervisor.measures(), "TaskGroup"),
    ],
)
def test_a_bench_measures_ours_and_the_floor(
    scenario: str, contenders: tuple[Contender, ...], measures: tuple[Measure, ...], floor: str, tmp_path: Path
) -> None:
    report = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", scenario, "--quick", "--only", "on asyncio", "--only", floor]
    ran = subprocess.run([*command, "--json", str(report)], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    written = json.loads(report.read_text())
    names = [one.name for one in contenders if "on asyncio" in one.name or one.name == floor]
    wanted = {f"{name}.{measure.function}": (measure.unit, measure.better) for name in names for measure in measures}
    figures = written["figures"]
    assert {name: (each["unit"], each["better"]) for name, each in figures.items()} == wanted
    assert [name for name, each in figures.items() if len(each["values"]) != 1 or not each["value"] > 0] == []
    assert (written["scenario"], written["troubles"]) == (scenario, {})


def test_a_library_that_is_not_installed_is_a_line_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    absent = Contender("absent", "pykka_actors", "no-such-distribution")
    assert quick_run([absent], [TELL]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].split(maxsplit=1) == ["absent", "not installed"]
    assert "no-such-distribution not installed" in printed.out


def test_a_measure_that_a_contender_does_not_know_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert quick_run([QUEUE], [Measure("restart", "µs", "restart", amount=1.0, quick=0.001)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["queue", "–"]


def test_a_contender_that_fails_fails_the_run_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    broken = Contender("broken", "asyncio_queue", options={"no_such": "argument"})
    assert quick_run([broken, QUEUE], [TELL]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-2].split() == ["broken", "failed"]
    assert "unexpected keyword argument 'no_such'" in printed.err


def test_what_is_shown_is_the_median_and_half_the_range() -> None:
    shown = [
        Figures([1200.0, 1000.0, 1100.0]).shown(),
        Figures([0.0521]).shown(),
        Figures([], "not installed").shown(),
    ]
    assert shown == ["1,100 ±  9%", "0.0521", "not installed"]


def test_an_unknown_contender_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.ArgumentParser()
    rounds.add_arguments(arguments)
    assert rounds.run("actors", arguments.parse_args(["--only", "erlang"]), [QUEUE], [TELL]) == 2
    assert capsys.readouterr().out == "no contender is called erlang: there are queue\n"


def test_the_order_is_turned_around_in_every_other_round() -> None:
    other = Contender("other", "asyncio_queue")
    order = [(number, one.name) for number, _, one in rounds._schedule([QUEUE, other], [TELL], 2)]
    assert order == [(0, "queue"), (0, "other"), (1, "other"), (1, "queue")]
