"""Figures as plots: bars for the rows of a table, a panel for each column. The same figures give the same file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.report.tables import Table
from bench.results import Figure
from transport.expected import ExpectedError

# Columns worth a look; of other scenarios the first ones are taken.
COLUMNS: Mapping[str, Sequence[str]] = {
    "dialects": ["cpu"],
    "faults": ["recovery_p99", "delay_p99"],
    "journal": ["finals", "wait_p99"],
    "mttr": ["recovery_p50", "lost"],
    "overload": ["goodput", "delay_p99"],
    "peers": ["cpu_20ms", "cpu_100ms", "memory_20ms", "lost", "recovery_p50"],
    "latency": ["bare relay p50", "voxtree p50", "bare relay p99", "voxtree p99"],
    "relay": ["cpu_20ms", "cpu_100ms", "latency_p99_20ms", "latency_p99_100ms"],
}
FIRST = 3  # columns of a scenario that is not named above
WIDTH, ROW, AROUND = 7.0, 0.24, 0.75  # inches: of all, of a bar, and of what is around a panel's bars
OURS, OTHERS, RANGE = "#2f6fb0", "#a9b4bf", "#333333"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "voxtree",
    "svg.fonttype": "none",  # letters stay letters: small files, found by a search
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class Panel(NamedTuple):
    """One column. `bars`: its figures by row."""

    title: str
    unit: str
    bars: Mapping[str, Figure]


def panels(scenario: str, tables: Iterable[Table]) -> list[Panel]:
    """What is drawn: columns that compare two rows at least."""
    found = []
    for table in tables:
        wanted = COLUMNS.get(scenario) or list(table.columns)[:FIRST]
        for name in wanted:
            if name in table.columns and len(bars := table.column(name)) > 1:
                found.append(Panel(name.replace("_", " "), table.columns[name], bars))
    return found


def draw(title: str, panels: Sequence[Panel], file: Path) -> None:
    """Write an SVG.

    Raises:
        ExpectedError: matplotlib is not there, or the file cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Canvas
    except ImportError as missing:
        raise ExpectedError("plots take matplotlib: pip install 'voxtree[bench]'") from missing
    heights = [AROUND + ROW * len(panel.bars) for panel in panels]
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(WIDTH, sum(heights)), layout="constrained")
        canvas.suptitle(title)
        every = canvas.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes, panel in zip(every[:, 0], panels, strict=True):
            _bars(axes, panel)
        try:
            canvas.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        except OSError as error:
            raise ExpectedError(f"cannot draw {file}: {error}") from error


def _bars(axes: Any, panel: Panel) -> None:
    rows, figures = list(panel.bars), list(panel.bars.values())
    values = [figure.value for figure in figures]
    ranges = [
        [figure.value - min(figure.values) for figure in figures],
        [max(figure.values) - figure.value for figure in figures],
    ]
    has_others = any("voxtree" in row for row in rows) and not all("voxtree" in row for row in rows)
    colours = [OTHERS if has_others and "voxtree" not in row else OURS for row in rows]
    axes.barh(range(len(rows)), values, xerr=ranges, color=colours, height=0.7, error_kw={"ecolor": RANGE, "lw": 1})
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    better = "less is better" if figures[0].better == "lower" else "more is better"
    axes.set_xlabel(f"{panel.title}, {panel.unit} ({better})" if panel.unit else f"{panel.title} ({better})")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
