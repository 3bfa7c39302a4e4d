"""`latency`: what the gateway adds to each answer, on the way to Riva and on the way back.

All processes are on one machine and read the same monotonic clock. Clients speak in real time; the stand-in for Riva
answers each 100 ms of audio at once, and writes into its answer when it had the audio. So there are these stages:

    load        from when a frame was due until the client sent it: how late the load itself is
    to Riva     from when the frame that completed 100 ms was due until Riva had them: WebSocket, session, gRPC
    interim     from there until the client had the interim result: gRPC, session, WebSocket
    final       the same of final results, which are in the journal before a client is told
    whole       from when the frame was due until the answer, whichever it is

A bare relay, which keeps and supervises nothing, is measured in turns with voxtree: what it takes is the price of the
machine, of WebSocket and of gRPC, and what is beyond it is voxtree's.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.faults.command import interruptible, positive, progress
from bench.load.command import add_load_arguments
from bench.load.crowd import Crowd
from bench.load.ground import stand_in
from bench.load.report import Report
from bench.relay.command import gateway
from bench.relay.figures import BARE, VOXTREE, Contender, Load
from bench.results import Figure, Result, circumstances, header, write

SETTLE = 2.0  # seconds of everybody's speech before anything counts
CONTENDERS = (BARE, VOXTREE)
STAGES = ("load", "to Riva", "interim", "final", "whole")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=positive, default=30, help="at the same time (default 30)")
    parser.add_argument("--seconds", type=positive, default=20, help="measured each time (default 20)")
    parser.add_argument("--rounds", type=positive, default=3, help="(default 3)")
    add_load_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="one round of 6 s: does it run, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if a client lost its connection or heard nothing."""
    if args.quick:
        args.seconds, args.rounds = 6, 1
    about = circumstances("latency", args)
    reports: dict[str, list[Report]] = {contender.name: [] for contender in CONTENDERS}
    interruptible(_measure_all(args, reports))
    result = Result(**about, figures=figures(reports))
    print(f"{header(result)}\n\n{args.sessions} sessions in real time, {args.frame_ms} ms frames; ms, p50 / p99")
    print(table(result.figures))
    if args.json:
        write(args.json, result, {"reports": reports})
    return int(any(one.lost or not one.stages for each in reports.values() for one in each))


async def measure(contender: Contender, load: Load, seconds: float, processes: int) -> Report:
    """One contender, in processes of its own."""
    async with (
        stand_in("--stamps") as (riva, _),
        gateway(contender, load, f"127.0.0.1:{riva}", ()) as (url, _),
        Crowd(url, load.frame_ms, processes=processes, reading="count") as crowd,
    ):
        await crowd.add(load.sessions)
        await asyncio.sleep(SETTLE)
        return await crowd.measure(seconds)


def figures(reports: Mapping[str, Sequence[Report]]) -> dict[str, Figure]:
    """The median and the 99th percentile of each contender, by stage, in milliseconds."""
    found = {}
    for name, each in reports.items():
        doubt = next((report.doubt for report in each if report.doubt), "")
        for stage in STAGES:
            for at, percent in enumerate(("p50", "p99")):
                if values := [1000 * times[at] for report in each if (times := _times(report, stage)) is not None]:
                    found[f"{stage}.{name} {percent}"] = Figure.of(values, "ms", "lower", doubt)
    return found


def table(figures: Mapping[str, Figure]) -> str:
    """A row for each stage, a column for each contender, and what there is to doubt."""
    lines = [f"{'':10}" + "".join(f"{contender.name:>18}" for contender in CONTENDERS)]
    for stage in STAGES:
        cells = (_cell(figures, contender.name, stage) for contender in CONTENDERS)
        lines.append(f"{stage:10}" + "".join(f"{cell:>18}" for cell in cells))
    doubts = {figure.doubt for figure in figures.values() if figure.doubt}
    return "\n".join([*lines, *(f"NOT TO BE TRUSTED: {doubt}" for doubt in sorted(doubts))])


def _cell(figures: Mapping[str, Figure], contender: str, stage: str) -> str:
    p50, p99 = (figures.get(f"{stage}.{contender} {percent}") for percent in ("p50", "p99"))
    return "–" if p50 is None or p99 is None else f"{p50.value:.2f} / {p99.value:.2f}"


def _times(report: Report, stage: str) -> tuple[float, float] | None:
    match stage:
        case "load":
            return report.late_p50, report.late_p99
        case "whole":
            return report.latency_p50, report.latency_p99
        case _:
            return report.stages.get(stage)


async def _measure_all(args: argparse.Namespace, reports: Mapping[str, list[Report]]) -> None:
    load = Load(args.frame_ms, args.sessions)
    for number in range(args.rounds):
        for contender in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
            progress("latency", f"round {number + 1} of {args.rounds}", contender.name)
            reports[contender.name].append(await measure(contender, load, args.seconds, args.processes))
    progress()
