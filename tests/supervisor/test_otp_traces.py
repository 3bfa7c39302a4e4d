from __future__ import annotations

from pathlib import Path

import pytest

from tests.otp_replay import compare, load

TRACES = sorted(Path(__file__).parents[3].glob("shared/otp_traces/*.jsonl"))


@pytest.mark.skipif(not TRACES, reason="no recorded OTP traces in ../shared/otp_traces")
def test_the_supervisor_does_what_otp_did_in_every_recorded_scenario() -> None:
    differing = {scenario["name"]: found for scenario in load(TRACES) if (found := compare(scenario))}
    assert differing == {}


def test_the_replayer_tells_a_scenario_that_differs() -> None:
    spec = {
        "strategy": "one_for_one",
        "intensity": 1,
        "period": 5,
        "auto_shutdown": "never",
        "children": [{"id": "a", "type": "worker", "restart": "permanent", "shutdown": 100, "significant": False}],
    }
    start = [
        {"ev": "start", "child": "root/a", "n": 1, "outcome": "ok"},
        {"ev": "start", "child": "root", "n": 1, "outcome": "ok"},
    ]
    end = [
        {"ev": "stopping", "child": "root/a", "n": 1},
        {"ev": "down", "child": "root/a", "n": 1, "reason": "shutdown"},
        {"ev": "down", "child": "root", "n": 1, "reason": "shutdown"},
    ]
    final = {"alive": False, "exit": "shutdown", "supervisors": {}}
    right = {"name": "stop", "spec": spec, "steps": [{"op": "stop_supervisor"}]}
    assert compare(right | {"expected": {"steps": [start, end], "final": final}}) == {}
    wrong = compare(right | {"expected": {"steps": [start, end[::-1]], "final": final}})
    assert set(wrong) == {"asyncio", "trio"}
