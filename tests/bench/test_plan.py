"""The plan's arithmetic and its storm, where they can be worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from actors.speech.audience import RENEW_SECONDS
from bench.planning import Away, Costs, needs, storm
from transport.client.backoff import FIRST
from transport.client.core import MARGIN_SECONDS
from transport.limits.returns import LEAST

ROOT = Path(__file__).parents[2]
COSTS = Costs(
    cores=2, places=50, fill=1.0, resumes=1e9, session_mib=1.0, core_mib=14.0, finals=0.25, writes=100.0, claims=1e9,
    spare=0.5,
)  # fmt: skip
AT_ONCE = Away(noticed=(2.0, 2.0))


def with_costs(**changed: float) -> Costs:
    return msgspec.structs.replace(COSTS, **changed)


def test_nodes_suffice_without_a_zone() -> None:
    assert needs(600, 3, COSTS).nodes == 9  # six of them have 600 places
    assert needs(601, 3, COSTS).nodes == 12
    assert needs(600, 3, with_costs(fill=0.5)).nodes == 18
    assert needs(600, 1, COSTS).nodes == 6  # nothing to fall back on


def test_the_rest_follows_from_the_sessions() -> None:
    need = needs(600, 3, COSTS)
    assert (need.cores, need.node_gib, need.riva_streams) == (18, 128 / 1024, 600)
    assert need.gbits == pytest.approx(600 * 2 * 256 / 1e6)
    assert need.writes == 600 * (0.25 + 1 / RENEW_SECONDS)
    assert need.databases == 5  # 225 a second, 50 each


def test_everybody_is_back_after_the_first_pause_if_nothing_holds_them_up() -> None:
    came = storm(300, 3, with_costs(fill=0.2), AT_ONCE, seed=1)
    assert (came.clients, came.back, came.attempts, came.gave_up, came.refused, came.words) == (100, 100, 100, 0, 0, 0)
    assert 2.0 < came.half < came.most <= came.all < 2.0 + FIRST + 1e-6
    assert came.peak == 100


def test_the_slowest_queue_says_when_the_last_one_is_back() -> None:
    by_node = storm(200, 2, with_costs(places=100, resumes=10.0), AT_ONCE, seed=1)  # one node is left: 20 a second
    assert by_node.all == pytest.approx(2.0 + 100 / 20, abs=FIRST)
    by_journal = storm(200, 2, with_costs(places=100, claims=25.0, writes=1e6), AT_ONCE, seed=1)
    assert by_journal.all == pytest.approx(2.0 + 100 / 25, abs=FIRST)


def test_who_waits_for_too_long_gives_up_and_begins_again() -> None:
    came = storm(200, 2, with_costs(places=100, resumes=2.5), AT_ONCE, seed=1)  # 5 a second: 20 s for all
    assert came.back == 100
    assert came.gave_up == came.attempts - 100 > 0
    assert came.all > 2.0 + 100 / 5  # what was done for those who had given up was in vain


def test_who_finds_a_node_full_comes_again_when_it_is_told_and_gives_up_in_the_end() -> None:
    away = Away(noticed=(0.0, 0.0), window=20.0, words=2.0)
    came = storm(
        100, 2, with_costs(places=40, fill=1.25), away, seed=1
    )  # one node is left: 80 places, 50 of them taken
    assert (came.back, came.clients) == (80 - 50, 50)
    tries = (20.0 + MARGIN_SECONDS) / (0.75 * LEAST)  # each refusal sends away for that, or longer
    assert 20 < came.refused <= 20 * (1 + tries)
    assert came.words == 20 * (20.0 + MARGIN_SECONDS) * 2.0


def test_a_balancer_finds_the_free_places_of_other_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash is never quite even: where all places are needed, some nodes are full and others have room."""
    costs = with_costs(places=25)
    assert storm(400, 2, costs, AT_ONCE, seed=1).back == 200
    tried_elsewhere = storm(4000, 2, costs, AT_ONCE, seed=1).refused
    monkeypatch.setattr("bench.planning.NODES_TRIED", 1)
    assert 0 < tried_elsewhere < storm(4000, 2, costs, AT_ONCE, seed=1).refused / 3


def test_words_that_no_client_keeps_are_lost() -> None:
    away = Away(noticed=(9.0, 9.0), keep=4.0, words=3.0)
    came = storm(60, 2, with_costs(fill=0.3), away, seed=1)
    assert 30 * 5.0 * 3.0 <= came.words <= 30 * (5.0 + FIRST) * 3.0


def test_the_same_seed_is_the_same_storm() -> None:
    once, again, other = (storm(3000, 3, with_costs(resumes=20.0), AT_ONCE, seed) for seed in (1, 1, 2))
    assert once == again != other


def test_the_documentation_shows_what_the_command_does() -> None:
    command = [sys.executable, "-m", "bench", "plan", "--sessions", "10000"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    documented = [line.split() for line in (ROOT / "docs" / "deploy.md").read_text().splitlines()]
    assert [line for line in shown.splitlines() if line and line.split() not in documented] == []


def test_the_command_shows_and_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    command = [sys.executable, "-m", "bench", "plan", "--sessions", "3000", "--json", str(file)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    report = json.loads(file.read_text())
    assert report["needs"][0]["nodes"] == 6
    assert shown.splitlines()[1].split()[:3] == ["3,000", "6", "48"]
    assert report["storms"][0]["back"] == report["storms"][0]["clients"] == 1000
    refused = subprocess.run([*command, "--fill", "0"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (refused.returncode, "expected a number above 0" in refused.stderr) == (2, True)
