"""The soak counts words and looks for what grows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak import Sample, Soak, _show, slope

ROOT = Path(__file__).parents[2]


def samples(*mib: float) -> list[Sample]:
    return [Sample(at=36.0 * number, each={1: value}, files=10, tasks=5) for number, value in enumerate(mib)]


def test_a_slope_is_what_an_hour_adds() -> None:
    assert slope(samples(50.0, 50.5, 51.0), "mib") == pytest.approx(50.0)
    assert slope(samples(50.0, 51.0), "mib") is None


def test_the_first_minute_is_left_out_and_no_less_than_a_fifth() -> None:
    short = Soak(seed=1, rests=samples(0.0, 40.0, 50.0, 50.0, 50.0))
    assert short.slopes == {"mib": 0.0, "files": 0.0, "tasks": 0.0}
    assert [sample.at for sample in Soak(seed=1, rests=samples(*[50.0] * 51)).observed] == [
        36.0 * number for number in range(10, 51)
    ]


def test_a_server_that_warms_up_is_no_leak_and_one_that_grows_is() -> None:
    warm = Soak(seed=1, rests=samples(0.0, 50.0, 60.0, 60.5, 60.1, 60.3))
    assert warm.verdict == "holds"
    leaky = Soak(seed=1, rests=samples(0.0, 50.0, 60.0, 62.0, 64.0, 66.0))
    assert leaky.verdict == "misses: mib grew by 6.0"


def test_of_several_processes_that_count_all_the_time_the_one_that_grows_most_is_judged() -> None:
    def rests(*each: tuple[float, float]) -> list[Sample]:
        return [
            Sample(at=36.0 * number, each={1: first, 2: second, 100 + number: 90.0 + 9 * number}, files=10, tasks=0)
            for number, (first, second) in enumerate(each)
        ]

    steady = Soak(seed=1, rests=rests((0, 0), (0, 0), (50, 90), (52, 88), (51, 91), (53, 90)))
    assert (steady.verdict, round(steady.growth["mib"], 1)) == ("holds", 2.4)
    leaky = Soak(seed=1, rests=rests((0, 0), (0, 0), (50, 90), (52, 88), (54, 86), (56, 84)))
    assert leaky.verdict == "misses: mib grew by 6.0"


def test_what_is_too_short_or_has_harmed_words_does_not_hold() -> None:
    assert Soak(seed=1).verdict == "misses: too short to say whether anything grows"
    rests = samples(*[50.0] * 6)
    assert Soak(seed=1, rests=rests, lost=2, misordered=1).verdict == "FAILS: 2 lost, 1 misordered"


def test_the_way_of_the_memory_is_shown_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Soak(seed=1, rests=samples(*[float(number) for number in range(100)])))
    shown = next(line for line in capsys.readouterr().out.splitlines() if "warm-up included" in line).split()
    assert (shown[-13], shown[-1]) == ("0.0", "99.0")


@pytest.mark.slow
def test_a_short_soak_loses_nothing_and_samples_the_server(tmp_path: Path) -> None:
    report = tmp_path / "soak.json"
    command = [sys.executable, "-m", "bench", "soak", "--minutes", "0.01", "--sessions", "2", "--words", "30"]
    ran = subprocess.run([*command, "--json", str(report)], cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert (ran.returncode, ran.stderr) == (1, ""), ran.stdout
    assert ran.stdout.splitlines()[-1] == "misses: too short to say whether anything grows"
    figures = json.loads(report.read_text())
    assert (figures["sessions"], figures["sent"], figures["lost"], figures["doubled"]) == (2, 60, 0, 0)
    assert min(sample["tasks"] for sample in figures["samples"]) > 0
    assert len(figures["rests"]) == 1
