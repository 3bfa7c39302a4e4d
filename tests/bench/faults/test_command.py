"""The commands of the fault matrix, as a user gives them; some cases are played, small."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.faults.outcome import HEADER, Check, line, outcome
from bench.faults.rows import CASES
from bench.mttr import FAULTS

ROOT = Path(__file__).parents[3]
BENCH = [sys.executable, "-m", "bench"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BENCH, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_cases_are_listed() -> None:
    listed = bench("faults", "--list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [row.split()[0] for row in listed.stdout.splitlines()] == [case.name for case in CASES]


def test_each_row_of_the_matrix_has_a_case_and_each_case_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    rows = [*range(1, 24), *range(25, 31)]
    assert sorted({int(case.row) for case in CASES}) == rows


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["faults", "99"], "there is no row '99'; there are 1, 2, 3,"),
        (["faults", "--sessions", "0"], "expected a number above 0, got '0'"),
        (["mttr", "--words", "many"], "expected a number above 0, got 'many'"),
    ],
)
def test_what_cannot_be_played_is_refused(arguments: list[str], complaint: str) -> None:
    refused = bench(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert complaint in refused.stderr


@pytest.mark.slow
def test_no_word_is_lost_when_a_backend_is_killed_or_an_actor_crashes(tmp_path: Path) -> None:
    report = tmp_path / "faults.json"
    played = bench("faults", "1", "13a", "--sessions", "3", "--words", "12", "--json", str(report))
    assert (played.returncode, played.stderr) == (0, ""), played.stdout
    written = json.loads(report.read_text())
    cases, figures = written["cases"], written["figures"]
    assert (written["scenario"], written["arguments"]["cases"]) == ("faults", ["1", "13a"])
    assert {name: figures[name]["value"] for name in ("lost", "1.lost", "13a.doubled")} == {
        "lost": 0,
        "1.lost": 0,
        "13a.doubled": 0,
    }
    assert figures["1.recovery_p99"]["unit"] == "ms"
    counted = ("case", "sessions", "sent", "lost", "doubled", "undeclared", "misordered", "trouble")
    assert [tuple(case[name] for name in counted) for case in cases] == [
        ("1", 3, 36, 0, 0, 0, 0, ""),
        ("13a", 3, 36, 0, 0, 0, 0, ""),
    ]
    assert cases[0]["recovered"] == 3
    assert cases[0]["recovery_p50_ms"] <= cases[0]["recovery_p99_ms"]
    assert cases[1]["facts"]["crashes"] >= 3
    assert played.stdout.splitlines()[0] == HEADER


@pytest.mark.slow
def test_clients_come_back_to_a_server_that_was_killed_and_a_journal_that_was_locked(tmp_path: Path) -> None:
    report = tmp_path / "faults.json"
    played = bench("faults", "14b", "20a", "23a", "--sessions", "3", "--words", "12", "--json", str(report))
    assert (played.returncode, played.stderr) == (0, ""), played.stdout
    ready, killed, locked = json.loads(report.read_text())["cases"]
    assert [(case["sent"], case["lost"], case["doubled"]) for case in (ready, killed, locked)] == [(36, 0, 0)] * 3
    assert limits(ready) >= {"cuts that did not happen", "clients that are stranded"}
    assert killed["recovered"] == 3
    assert locked["facts"]["acks looked at"] > 0
    assert limits(locked) >= {"acks ahead of the store"}


def limits(case: dict[str, Any]) -> set[str]:
    """What was held against a limit, and kept it."""
    return {check["what"] for check in case["checks"] if check["value"] <= check["limit"]}


@pytest.mark.slow
def test_what_slow_readers_cost_is_the_difference_to_the_same_clients_who_read(tmp_path: Path) -> None:
    report = tmp_path / "faults.json"
    played = bench("faults", "16a", "--sessions", "4", "--words", "12", "--json", str(report))
    assert (played.returncode, played.stderr) == (0, ""), played.stdout
    case = json.loads(report.read_text())["cases"][0]
    facts, checks = case["facts"], {check["what"]: check["value"] for check in case["checks"]}
    assert (case["sent"], case["lost"], facts["clients cut off"]) == (48, 0, 0)
    difference = facts["MiB gained"] - facts["MiB gained, were all read"]
    assert checks["memory gained for each slow client"] == pytest.approx(1024 * difference / 2, abs=0.01)


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process_behind() -> None:
    with subprocess.Popen([*BENCH, "faults", "1", "--sessions", "1"], cwd=ROOT, stdout=subprocess.PIPE) as run:
        while len(started := children(run.pid)) < 2:
            time.sleep(0.02)
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=60) == 130
    assert [pid for pid in started if alive(pid)] == []


def test_a_line_shows_what_was_missed() -> None:
    shown = line(outcome("4a", "black hole", checks=[Check("detection", 2771.0, 2000, "ms"), Check("errors", 0, 0)]))
    assert shown.startswith("4a   black hole ")
    assert shown.endswith("  misses: detection 2771 > 2000 ms")


def test_harmed_words_and_lacks_are_told_apart() -> None:
    verdicts = [outcome("1", "", trouble="was not over in time"), outcome("1", "", unplayable="needs openssl")]
    assert [(one.verdict, one.is_sound) for one in verdicts] == [
        ("FAILS: was not over in time", False),
        ("not played: needs openssl", True),
    ]


def test_the_handler_and_voxtree_suffer_the_same_faults() -> None:
    assert [(fault.action is None) != (fault.strike is None) for fault in FAULTS] == [True] * 5


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_no_word_is_lost_when_workers_hang_die_and_are_replaced(tmp_path: Path) -> None:
    report = tmp_path / "faults.json"
    played = bench("faults", "19", "20b", "21b", "--sessions", "6", "--words", "20", "--json", str(report))
    assert (played.returncode, played.stderr) == (0, ""), played.stdout
    cases = json.loads(report.read_text())["cases"]
    assert [(case["sent"], case["lost"], case["doubled"], case["trouble"]) for case in cases] == [(120, 0, 0, "")] * 3
    resumed = {
        check["what"]: check["value"] for case in cases for check in case["checks"] if "resumed" in check["what"]
    }
    assert resumed == {"sessions that were not resumed": 0}
    assert all(case["facts"]["sessions to resume"] > 0 for case in cases[:2])
    assert cases[2]["facts"]["times that clients moved"] > 0  # some may have ended before their turn
    assert next(check["value"] for check in cases[2]["checks"] if "1006" in check["what"]) == 0
