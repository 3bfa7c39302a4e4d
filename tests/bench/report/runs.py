"""Runs as scenarios write them, made up."""

from __future__ import annotations

from pathlib import Path

from bench.results import Figure, Result, write

BY_CHANCE = {"processor": "Z80", "cores": 1, "kernel": "1.0"}


def result(scenario: str = "relay", version: str = "1.0", **figures: Figure) -> Result:
    """What a scenario measured; in names of figures `__` stands for a dot."""
    return Result(
        scenario=scenario,
        date="2026-11-27T08:00:00+00:00",
        machine=BY_CHANCE,
        versions={"Python": "3.11.7", "voxtree": version},
        arguments={"quick": False},
        figures={name.replace("__", "."): figure for name, figure in figures.items()},
    )


def written(folder: Path, *results: Result) -> Path:
    """The folder, with a file for each."""
    folder.mkdir(exist_ok=True)
    for each in results:
        write(folder / f"{each.scenario}.json", each, {"details": [1, 2, 3]})
    return folder


def cost(*values: float) -> Figure:
    return Figure.of(values, "µs", "lower")
