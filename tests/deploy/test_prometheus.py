"""The rules and the dashboard that are shipped: right by Prometheus' own tools, and about metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from actors.speech.catalogue import CATALOGUE
from tests.docs.examples import ROOT
from transport.app import App
from transport.riva.channel import Endpoint
from transport.settings import Admin, Settings
from transport.workers.merging import Ledger
from transport.workers.metrics import FleetMetrics

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES_TESTS = [RULES.with_name("alerts_test.yml"), RULES.with_name("alerts_slow_test.yml")]
DASHBOARD = ROOT / "deploy" / "grafana" / "voxtree.json"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian's prometheus) is not installed")


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    """Of a server with workers, as it is before it has started: theirs and the parent's."""
    settings = Settings(backends=(Endpoint(name="riva", address="127.0.0.1:1"),), admin=Admin(enabled=False))
    registry = App(settings).registry
    FleetMetrics(registry, [], Ledger())
    return registry


def names(registry: CollectorRegistry) -> dict[str, str]:
    """The samples' names, without those that only a kind of metric adds, and what kind they are of."""
    found = {}
    for family in registry.collect():
        if family.type == "counter":
            found[f"{family.name}_total"] = "counter"
        else:
            found[family.name] = family.type
    return found


def alerts(rules: str) -> list[str]:
    return re.findall(r"- alert: (\w+)", rules)


def mentioned(text: str) -> set[str]:
    """The metrics that expressions name; `_bucket`, `_count` and `_sum` belong to a histogram."""
    found = re.findall(r"\b(?:voxtree_|transcription_|error_handling_)\w+", text)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60, cwd=RULES.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_the_rules_are_right_and_each_alert_fires_when_it_should() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES.name)
    assert "SUCCESS" in promtool("test", "rules", *(path.name for path in RULES_TESTS))


@needs_promtool
def test_the_metrics_are_as_prometheus_wants_them(registry: CollectorRegistry) -> None:
    assert promtool("check", "metrics", text=generate_latest(registry).decode()) == ""


def test_each_alert_has_a_case_in_which_it_fires_one_in_which_it_does_not_and_a_text() -> None:
    cases = "".join(path.read_text() for path in RULES_TESTS)
    for alert in alerts(RULES.read_text()):
        lines = [part for part in cases.split("  - interval:") if f"alertname: {alert}\n" in part]
        quiet = [part for part in lines if "exp_alerts: []" in part]
        assert (alert, len(lines) > len(quiet) > 0) == (alert, True)
        assert f"### {alert}\n" in OPERATIONS


def test_what_is_to_be_told_the_first_time_is_counted_from_zero(registry: CollectorRegistry) -> None:
    """`increase` is 0 over the first value of a series, whatever it is."""
    wanted = re.findall(r"increase\((\w+)(?:\{(\w+)=\"(\w+)\"\})?\[\w+\]\) > 0", RULES.read_text())
    at_zero = [sample for family in registry.collect() for sample in family.samples if sample.value == 0]
    assert len(wanted) == 3
    for name, label, value in wanted:
        assert [sample for sample in at_zero if sample.name == name and (not label or sample.labels[label] == value)]


def test_each_code_of_an_alert_is_in_the_catalogue() -> None:
    assert set(re.findall(r"code: (\w+)\}", RULES.read_text())) <= set(CATALOGUE)


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path, registry: CollectorRegistry) -> None:
    assert mentioned(path.read_text()) - set(names(registry)) == set()


def test_the_dashboard_shows_every_metric(registry: CollectorRegistry) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert set(names(registry)) - mentioned(DASHBOARD.read_text()) - {"voxtree_alerts_sent_total"} == set()
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)


def test_the_page_lists_every_metric_with_its_kind_and_labels(registry: CollectorRegistry) -> None:
    listed = dict(re.findall(r"^\| `(\w+)`[^|]*\| (\w+) ", OPERATIONS, re.MULTILINE))
    assert {name: kind for name, kind in listed.items() if "_" in name} == names(registry)


def test_what_is_exposed_can_be_read_again(registry: CollectorRegistry) -> None:
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert {family.name for family in families} >= {"voxtree_build_info", "voxtree_event_loop_lag_seconds"}
