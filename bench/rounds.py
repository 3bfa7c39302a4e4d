"""Contenders measured side by side: each figure in a process of its own, in interleaved rounds, medians shown.

`python -m bench.rounds MODULE FUNCTION AMOUNT [OPTIONS]` is such a process: it prints one number.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
    """

    title: str
    unit: str
    function: str
    amount: float
    quick: float


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


def run(args: argparse.Namespace, contenders: Sequence[Contender], measures: Sequence[Measure]) -> int:
    """Measure, print the table, and write the file. Status 1 if something that is installed did not work."""
    chosen = [one for one in contenders if not args.only or any(text in one.name for text in args.only)]
    if not chosen:
        print(f"no contender is called {' or '.join(args.only)}: there are {', '.join(c.name for c in contenders)}")
        return 2
    print(header(chosen), end="\n\n", flush=True)
    rounds = 1 if args.quick else args.rounds
    results = _measured(chosen, measures, rounds, quick=args.quick)
    print(table(chosen, measures, results))
    if not args.quick:
        print(f"\nmedian of {rounds} rounds, and half the distance from the smallest to the largest")
    if args.json:
        args.json.write_text(json.dumps(_report(chosen, measures, results), indent=2) + "\n")
    return 1 if any(figures.trouble == "failed" for figures in results.values()) else 0


def header(contenders: Iterable[Contender]) -> str:
    """Machine and versions, a line each."""
    cores = len(os.sched_getaffinity(0))
    versions = (f"{name} {version or 'not installed'}" for name, version in _versions(contenders).items())
    return f"{_processor()}, {cores} cores, {platform.system()} {platform.release()}\n{', '.join(versions)}"


def table(contenders: Sequence[Contender], measures: Sequence[Measure], results: dict[tuple[str, str], Figures]) -> str:
    titles = [f"{measure.title}, {measure.unit}" for measure in measures]
    width = max(len(one.name) for one in contenders)
    lines = [" ".join([" " * width, *(f"{title:>24}" for title in titles)])]
    for one in contenders:
        cells = (results[one.name, measure.function].shown() for measure in measures)
        lines.append(" ".join([f"{one.name:{width}}", *(f"{cell:>24}" for cell in cells)]))
    return "\n".join(lines)


def _measured(
    contenders: Sequence[Contender], measures: Sequence[Measure], rounds: int, *, quick: bool
) -> dict[tuple[str, str], Figures]:
    results = {(one.name, m.function): Figures([], _absence(one, m.function)) for one in contenders for m in measures}
    for number, measure, one in _schedule(contenders, measures, rounds):
        key = (one.name, measure.function)
        if results[key].trouble is None:
            _progress(f"round {number + 1} of {rounds}: {measure.title}, {one.name}")
            results[key] = _measured_once(one, measure, measure.quick if quick else measure.amount, results[key])
    _progress("")
    return results


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
    if one.distribution is not None and _version(one.distribution) is None:
        return "not installed"
    source = (ROOT / "bench" / "contenders" / f"{one.module}.py").read_text(encoding="utf-8")
    return None if f"\ndef {function}(" in source else "–"  # not imported here: contenders must not disturb us


def _report(
    contenders: Sequence[Contender], measures: Sequence[Measure], results: dict[tuple[str, str], Figures]
) -> dict[str, object]:
    return {
        "machine": machine(),
        "versions": _versions(contenders),
        "figures": [
            {
                "contender": one.name,
                "measure": measure.title,
                "unit": measure.unit,
                "values": results[one.name, measure.function].values,
                "trouble": results[one.name, measure.function].trouble,
            }
            for one in contenders
            for measure in measures
        ],
    }


def machine() -> dict[str, object]:
    """What is measured on."""
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def versions(*distributions: str) -> dict[str, str | None]:
    """Python's version and those of distributions; None: it is not installed."""
    return {"Python": platform.python_version()} | {name: _version(name) for name in distributions}


def _versions(contenders: Iterable[Contender]) -> dict[str, str | None]:
    return versions("anyio", "trio", *(one.distribution for one in contenders if one.distribution is not None))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


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
