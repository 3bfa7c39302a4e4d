"""`soak`: mixed faults for half an hour, drawn by chance from a seed; words are counted, and so is what voxtree uses.

Clients speak in rounds while both scripted Rivas are killed and stopped at random, and come back; besides, their
streams break, run out of memory and are told to go. Memory, open files and asyncio tasks of the server are noted every
few seconds; their slopes leave out the first fifth, in which a server warms up. The exit status is 1 if a word was lost
or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from bench.faults.command import interruptible, positive, progress
from bench.faults.outcome import outcome
from bench.faults.players import BY_HAND, Voxtree
from bench.faults.stage import Stage
from bench.riva import RivaProcess
from bench.riva.faults import At, GoAway, Status
from bench.rounds import machine

PATIENCE = 120.0  # seconds after a round's speech; all Rivas may be away for some of them
EVERY = (5.0, 15.0)  # seconds between two strikes, at least and at most
AWAY = (1.0, 6.0)  # seconds that a struck Riva is away
LOOK = 5.0  # seconds between two samples
WARM_UP = 0.2  # of the samples
FAULTS = (
    Status(preset="socket_closed", at=At(position=2.0), chance=0.1),
    Status(preset="gpu_oom", at=At(position=5.0), chance=0.05),
    Status(preset="rate_limited", chance=0.02),
    GoAway(at=At(server_time=20, repeat=20), grace=2.0),
)


class Sample(msgspec.Struct, frozen=True):
    """What voxtree uses at a time, in seconds since the beginning."""

    at: float
    mib: float
    files: int
    tasks: int


class Soak(msgspec.Struct, kw_only=True):
    """What a soak came to. Slopes are per hour; None: there were too few samples."""

    seed: int
    minutes: float = 0.0
    sessions: int = 0
    strikes: int = 0
    sent: int = 0
    lost: int = 0
    doubled: int = 0
    misordered: int = 0
    declared: int = 0
    undeclared: int = 0
    errors: dict[str, int] = {}
    samples: list[Sample] = []

    @property
    def slopes(self) -> dict[str, float | None]:
        """Of each figure, without the warm-up."""
        later = self.samples[round(WARM_UP * len(self.samples)) :]
        return {name: slope(later, name) for name in ("mib", "files", "tasks")}


def slope(samples: Sequence[Sample], name: str) -> float | None:
    """How much a figure grows in an hour, by the straight line that fits best."""
    if len(samples) < 3:
        return None
    hours = [sample.at / 3600 for sample in samples]
    return statistics.linear_regression(hours, [getattr(sample, name) for sample in samples]).slope


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, to the end of a round (default 30)")
    parser.add_argument("--sessions", type=positive, default=20, help="clients at the same time (default 20)")
    parser.add_argument("--words", type=positive, default=60, help="words each says in a round (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn by chance (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    soak = Soak(seed=args.seed)
    try:
        interruptible(_soak(soak, args.minutes, args.sessions, args.words))
    finally:
        _show(soak)
        if args.json:
            report = {"machine": machine(), **msgspec.to_builtins(soak), "slopes": soak.slopes}
            args.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return int(bool(soak.lost or soak.doubled or soak.undeclared))


async def _soak(soak: Soak, minutes: float, sessions: int, words: int) -> None:
    chance = random.Random(soak.seed)
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(sessions, words, Path(folder), partial(progress, "soak")) as stage:
            primary, fallback, voxtree = await stage.usual(*FAULTS, fallback_faults=FAULTS, module=BY_HAND)
            began = time.monotonic()
            work = [
                asyncio.create_task(_watch(soak, voxtree, began)),
                *(asyncio.create_task(_strike(soak, riva, chance)) for riva in (primary, fallback)),
            ]
            try:
                while time.monotonic() - began < 60 * minutes:
                    await _round(soak, stage, voxtree.url)
                    for task in work:
                        if task.done():
                            task.result()  # they never end, but they may fail
                    soak.minutes = round((time.monotonic() - began) / 60, 2)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)


async def _round(soak: Soak, stage: Stage, url: str) -> None:
    async with stage.speech(url, patience=PATIENCE):
        pass
    found = outcome("", "", stage.talks)
    stage.talks.clear()
    soak.sessions += found.sessions
    for name in ("sent", "lost", "doubled", "misordered", "declared", "undeclared"):
        setattr(soak, name, getattr(soak, name) + getattr(found, name))
    for code, times in found.errors.items():
        soak.errors[code] = soak.errors.get(code, 0) + times


async def _strike(soak: Soak, riva: RivaProcess, chance: random.Random) -> None:
    """Kill or stop it now and then, and bring it back."""
    while True:
        await asyncio.sleep(chance.uniform(*EVERY))
        soak.strikes += 1
        if chance.random() < 0.5:
            await riva.kill()
            await asyncio.sleep(chance.uniform(*AWAY))
            await riva.start()
        else:
            riva.suspend()
            await asyncio.sleep(chance.uniform(*AWAY))
            riva.resume()


async def _watch(soak: Soak, voxtree: Voxtree, began: float) -> None:
    process = voxtree.process
    while True:
        await asyncio.sleep(LOOK)
        voxtree.log.clear()
        tasks = int(await process.ask("tasks"))
        soak.samples.append(
            Sample(round(time.monotonic() - began, 1), process.memory() / 2**20, process.files(), tasks)
        )


def _show(soak: Soak) -> None:
    slopes = "  ".join(f"{name} {value:+.2f}" for name, value in soak.slopes.items() if value is not None)
    print(
        f"\n{soak.minutes:g} minutes, {soak.sessions} sessions, {soak.strikes} strikes, seed {soak.seed}\n"
        f"  words said                   {soak.sent}\n"
        f"  lost, of which declared      {soak.lost}, {soak.declared}\n"
        f"  doubled, misordered          {soak.doubled}, {soak.misordered}\n"
        f"  errors that clients saw      {' '.join(f'{code} × {n}' for code, n in soak.errors.items()) or 'none'}\n"
        f"  slopes an hour               {slopes or 'too short to say'}"
    )
