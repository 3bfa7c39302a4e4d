"""Two runs are held against each other by medians, ranges and which way is better."""

from __future__ import annotations

import pytest

from bench.report.compare import Change, summary, table, worse
from bench.results import Figure
from tests.bench.report.runs import cost, result


def rate(*values: float, doubt: str = "") -> Figure:
    return Figure.of(values, "1/s", "higher", doubt)


@pytest.mark.parametrize(
    ("before", "after", "percent", "is_worse"),
    [
        (cost(100), cost(130), 30, True),
        (cost(100), cost(110), 10, False),
        (cost(100), cost(70), -30, False),
        (rate(100), rate(70), -30, True),
        (rate(100), rate(130), 30, False),
        (cost(100, 140, 90), cost(130, 130, 135), 30, False),  # one round of before was as slow
        (cost(0), cost(3), float("inf"), True),
        (cost(0), cost(0), 0, False),
        (rate(0), rate(3), float("inf"), False),
        (rate(100), rate(70, doubt="the load was the limit"), -30, False),
    ],
)
def test_a_figure_is_worse_if_it_moved_the_wrong_way_beyond_tolerance_and_spread(
    before: Figure, after: Figure, percent: float, is_worse: bool
) -> None:
    change = Change("figure", before, after)

    assert (change.percent, change.is_worse(20.0)) == (pytest.approx(percent), is_worse)


def test_the_table_marks_what_is_worse_and_what_is_too_much_so() -> None:
    before = result(cpu=cost(100), latency=cost(10), memory=cost(50), gone=cost(1))
    after = result(version="1.1", cpu=cost(130), latency=cost(11), memory=cost(40), new=cost(1))

    shown = table({"relay": before}, {"relay": after, "storm": result("storm")}, 20.0).splitlines()

    assert [" ".join(line.split()) for line in shown] == [
        "relay before after change 2026-11-27T08:00:00+00:00 → 2026-11-27T08:00:00+00:00",
        "other versions: voxtree 1.0 → 1.1",
        "cpu 100 130 +30.0 % µs WORSE by more than 20 %",
        "latency 10 11 +10.0 % µs worse",
        "memory 50 40 -20.0 % µs better",
        "only before: gone",
        "only after: new",
        "",
        "storm: not in the baseline",
    ]
    assert worse({"relay": before}, {"relay": after}, 20.0) == ["relay: cpu"]
    assert worse({"relay": before}, {"relay": after}, 40.0) == []


def test_the_last_line_names_what_got_worse() -> None:
    assert summary([], 20.0) == "nothing got worse by more than 20 %"
    assert summary(["relay: cpu"], 20.0) == "worse by more than 20 %: relay: cpu"
