"""`workers`: how many sessions one worker carries, and how many two do, in real time and without getting late.

The clients and the scripted Riva need the machine's processors too, so that two workers could not show what they can.
So each worker gets the same small part of a core, by a control group of the kernel (cgroup v1 or v2; needs root), and
is full long before the others are. The parent has no part in the speech, and gets none of its own.

For each number of workers more and more clients speak at the same time, until words come later than they may: what is
measured is the time from a word's last sample having been sent until a client sees it, beyond what it is with few. This
is done in rounds, in turns, and medians are compared: a moment in which the machine does something else ends a ramp.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from bench import results
from bench.faults.command import interruptible, positive, progress
from bench.faults.outcome import outcome
from bench.faults.players import backend
from bench.faults.stage import Stage
from bench.parts import parts
from bench.processes import children
from bench.results import Figure
from bench.riva import Plan

COUNTS = (1, 2)
QUOTA = 0.35  # of a core, for each worker
LATE = 0.05  # seconds, 99 of 100 words
FEW = 4  # sessions: what is usual
GROWTH = 1.12  # from one attempt to the next
ATTEMPTS = 20
MISSES = 2  # in a row, and it is full
ROUNDS = 3
WORDS = 24
QUICK_WORDS, QUICK_ATTEMPTS = 8, 3
GOAL = 1.8


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """So many sessions at once. Delays are milliseconds.

    Attributes:
        lost: words lost or doubled.
        clients_cpu: of a core, what the clients used.
    """

    workers: int
    sessions: int
    delay_p50: float
    delay_p99: float
    lost: int
    clients_cpu: float


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What so many workers carry."""

    workers: int
    usual_p99: float
    sessions: int
    attempts: list[Attempt]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quota", type=float, default=QUOTA, help=f"of a core, for each worker (default {QUOTA})")
    parser.add_argument("--late", type=float, default=LATE, help=f"seconds that are too late (default {LATE})")
    parser.add_argument("--from", type=positive, dest="start", default=10, help="sessions for each worker at first")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help=f"(default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="three short attempts for each: does it run, not how many")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if two workers carry less than 1.8 times what one does."""
    circumstances = results.circumstances("workers", args)
    words, attempts, rounds = (QUICK_WORDS, QUICK_ATTEMPTS, 1) if args.quick else (WORDS, ATTEMPTS, args.rounds)
    carried: list[Carried] = []
    for number in range(rounds):
        for count in COUNTS if number % 2 == 0 else COUNTS[::-1]:
            carried.append(interruptible(_ramp(count, args.quota, args.late, args.start * count, words, attempts)))
    sessions = {count: [one.sessions for one in carried if one.workers == count] for count in COUNTS}
    ratio = statistics.median(sessions[COUNTS[-1]]) / statistics.median(sessions[COUNTS[0]])
    print(f"\n{'workers':>7} {'sessions':>8}   each {args.quota:g} of a core, words at most {args.late:g} s late (p99)")
    for count, found in sessions.items():
        print(f"{count:7} {statistics.median(found):8g}   rounds: {', '.join(map(str, found))}")
    print(f"two carry {ratio:.2f} times what one does; {'holds' if ratio >= GOAL else 'misses'}: ≥ {GOAL}")
    if args.json:
        figures = {"ratio": Figure.of([ratio], "", "higher")}
        for count, found in sessions.items():
            figures[f"{count}.sessions"] = Figure.of(found, "sessions", "higher")
        result = results.Result(**circumstances, figures=figures)
        results.write(args.json, result, {"quota": args.quota, "ratio": ratio, "carried": carried})
    return int(ratio < GOAL)


async def _ramp(count: int, quota: float, late: float, start: int, words: int, most: int) -> Carried:
    usual = await _attempt(count, FEW * count, quota, words)
    attempts: list[Attempt] = []
    full, sessions, missed = FEW * count, start, 0
    for _ in range(most):
        attempts.append(await _attempt(count, sessions, quota, words))
        if attempts[-1].delay_p99 - usual.delay_p99 <= 1000 * late and not attempts[-1].lost:
            full, missed = sessions, 0
        else:
            missed += 1
        if missed == MISSES:
            break
        sessions = max(sessions + count, round(sessions * GROWTH))
    return Carried(workers=count, usual_p99=usual.delay_p99, sessions=full, attempts=attempts)


async def _attempt(count: int, sessions: int, quota: float, words: int) -> Attempt:
    progress(f"workers: {count}, {sessions} sessions")
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(sessions, words, Path(folder), lambda line: None) as stage:
            rivas = await stage.rivas(Plan())
            # Workers fill evenly only nearly, and nobody is to be refused.
            room = 2 * sessions
            voxtree = await stage.voxtree(
                backend("primary", rivas[0].port, max_streams=room), settings={"session.max_sessions": room},
                workers=count,
            )  # fmt: skip
            parent = voxtree.process.pid
            with parts(children(parent) if count > 1 else [parent], quota):
                before, began = time.process_time(), time.monotonic()
                async with stage.speech(voxtree.url):
                    pass
                clients = (time.process_time() - before) / (time.monotonic() - began)
            found = outcome("", "", stage.talks)
    progress()
    return Attempt(
        workers=count,
        sessions=sessions,
        delay_p50=found.delay_p50_ms or 0.0,
        delay_p99=found.delay_p99_ms or float("inf"),
        lost=found.lost + found.doubled,
        clients_cpu=round(clients, 2),
    )
