"""Contenders measured side by side: each figure in a process of its own, in interleaved rounds, medians shown.

`python -m bench.rounds MODULE FUNCTION AMOUNT [OPTIONS]` is such a process: it prints one number.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import results
from bench.machine import processor, version, versions
from bench.results import Better, Figure

ROOT = Path(__file__).parent.parent
TIME_LIMIT = 120.0  # seconds for one figure; the slowest takes some ten


class Contender(NamedTuple):
    """A library, or one way to use it.

    Attributes:
        module: below `bench.contenders`; a function of a measure's name that it has not is a measure not taken.
        distribution: what must be installed for it; None if nothing.
        options: keyword arguments for each function.
    """

    name: str
    module: str
    distribution: str | None = None
    options: dict[str, str] = {}  # noqa: RUF012  (never changed)


class Measure(NamedTuple):
    """One figure of each contender.

    Attributes:
        function: its name in the contenders' modules; it takes an amount and returns the figure.
        amount: what it is given, seconds or a count.
        quick: the amount with `--quick`.
        better: which way is better.
    """

    title: str
    unit: str
    function: str
    amount: float
    quick: float
    better: Better = "lower"


class Figures(NamedTuple):
    """What the rounds gave for one contender and one measure; `trouble` says why if there is nothing."""

    values: list[float]
    trouble: str | None = None

    def shown(self) -> str:
        if self.trouble is not None:
            return self.trouble
        median = statistics.median(self.values)
        if len(self.values) == 1:
            return _rounded(median)
        spread = (max(self.values) - min(self.values)) / 2 / median if median else 0.0
        return f"{_rounded(median)} ±{spread:4.0%}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round of small amounts: does it run, not how fast")
    parser.add_argument("--only", action="append", metavar="TEXT", help="contenders whose name holds this text")
    parser.add_argument("--json", type=Path, help="write all figures to this file")


def run(scenario: str, args: argparse.Namespace, contenders: Sequence[Contender], measures: Sequence[Measure]) -> int:
    """Measure, print the table, and write the file. Status 1 if something that is installed did not work."""
    circumstances = results.circumstances(scenario, args)
    chosen = [one for one in contenders if not args.only or any(text in one.name for text in args.only)]
    if not chosen:
        print(f"no contender is called {' or '.join(args.only)}: there are {', '.join(c.name for c in contenders)}")
        return 2
    print(header(chosen), end="\n\n", flush=True)
    rounds = 1 if args.quick else args.rounds
    measured = _measured(chosen, measures, rounds, quick=args.quick)
    print(table(chosen, measures, measured))
    if not args.quick:
        print(f"\nmedian of {rounds} rounds, and half the distance from the smallest to the largest")
    if args.json:
        circumstances["versions"] |= _versions(chosen)
        found = {
            f"{one.name}.{measure.function}": Figure.of(values, measure.unit, measure.better)
            for one in chosen
            for measure in measures
            if (values := measured[one.name, measure.function].values)
        }
        troubles = {f"{name}.{function}": each.trouble for (name, function), each in measured.items() if each.trouble}
        results.write(args.json, results.Result(**circumstances, figures=found), {"troubles": troubles})
    return 1 if any(figures.trouble == "failed" for figures in measured.values()) else 0


def header(contenders: Iterable[Contender]) -> str:
    """Machine and versions, a line each."""
    cores = len(os.sched_getaffinity(0))
    found = (f"{name} {version or 'not installed'}" for name, version in _versions(contenders).items())
    return f"{processor()}, {cores} cores, {platform.system()} {platform.release()}\n{', '.join(found)}"


def table(
    contenders: Sequence[Contender], measures: Sequence[Measure], measured: Mapping[tuple[str, str], Figures]
) -> str:
    titles = [f"{measure.title}, {measure.unit}" for measure in measures]
    width = max(len(one.name) for one in contenders)
    lines = [" ".join([" " * width, *(f"{title:>24}" for title in titles)])]
    for one in contenders:
        cells = (measured[one.name, measure.function].shown() for measure in measures)
        lines.append(" ".join([f"{one.name:{width}}", *(f"{cell:>24}" for cell in cells)]))
    return "\n".join(lines)


def _measured(
    contenders: Sequence[Contender], measures: Sequence[Measure], rounds: int, *, quick: bool
) -> dict[tuple[str, str], Figures]:
    measured = {(one.name, m.function): Figures([], _absence(one, m.function)) for one in contenders for m in measures}
    for number, measure, one in _schedule(contenders, measures, rounds):
        key = (one.name, measure.function)
        if measured[key].trouble is None:
            _progress(f"round {number + 1} of {rounds}: {measure.title}, {one.name}")
            measured[key] = _measured_once(one, measure, measure.quick if quick else measure.amount, measured[key])
    _progress("")
    return measured


def _schedule(
    contenders: Sequence[Contender], measures: Sequence[Measure], rounds: int
) -> Iterator[tuple[int, Measure, Contender]]:
    """Interleaved, and every other round backwards: what the machine does meanwhile strikes all alike."""
    for number in range(rounds):
        order = contenders if number % 2 == 0 else contenders[::-1]
        yield from ((number, measure, one) for measure in measures for one in order)


def _measured_once(one: Contender, measure: Measure, amount: float, before: Figures) -> Figures:
    command = [sys.executable, "-m", "bench.rounds", f"bench.contenders.{one.module}", measure.function, str(amount)]
    try:
        ran = subprocess.run(
            [*command, json.dumps(one.options)], cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT
        )
        return Figures([*before.values, float(ran.stdout.split()[-1])])
    except subprocess.TimeoutExpired:
        return Figures([], "too slow")
    except (IndexError, ValueError):
        print(f"{measure.title}, {one.name}: {ran.stderr.strip()[-2000:]}", file=sys.stderr)
        return Figures([], "failed")


def _absence(one: Contender, function: str) -> str | None:
    """Why a figure cannot be taken, if so."""
    if one.distribution is not None and version(one.distribution) is None:
        return "not installed"
    source = (ROOT / "bench" / "contenders" / f"{one.module}.py").read_text(encoding="utf-8")
    return None if f"\ndef {function}(" in source else "–"  # not imported here: contenders must not disturb us


def _versions(contenders: Iterable[Contender]) -> dict[str, str | None]:
    return versions("anyio", "trio", *(one.distribution for one in contenders if one.distribution is not None))


def _rounded(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def main() -> None:
    module, function, amount, options = sys.argv[1:]
    print(getattr(importlib.import_module(module), function)(float(amount), **json.loads(options)))


if __name__ == "__main__":
    main()
