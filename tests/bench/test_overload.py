"""What came of a load is told from what the clients noted down, and drawn."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.overload import Load, plot
from transport.expected import ExpectedError

FULL = Load(
    load=1.0,
    clients=60,
    let_in=60,
    refused=0,
    other={},
    goodput=100.0,
    in_time=1.0,
    lost=0,
    doubled=0,
    delay_p50=0.01,
    delay_p99=0.05,
    refusal_p50=0.0,
    refusal_p99=0.0,
    server_cpu=0.5,
    clients_cpu=0.4,
)
MORE = msgspec.structs.replace(FULL, load=4.0, clients=240, refused=180, refusal_p50=0.002, refusal_p99=0.012)


def test_a_load_is_a_line_of_the_table() -> None:
    assert str(MORE).split() == (
        ["4.00x", "240", "60", "180", "0", "100.0", "100.0%", "0", "0", "10/50", "ms", "2/12", "ms"]
    )


def test_the_plot_is_the_same_file_for_the_same_figures(tmp_path: Path) -> None:
    for name in ("one.svg", "other.svg"):
        plot([FULL, MORE], 60, tmp_path / name)
    drawn = (tmp_path / "one.svg").read_text()
    assert "Goodput under overload, 60 places" in drawn
    assert drawn == (tmp_path / "other.svg").read_text()


def test_a_plot_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExpectedError, match="cannot draw"):
        plot([FULL], 60, tmp_path / "plot.xyz")
