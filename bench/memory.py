"""`memory`: what a session takes, silent or talking, and whether anything stays behind when it has gone.

Each figure is the growth of the server's memory (what of its process is in memory, by the kernel's count) from a
server that has already had some sessions, divided by those that came: socket, tree, audio and stream to Riva included.
Silent ones have begun and say nothing. Of thousands that talk no two processors could carry the words, and it is not
these that are measured here: they talk more slowly the more they are, together as much as --talkers people.

Then many short sessions, each told everything that was said in it: memory is noted with nobody connected, again and
again. What stays behind of a session is the slope of the straight line that fits best, without the first fifth, in
which caches and pools fill.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.faults.command import interruptible, positive, progress
from bench.faults.players import Voxtree
from bench.growth import slope
from bench.load.crowd import PROCESSES, Crowd
from bench.load.ground import server, stand_in
from bench.processes import allow_files
from bench.results import Figure, Result, circumstances, header, table, write

SIZES = (1000, 5000)
SHORT = 100_000
TALKERS = 50
FRAME_MS = 100
AT_ONCE = 20  # short sessions
WARM_UP = 0.2  # of the short sessions
SAMPLES = 20
FEW = 50  # short sessions that a server has had before anything counts
BATCH = 250  # sessions that are asked for together, so that a process of clients answers in time
REST = 2.0  # seconds
LEAK = 4.0  # MiB by which memory may grow after the warm-up: what an allocator shifts about
QUICK_SIZES = (100, 500)
QUICK_SHORT = 2000
QUICK_ROUNDS = 1


class Sample(msgspec.Struct, frozen=True):
    """Memory with nobody connected, after so many short sessions. `told`: of those, how many were told all."""

    sessions: int
    told: int
    mib: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=positive, nargs="+", default=SIZES, help="at the same time (1000 5000)")
    parser.add_argument("--short", type=positive, default=SHORT, help=f"short sessions (default {SHORT})")
    parser.add_argument("--talkers", type=positive, default=TALKERS, help=f"as much as all (default {TALKERS})")
    parser.add_argument("--rounds", type=positive, default=3, help="of sessions at the same time (default 3)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZES} sessions, {QUICK_SHORT} short ones")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if something stays behind, or a short session was not told all."""
    if args.quick:
        args.sessions, args.short, args.rounds = QUICK_SIZES, QUICK_SHORT, QUICK_ROUNDS
    about = circumstances("memory", args)
    figures: dict[str, Figure] = {}
    for sessions in args.sessions:
        for name, talkers in (("silent", 0), ("talking", args.talkers)):
            values = [interruptible(each(sessions, talkers)) for _ in range(args.rounds)]
            figures[f"{sessions} sessions.{name}"] = Figure.of(values, "KiB each", "lower")
    samples = interruptible(visits(args.short))
    per_session, grew = growth(samples)
    figures["left behind by a short session"] = Figure.of([1024 * per_session], "KiB", "lower")
    failed = samples[-1].sessions - samples[-1].told
    figures["short sessions not told all"] = Figure.of([failed], "", "lower")
    result = Result(**about, figures=figures)
    print(f"{header(result)}\n\n{table(figures)}")
    print(f"grew by {grew:.1f} MiB in {args.short} short sessions after the warm-up; {verdict(grew, failed)}")
    if args.json:
        write(args.json, result, {"samples": samples, "grew": grew})
    return int(verdict(grew, failed) != "holds")


def growth(samples: Sequence[Sample]) -> tuple[float, float]:
    """MiB that a session leaves behind, and what that came to, both without the warm-up."""
    observed = [sample for sample in samples if sample.sessions >= WARM_UP * samples[-1].sessions]
    each = slope([sample.sessions for sample in observed], [sample.mib for sample in observed]) or 0.0
    return each, each * (observed[-1].sessions - observed[0].sessions)


def verdict(grew: float, failed: int) -> str:
    """`holds`, or what does not."""
    if failed:
        return f"FAILS: {failed} short sessions were not told all"
    return f"misses: more than {LEAK:g} MiB" if grew > LEAK else "holds"


async def each(sessions: int, talkers: int) -> float:
    """KiB of each of so many sessions. `talkers`: people who talk as much as all of them; 0: they are silent."""
    allow_files(2 * sessions + 500)
    slower = max(1.0, sessions / talkers) if talkers else 0.0
    async with (
        stand_in() as (riva, _),
        server(riva, sessions + FEW, {"session.idle_timeout": 3600.0}) as voxtree,
        Crowd(voxtree.url, FRAME_MS, slower=slower, processes=PROCESSES) as crowd,
    ):
        before = await _warm(voxtree, crowd)
        for start in range(0, sessions, BATCH):
            progress("memory", f"{start} of {sessions} sessions")
            await crowd.add(min(BATCH, sessions - start))
        progress("memory", f"{sessions} sessions are {'talking' if talkers else 'silent'}")
        await asyncio.sleep(REST + 2 * slower * FRAME_MS / 1000)
        used = voxtree.process.memory()
        report = await crowd.report()
    progress()
    if report.open < sessions:
        print(f"of {sessions} sessions {report.open} were there: {report.refused} refused, {report.lost} lost")
    return (used - before) / 1024 / max(1, report.open)


async def visits(sessions: int) -> list[Sample]:
    """Memory after more and more short sessions."""
    samples, had, told = [], 0, 0
    async with (
        stand_in() as (riva, _),
        server(riva, 4 * AT_ONCE) as voxtree,
        Crowd(voxtree.url, FRAME_MS, processes=PROCESSES) as crowd,
    ):
        while had < sessions:
            until = min(sessions, had + max(1, sessions // SAMPLES))
            while had < until:
                progress("memory", f"{had} of {sessions} short sessions")
                some = min(BATCH, until - had)
                told += await crowd.visit(some, AT_ONCE)
                had += some
            await asyncio.sleep(REST / 2)
            voxtree.log.clear()
            samples.append(Sample(had, told, voxtree.process.memory() / 2**20))
    progress()
    return samples


async def _warm(voxtree: Voxtree, crowd: Crowd) -> int:
    """Let a server have had some sessions; its memory then."""
    await crowd.visit(FEW, AT_ONCE)
    await asyncio.sleep(REST)
    return voxtree.process.memory()
