"""Figures become tables and plots between a page's markers; what is around them stays."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.report.page import BEGIN, END, figures_part, replaced
from bench.report.plots import draw, panels
from bench.report.tables import markdown, tables
from bench.results import Figure
from bench.rounds import ROOT
from tests.bench.report.runs import cost, result
from transport.expected import ExpectedError

FIGURES = {
    "voxtree.cpu_20ms": cost(90, 110, 100),
    "voxtree.lost": Figure.of([0], "words", "lower"),
    "bare.cpu_20ms": cost(200),
    "ratio": Figure.of([0.5], "", "lower"),
}


def test_figures_that_share_columns_share_a_table_and_the_scenarios_own_stand_upright() -> None:
    shown = [markdown(table) for table in tables(FIGURES)]

    assert shown == [
        "|  | cpu 20ms, µs | lost, words |\n|---|---|---|\n| voxtree | 100 ± 10 | 0 |\n| bare | 200 | – |",
        "|  |  |\n|---|---|\n| ratio | 0.5 |",
    ]


def test_what_is_around_the_markers_stays() -> None:
    page = f"# Mine\n\nby hand, between `{BEGIN}` and `{END}`\n\n{BEGIN}\nold\n{END}\n\nby hand, too\n"

    once = replaced(page, "new", "page.md")

    assert once == f"# Mine\n\nby hand, between `{BEGIN}` and `{END}`\n\n{BEGIN}\n\nnew\n\n{END}\n\nby hand, too\n"
    assert replaced(once, "new", "page.md") == once


def test_the_page_of_this_repository_has_its_markers() -> None:
    assert "\n\nnew\n\n" in replaced((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), "new", "")


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}\n{END}\n{END}"])
def test_a_page_whose_markers_are_not_right_is_refused(page: str) -> None:
    with pytest.raises(ExpectedError, match=r"page\.md needs a line `<!-- figures: begin -->`"):
        replaced(page, "new", "page.md")


def test_a_section_says_on_what_was_measured_and_that_a_quick_run_is_one() -> None:
    full, quick = result("relay", cpu=cost(1)), result("storm", cpu=cost(1))
    quick.arguments["quick"] = True

    shown = figures_part({"relay": full, "storm": quick}, {"relay": "images/bench-relay.svg"})

    assert "### `relay`\n\nWhat a frame of audio costs" in shown
    assert shown.count("On 2026-11-27: Z80, 1 cores, kernel 1.0; Python 3.11.7, voxtree 1.0.") == 2
    assert shown.count("A quick run") == 1
    assert shown.index("![figures of relay](images/bench-relay.svg)") < shown.index("### `storm`")


def test_a_plot_has_units_and_is_the_same_each_time(tmp_path: Path) -> None:
    wanted = panels("unheard of", tables(FIGURES))

    for name in ("one.svg", "other.svg"):
        draw("figures", wanted, tmp_path / name)

    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    texts = [element.text for element in ElementTree.parse(tmp_path / "one.svg").iter() if element.tag.endswith("text")]
    assert {"cpu 20ms, µs (less is better)", "voxtree", "bare"} <= set(texts)
    assert [panel.title for panel in wanted] == ["cpu 20ms"]  # one row of `lost` compares nothing
