"""The shape in which scenarios write what they measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from bench.results import Figure, Result, circumstances, table, write


def test_a_figure_is_the_median_of_its_rounds_and_half_their_range() -> None:
    figure = Figure.of([5.0, 1.0, 2.0], "ms", "lower")

    assert (figure.value, figure.values, figure.spread) == (2.0, [5.0, 1.0, 2.0], 2.0)


def test_a_figure_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="a figure in ms needs at least one value"):
        Figure.of([], "ms", "lower")


def test_a_file_holds_circumstances_figures_and_what_a_scenario_adds_but_no_secret(tmp_path: Path) -> None:
    args = argparse.Namespace(
        scenario="capacity", quick=True, key="vt_secret", riva=None, out=Path("there"), json=tmp_path / "it.json"
    )

    write(
        tmp_path / "it.json",
        Result(**circumstances("capacity", args), figures={"sessions": Figure.of([7], "", "higher")}),
        {"attempts": [3]},
    )

    written = json.loads((tmp_path / "it.json").read_text())
    assert list(written) == ["scenario", "date", "machine", "versions", "arguments", "figures", "attempts"]
    assert written["arguments"] == {"quick": True, "riva": None, "out": "there"}
    assert written["figures"] == {"sessions": {"value": 7, "unit": "", "values": [7], "better": "higher"}}
    assert {"processor", "cores", "kernel"} <= written["machine"].keys()
    assert {"Python", "voxtree", "websockets", "grpcio"} <= written["versions"].keys()


def test_a_table_shows_spread_of_rounds_and_doubts() -> None:
    shown = table(
        {
            "delay p99": Figure.of([9.0, 11.0, 10.0], "ms", "lower"),
            "sessions": Figure.of([1234], "", "higher", "the load was the limit"),
        }
    )

    assert shown.splitlines() == [
        "delay p99  10 ± 1 ms",
        "sessions   1,234 *",
        "* NOT TO BE TRUSTED: the load was the limit",
    ]
