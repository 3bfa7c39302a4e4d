"""Figures as tables: `a.b.c` is column `c` of row `a.b`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from bench.results import Figure, shown_value


class Table(msgspec.Struct):
    """Rows that have columns in common.

    Attributes:
        columns: their units, by name; in order.
        rows: their figures by column, by name; in order. A row without a name holds the scenario's own figures.
    """

    columns: dict[str, str]
    rows: dict[str, dict[str, Figure]]

    def column(self, name: str) -> dict[str, Figure]:
        """Its figures by row; a row without one is left out."""
        return {row: cells[name] for row, cells in self.rows.items() if name in cells}


def tables(figures: Mapping[str, Figure]) -> list[Table]:
    """All figures, each in one table."""
    rows: dict[str, dict[str, Figure]] = {}
    for name, figure in figures.items():
        row, _, column = name.rpartition(".")
        rows.setdefault(row, {})[column] = figure
    found: list[Table] = []
    for row, cells in rows.items():
        table = next(
            (each for each in found if row and "" not in each.rows and each.columns.keys() & cells.keys()), None
        )
        if table is None:
            found.append(table := Table({}, {}))
        table.rows[row] = cells
        for column, figure in cells.items():
            table.columns.setdefault(column, figure.unit)
    return found


def markdown(table: Table) -> str:
    """The table, with the scenario's own figures upright, a line each."""
    if "" in table.rows:
        figures = table.rows[""]
        lines = [(_head(name, each.unit), _cell(each)) for name, each in figures.items()]
        return _joined([("", ""), ("---", "---"), *lines])
    heads = [_head(name, unit) for name, unit in table.columns.items()]
    rows = [
        (row, *(_cell(cells[name]) if name in cells else "–" for name in table.columns))
        for row, cells in table.rows.items()
    ]
    return _joined([("", *heads), ("---",) * (1 + len(heads)), *rows])


def _head(name: str, unit: str) -> str:
    if unit.startswith(name):  # `finals/s`
        return unit
    return ", ".join([name.replace("_", " "), *([unit] if unit else [])])


def _cell(figure: Figure) -> str:
    spread = f" ± {shown_value(figure.spread)}" if len(figure.values) > 1 else ""
    return f"{shown_value(figure.value)}{spread}{' (doubtful)' if figure.doubt else ''}"


def _joined(rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |".replace("| ---", "|---").replace("--- |", "---|") for cells in rows)
