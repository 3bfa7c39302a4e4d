"""`fuzz`: broken and malicious input for every wire protocol, in any number; what escapes is a defect.

Conversations of real clients are mutated by what messages look like, and, where atheris is installed, by what code
they reach. Each codec is driven as a connection drives it, then told all that a client may be told. Counted are single
messages, and requests. A defect is shown with the input that shows it, and the seed; status 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

from bench import results
from bench.faults.command import positive, progress
from bench.fuzz.mutation import Mutator
from bench.fuzz.targets import REQUESTS, Message, request, targets
from bench.results import Figure
from bench.rounds import ROOT

REQUESTS_NAME = "requests"
LOOK_EVERY = 5000
QUICK_INPUTS = 50_000
COVERED = "cov: "  # what it says when it sees code being reached; without that it would mutate blindly
GUIDED_SHARE = 0.1  # of the inputs: one costs atheris ten times as much
TIME_LIMIT = 1800.0  # seconds for one guided run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--inputs", type=positive, default=1_000_000, help="how many in all (default 1000000)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default 0)")
    parser.add_argument("--only", metavar="TEXT", default="", help="protocols whose name holds this text")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_INPUTS:,} inputs at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Fuzz all; status 1 if anything was raised."""
    names = [name for name in (*targets(), REQUESTS_NAME) if args.only in name]
    if not names:
        print(f"no protocol is called {args.only}: there are {', '.join((*targets(), REQUESTS_NAME))}")
        return 2
    guides = importlib.util.find_spec("atheris") is not None
    inputs = min(QUICK_INPUTS, args.inputs) if args.quick else args.inputs
    guided = round(inputs * GUIDED_SHARE) if guides else 0
    circumstances, figures = results.circumstances("fuzz", args), {}
    print(f"{'':24} {'by messages':>12} {'by coverage':>12} {'seconds':>8}", flush=True)
    total = 0
    for name in names:
        began = time.monotonic()
        try:
            by_messages = mutated(name, (inputs - guided) // len(names) + 1, args.seed)
        except _Escaped as escaped:
            progress()
            print(f"{name}: {escaped}", file=sys.stderr)
            raise SystemExit(1) from escaped.__cause__
        by_coverage = _guided(name, guided // len(names)) if guided else 0
        progress()
        took = time.monotonic() - began
        print(f"{name:24} {by_messages:12,} {by_coverage:12,} {took:8.1f}", flush=True)
        figures[f"{name}.inputs"] = Figure.of([(by_messages + by_coverage) / took], "inputs/s", "higher")
        total += by_messages + by_coverage
    print(f"{total:,} inputs, nothing escaped" + ("" if guides else "; by coverage none: atheris is not installed"))
    if args.json:
        results.write(args.json, results.Result(**circumstances, figures=figures), {"inputs": total})
    return 0


class _Escaped(Exception):
    """An input made something raise. The message shows it; the cause is what was raised."""


def mutated(name: str, inputs: int, seed: int) -> int:
    """Play mutations until so many inputs were taken; how many it were."""
    taken = number = 0
    while taken < inputs:
        data = _conversation(name, f"{seed}/{number}")
        try:
            taken += play(name, data)
        except Exception as defect:
            raise _Escaped(f"{type(defect).__name__}: {defect}\nseed {seed}, input {number}: {data!r}") from defect
        number += 1
        if number % LOOK_EVERY == 0:
            progress("fuzzing", f"{name}: {taken:,} of {inputs:,}")
    return taken


def _conversation(name: str, seed: str) -> list[Message]:
    mutator = Mutator(seed)
    if name == REQUESTS_NAME:
        return [mutator.data(mutator.one_of(REQUESTS))]
    return mutator.conversation(targets()[name].conversations)


def play(name: str, data: list[Message]) -> int:
    """Give a protocol, or whoever reads requests, an input; how many it counts as."""
    if name == REQUESTS_NAME:
        (raw,) = data
        assert isinstance(raw, bytes)
        request(raw, len(raw) // 2)
        return 1
    return targets()[name].play(data) or 1


def _guided(name: str, runs: int) -> int:
    """Have atheris look for inputs that reach new code; how many it tried."""
    progress("fuzzing", f"{name}: {runs:,} by coverage")
    command = [sys.executable, "-m", "bench.fuzz_guided", name, str(runs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT)
    if done.returncode or COVERED not in done.stderr:
        progress()
        print(f"{name}, by coverage:\n{done.stderr[-4000:]}", file=sys.stderr)
        raise SystemExit(1)
    return runs
