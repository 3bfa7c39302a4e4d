"""`plan`: how many servers, databases and Riva streams so many sessions take, and what happens when a zone is lost.

Nothing is measured here: it is arithmetic, and a simulation of every client that comes back, with the pauses of the
real one. What a core and a database do is given by options. Where their defaults come from is in docs/deploy.md; put in
your own, from `python -m bench relay`, `storm` and `journal` on your machines.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from bench import results
from bench.faults.command import positive
from bench.planning import Away, Costs, Needs, Storm, needs, storm
from bench.results import Figure

SESSIONS = (10_000, 100_000, 1_000_000)
DEFAULTS: dict[str, tuple[float, str]] = {
    "cores": (8, "of a node, each with a worker"),
    "places": (200, "sessions at the same time that a node admits for each of them"),
    "fill": (0.7, "part of the places that is taken when a zone is missing"),
    "resumes": (280, "sessions that come back in a second for which a core has time"),
    "session-mib": (0.4, "memory of a session: 60 KiB, and audio that no final covers yet"),
    "core-mib": (90, "memory of a worker without sessions"),
    "finals": (0.3, "finals of a session in a second"),
    "writes": (7500, "operations that a PostgreSQL commits in a second"),
    "claims": (2300, "sessions that it hands over in a second"),
    "spare": (0.5, "part of its writes that is left free"),
}
NOTICED = (0.0, 3.5)  # seconds; a load balancer that checks each second has found out by then
T = TypeVar("T")
_WHOLE = ("cores", "places")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=positive, nargs="+", default=SESSIONS, help="default: %(default)s")
    parser.add_argument("--zones", type=positive, default=3, help="of which any one may be lost (default 3)")
    for name, (value, what) in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=_above(0), default=value, help=f"{what} (default {value:g})")
    parser.add_argument("--noticed", type=_above(-1), nargs=2, default=NOTICED, metavar="SECONDS",
                        help="after which clients know of the loss, from and to (default 0 to 3.5)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of the simulation (default 1)")
    parser.add_argument("--quick", action="store_true", help=f"for {SESSIONS[0]:,} sessions only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Show the plan; status 1 if in a storm somebody would not come back."""
    costs = Costs(
        **{name: getattr(args, name) for name in Costs.__struct_fields__ if name not in _WHOLE},
        **{name: int(getattr(args, name)) for name in _WHOLE},
    )
    circumstances = results.circumstances("plan", args)
    sizes = SESSIONS[:1] if args.quick else args.sessions
    plans = [needs(sessions, args.zones, costs) for sessions in sizes]
    print(_table(_NEEDS, plans))
    storms = []
    if args.zones > 1:
        away = Away(noticed=tuple(args.noticed))
        storms = [storm(sessions, args.zones, costs, away, args.seed) for sessions in sizes]
        print(f"\none of {args.zones} zones is lost, with everybody on it\n{_table(_STORM, storms)}")
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(plans, storms))
        results.write(args.json, result, {"costs": costs, "needs": plans, "storms": storms})
    return int(any(one.back < one.clients for one in storms))


def figures_of(plans: Iterable[Needs], storms: Iterable[Storm]) -> dict[str, Figure]:
    """By `sessions.figure`; for a storm, `clients.storm.figure`, of as many as come back."""
    found: dict[str, Figure] = {}
    for need in plans:
        for name in ("nodes", "cores", "riva_streams", "databases"):
            found[f"{need.sessions}.{name}"] = Figure.of([getattr(need, name)], "", "lower")
    for one in storms:
        for name in ("half", "most", "all"):
            found[f"{one.clients}.storm.{name}"] = Figure.of([getattr(one, name)], "s", "lower")
        found[f"{one.clients}.storm.words_lost"] = Figure.of([one.words], "words", "lower")
    return found


_NEEDS: dict[str, Callable[[Needs], str]] = {
    "sessions": lambda need: f"{need.sessions:,}",
    "nodes": lambda need: f"{need.nodes:,}",
    "cores": lambda need: f"{need.cores:,}",
    "GiB a node": lambda need: f"{need.node_gib:.2f}",
    "Gbit/s": lambda need: f"{need.gbits:.1f}",
    "Riva streams": lambda need: f"{need.riva_streams:,}",
    "journal writes/s": lambda need: f"{need.writes:,.0f}",
    "PostgreSQLs": lambda need: f"{need.databases:,}",
}
_STORM: dict[str, Callable[[Storm], str]] = {
    "come back": lambda one: f"{one.back:,} of {one.clients:,}",
    "half, s": lambda one: f"{one.half:.1f}",
    "99 %": lambda one: f"{one.most:.1f}",
    "all": lambda one: f"{one.all:.1f}",
    "peak attempts/s": lambda one: f"{one.peak:,}",
    "attempts": lambda one: f"{one.attempts:,}",
    "given up": lambda one: f"{one.gave_up:,}",
    "refused": lambda one: f"{one.refused:,}",
    "words lost": lambda one: f"{one.words:,.0f}",
}


def _table(columns: Mapping[str, Callable[[T], str]], rows: Iterable[T]) -> str:
    cells = [list(columns), *([show(row) for show in columns.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in cells)


def _above(limit: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not limit < value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected a number above {limit:g}, got {text!r}")
        return value

    return number
