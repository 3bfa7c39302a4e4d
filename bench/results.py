"""What a scenario measured, in the one shape that its `--json FILE` has and that its table is printed from."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import msgspec

from bench.machine import machine, versions

DISTRIBUTIONS = ("voxtree", "websockets", "grpcio", "uvloop")  # what the figures of a server depend on
SECRETS = frozenset({"key"})  # arguments that no file shall hold
_NOT_GIVEN = frozenset({"scenario", "json"})  # what is measured and where to write it is said elsewhere

Better = Literal["lower", "higher"]


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure, measured once or several times.

    Attributes:
        value: the median of `values`.
        unit: of both; "" for a bare number.
        values: one for each round, at least one, all of them finite.
        better: which way is better.
        doubt: why it is not to be trusted; "": it is.
    """

    value: float
    unit: str
    values: list[float]
    better: Better
    doubt: str = ""

    @classmethod
    def of(cls, values: Sequence[float], unit: str, better: Better, doubt: str = "") -> Self:
        """The figure for what the rounds gave.

        Raises:
            ValueError: they gave nothing.
        """
        if not values:
            raise ValueError(f"a figure in {unit or 'no unit'} needs at least one value")
        return cls(value=statistics.median(values), unit=unit, values=list(values), better=better, doubt=doubt)

    @property
    def spread(self) -> float:
        """Half the distance from the smallest to the largest value."""
        return (max(self.values) - min(self.values)) / 2


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario measured, in the form that all have.

    Attributes:
        scenario: its name for `python -m bench`.
        date: when it was begun, ISO 8601, UTC.
        machine: see `bench.machine.machine`.
        versions: of what was measured; None: not installed.
        arguments: what the scenario was called with, secrets left out.
        figures: by name.
    """

    scenario: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str | None]
    arguments: dict[str, Any]
    figures: dict[str, Figure]


def circumstances(scenario: str, args: argparse.Namespace) -> dict[str, Any]:
    """All fields of a result but its figures. Call it before measuring: the date is that of the beginning."""
    return {
        "scenario": scenario,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(*DISTRIBUTIONS),
        "arguments": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(args).items()
            if name not in SECRETS | _NOT_GIVEN
        },
    }


def write(path: Path, result: Result, details: Mapping[str, object] = MappingProxyType({})) -> None:
    """Write it as JSON.

    Args:
        details: what there is besides, by name; written next to the result's own fields.
    """
    whole = {name: getattr(result, name) for name in result.__struct_fields__} | dict(details)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")


def header(result: Result) -> str:
    """What was measured on, and with which versions: two lines."""
    on = ", ".join(f"{value} cores" if name == "cores" else str(value) for name, value in result.machine.items())
    programs = ", ".join(f"{name} {version or 'not installed'}" for name, version in result.versions.items())
    return f"{on}\n{programs}"


def table(figures: Mapping[str, Figure]) -> str:
    """A line for each: median, spread if there were several rounds, unit; and what there is to doubt below."""
    width = max(map(len, figures), default=0)
    doubts = list(dict.fromkeys(figure.doubt for figure in figures.values() if figure.doubt))
    lines = [f"{name:{width}}  {_shown(figure)}" + _mark(figure.doubt, doubts) for name, figure in figures.items()]
    return "\n".join([*lines, *(f"{_mark(doubt, doubts).lstrip()} NOT TO BE TRUSTED: {doubt}" for doubt in doubts)])


def _shown(figure: Figure) -> str:
    spread = f" ± {shown_value(figure.spread)}" if len(figure.values) > 1 else ""
    return f"{shown_value(figure.value)}{spread} {figure.unit}".rstrip()


def _mark(doubt: str, doubts: Sequence[str]) -> str:
    return " " + "*" * (doubts.index(doubt) + 1) if doubt else ""


def shown_value(value: float) -> str:
    """A number as tables have it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
