"""The command line of `python -m bench load`."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import msgspec

from bench.faults.command import interruptible, positive, progress
from bench.load.crowd import PROCESSES, Crowd
from bench.load.ground import server, stand_in
from bench.load.report import Report
from bench.results import Figure, Result, circumstances, header, table, write

SETTLE = 2.0  # seconds of everybody's speech before anything counts
QUICK = 3  # seconds
ROUNDS = 3


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """One round. `server_cpu`: of one core; `memory`: bytes."""

    seconds: float
    server_cpu: float
    memory: int
    heard: Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=positive, default=50, help="at the same time (default 50)")
    parser.add_argument("--seconds", type=positive, default=10, help="measured in each round (default 10)")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help=f"(default {ROUNDS})")
    add_load_arguments(parser)
    parser.add_argument("--quick", action="store_true", help=f"one round of {QUICK} s: does it run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of every scenario that puts a load on something."""
    parser.add_argument("--frame-ms", type=positive, default=20, help="audio in a message (default 20)")
    parser.add_argument(
        "--processes",
        type=positive,
        default=PROCESSES,
        help=f"of clients (default {PROCESSES})",
    )


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if a client was refused or lost its connection."""
    about = circumstances("load", args)
    rounds: list[Loaded] = []
    for number in range(1 if args.quick else args.rounds):
        progress("load", f"round {number + 1}, {args.sessions} sessions")
        seconds = QUICK if args.quick else args.seconds
        rounds.append(interruptible(measure(args.sessions, seconds, args.frame_ms, args.processes)))
    progress()
    result = Result(**about, figures=figures(rounds))
    print(f"{header(result)}\n\n{args.sessions} sessions in real time, {args.frame_ms} ms frames")
    print(table(result.figures))
    if args.json:
        write(args.json, result, {"rounds": rounds})
    return int(any(one.heard.lost or one.heard.refused for one in rounds))


async def measure(sessions: int, seconds: float, frame_ms: int, processes: int) -> Loaded:
    """One round, with processes of its own."""
    async with (
        stand_in() as (riva, _),
        server(riva, 2 * sessions) as voxtree,
        Crowd(voxtree.url, frame_ms, processes=processes) as crowd,
    ):
        await crowd.add(sessions)
        await asyncio.sleep(SETTLE)
        before = voxtree.process.cpu()
        heard = await crowd.measure(seconds)
        cpu = (voxtree.process.cpu() - before) / seconds
        return Loaded(seconds=seconds, server_cpu=cpu, memory=voxtree.process.memory(), heard=heard)


def figures(rounds: list[Loaded]) -> dict[str, Figure]:
    """What the rounds came to."""
    heard = [one.heard for one in rounds]
    doubt = next((each.doubt for each in heard if each.doubt), "")
    cost = [1e6 * one.server_cpu * one.seconds / max(1, one.heard.sent) for one in rounds]
    return {
        "answer p50": Figure.of([1000 * each.latency_p50 for each in heard], "ms", "lower", doubt),
        "answer p99": Figure.of([1000 * each.latency_p99 for each in heard], "ms", "lower", doubt),
        "sessions served in time": Figure.of([each.served for each in heard], "", "higher", doubt),
        "refused": Figure.of([each.refused for each in heard], "", "lower"),
        "lost": Figure.of([each.lost for each in heard], "", "lower"),
        "server, a frame": Figure.of(cost, "µs", "lower", doubt),
        "server": Figure.of([one.memory / 2**20 for one in rounds], "MiB", "lower"),
        "frames sent late, p99": Figure.of([1000 * each.late_p99 for each in heard], "ms", "lower"),
        "busiest process of clients": Figure.of([100 * each.busiest for each in heard], "% of a core", "lower"),
    }
