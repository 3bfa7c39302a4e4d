"""The command line of `python -m bench report`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from bench.faults.command import progress
from bench.report.compare import summary, table, worse
from bench.report.page import figures_part, put
from bench.report.plots import draw, panels
from bench.report.runs import read
from bench.report.tables import tables
from bench.results import Result
from bench.rounds import ROOT
from transport.expected import ExpectedError

TOLERANCE = 20.0  # percent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="what was measured: a folder, or a scenario's JSON")
    parser.add_argument("--against", type=Path, metavar="BASE", help="compare with this file or folder, write nothing")
    parser.add_argument("--tolerance", type=_percent, default=TOLERANCE, metavar="PERCENT",
                        help=f"that a figure may be worse (default {TOLERANCE:g})")  # fmt: skip
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md", metavar="FILE",
                        help="that the figures go into (default docs/benchmarks.md)")  # fmt: skip
    parser.add_argument("--images", type=Path, metavar="DIR", help="for plots (default: `images` beside the page)")


def run(args: argparse.Namespace) -> int:
    """Write the page; or compare: status 1 if something got worse by more than is tolerated."""
    after = read(args.run)
    if args.against is None:
        images = args.images or args.page.parent / "images"
        put(args.page, figures_part(after, _drawn(after, images, args.page.parent)))
        print(f"{len(after)} scenarios: {args.page}, plots in {images}")
        return 0
    before = read(args.against)
    if not before.keys() & after.keys():
        raise ExpectedError(
            f"{args.run} holds {', '.join(after)}, and {args.against} {', '.join(before)}: nothing to compare"
        )
    found = worse(before, after, args.tolerance)
    print(table(before, after, args.tolerance))
    print(summary(found, args.tolerance))
    return int(bool(found))


def _drawn(run: Mapping[str, Result], images: Path, page: Path) -> dict[str, str]:
    """Draw what can be drawn: links by scenario, as seen from the page's folder."""
    links: dict[str, str] = {}
    for name, result in run.items():
        if wanted := panels(name, tables(result.figures)):
            progress("drawing", name)
            try:
                images.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ExpectedError(f"{images} cannot be made: {error}; --images names another folder") from error
            draw(name, wanted, file := images / f"bench-{name}.svg")
            links[name] = Path(os.path.relpath(file, page)).as_posix()
    progress()
    return links


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected percent, 0 or more, got {text!r}")
    return value
