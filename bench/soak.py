"""`soak`: mixed faults for half an hour, drawn by chance from a seed; words are counted, and so is what voxtree uses.

Clients speak in rounds while both scripted Rivas are killed and stopped at random, and come back; besides, their
streams break, run out of memory and are told to go. With --workers these are killed and stopped too, for three fifths
of the time; then all are replaced one after the other (SIGUSR2), and what the server uses is judged from there on.
Memory, open files and asyncio tasks of the server are noted every few seconds, and once more after each round, at
rest: then nobody is connected, and a server that leaks nothing uses the same as ever. From the latter come the slopes
and the verdict. They leave out the warm-up: the first minute, and no less than a fifth of the run; with workers, the
first minute after they were replaced. Where there are several processes, each one's memory is judged by itself, their
files are added up, and tasks are not counted. The exit status is 1 if a word was harmed, if something grew, or if it
was too short to say.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench import growth, results
from bench.faults.command import interruptible, positive, progress
from bench.faults.outcome import outcome
from bench.faults.players import BY_HAND, Voxtree
from bench.faults.stage import Stage
from bench.faults.talk import Talk
from bench.growth import FEWEST
from bench.processes import children, files, memory
from bench.results import Figure
from bench.riva import RivaProcess
from bench.riva.faults import At, GoAway, Status
from bench.riva.words import SLOT_SECONDS

QUICK_MINUTES, QUICK_WORDS = 3.0, 20
PATIENCE = 120.0  # seconds after a round's speech; all Rivas may be away for some of them
EVERY = (5.0, 15.0)  # seconds between two strikes, at least and at most
WORKERS_EVERY = (20.0, 60.0)  # … and between two strikes at workers
REPLACED_AFTER = 0.6  # of the run
AWAY = (1.0, 6.0)  # seconds that a struck Riva is away
LOOK = 5.0  # seconds between two samples
REST = 1.0  # seconds after a round's last client until it is at rest
WARM_UP, WARM_UP_SECONDS = 0.2, 60.0  # of the run, and at least
SHOWN = 12  # steps in which memory's way is shown
# By so much a figure may have grown after the warm-up, by the line that fits best: the memory of any process by what an
# allocator shifts about, files and tasks by what a connection to a backend that is just up or down has.
GROWTH = {"mib": 4.0, "files": 6.0, "tasks": 6.0}
FAULTS = (
    Status(preset="socket_closed", at=At(position=2.0), chance=0.1),
    Status(preset="gpu_oom", at=At(position=5.0), chance=0.05),
    Status(preset="rate_limited", chance=0.02),
    GoAway(at=At(server_time=20, repeat=20), grace=2.0),
)


class Sample(msgspec.Struct, frozen=True):
    """What voxtree uses at a time, in seconds since the beginning. `each`: MiB of each of its processes, by its id."""

    at: float
    each: dict[int, float]
    files: int
    tasks: int

    @property
    def mib(self) -> float:
        """MiB of all processes."""
        return sum(self.each.values())


class Harmed(msgspec.Struct, frozen=True):
    """A session of which words were lost, doubled or misplaced: what is needed to find it in the server's log.

    Attributes:
        session: its id.
        began: when, in seconds since the epoch.
        lost: numbers of the words that never came.
        heard: what it was told, each with seconds since it began: event, code, highest number of a word.
    """

    session: str
    began: float
    lost: list[int]
    heard: list[tuple[float, str, str, int]]


class Soak(msgspec.Struct, kw_only=True):
    """What a soak came to. Slopes are per hour, memory's that of the process whose is steepest; None: too few samples.

    Attributes:
        workers: processes that served; 1: the server itself.
        worker_strikes: how often one of them was killed or stopped.
        replaced_at: when all of them were replaced, in seconds since the beginning.
        harmed: the sessions that were not whole.
        samples: taken every few seconds.
        rests: taken after each round, with nobody connected.
    """

    seed: int
    minutes: float = 0.0
    sessions: int = 0
    strikes: int = 0
    workers: int = 1
    worker_strikes: int = 0
    replaced_at: float = 0.0
    sent: int = 0
    lost: int = 0
    doubled: int = 0
    misordered: int = 0
    declared: int = 0
    undeclared: int = 0
    foreign: int = 0
    errors: dict[str, int] = {}
    harmed: list[Harmed] = []
    samples: list[Sample] = []
    rests: list[Sample] = []

    @property
    def observed(self) -> list[Sample]:
        """Those at rest, without the warm-up."""
        since = max(WARM_UP_SECONDS, WARM_UP * self.rests[-1].at) if self.rests else 0.0
        since = max(since, self.replaced_at + WARM_UP_SECONDS) if self.replaced_at else since
        return [sample for sample in self.rests if sample.at >= since]

    @property
    def slopes(self) -> dict[str, float | None]:
        """Of each figure at rest."""
        return {name: slope(self.observed, name) for name in GROWTH}

    @property
    def growth(self) -> dict[str, float]:
        """By how much each figure has grown while it was observed; empty: that was too short to say."""
        if len(observed := self.observed) < FEWEST:
            return {}
        hours = (observed[-1].at - observed[0].at) / 3600
        return {name: value * hours for name, value in self.slopes.items() if value is not None}

    @property
    def verdict(self) -> str:
        """`holds`; or `misses` and what grew; or `FAILS` and which words were harmed."""
        counted = ("lost", "doubled", "misordered", "foreign")
        if harmed := ", ".join(f"{getattr(self, name)} {name}" for name in counted if getattr(self, name)):
            return f"FAILS: {harmed}"
        if not self.growth:
            return "misses: too short to say whether anything grows"
        grown = [f"{name} grew by {value:.1f}" for name, value in self.growth.items() if value > GROWTH[name]]
        return f"misses: {', '.join(grown)}" if grown else "holds"


def slope(samples: Sequence[Sample], name: str) -> float | None:
    """How much a figure grows in an hour, by the line that fits best; `mib`: in the process that grows most."""
    hours = [sample.at / 3600 for sample in samples]
    if name != "mib":
        return growth.slope(hours, [getattr(sample, name) for sample in samples])
    lasting = set[int]().union(*(sample.each for sample in samples)).intersection(*(sample.each for sample in samples))
    slopes = [growth.slope(hours, [sample.each[process] for sample in samples]) for process in lasting]
    return max((each for each in slopes if each is not None), default=None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, to the end of a round (default 30)")
    parser.add_argument("--sessions", type=positive, default=20, help="clients at the same time (default 20)")
    parser.add_argument("--words", type=positive, default=60, help="words each says in a round (default 60)")
    parser.add_argument("--talkers", type=positive, metavar="N", help="people who speak as much as all (default: all)")
    parser.add_argument("--workers", type=positive, default=1, help="processes of the server (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn by chance (default 1)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MINUTES:g} minutes of short rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--log", type=Path, metavar="FILE", help="add the server's log to this file")


def run(args: argparse.Namespace) -> int:
    soak = Soak(seed=args.seed, workers=args.workers)
    minutes, words = (QUICK_MINUTES, QUICK_WORDS) if args.quick else (args.minutes, args.words)
    circumstances = results.circumstances("soak", args)
    slower = max(1.0, args.sessions / (args.talkers or args.sessions))
    try:
        interruptible(_soak(soak, minutes, args.sessions, words, slower, args.log))
    finally:
        _show(soak)
        if args.json:
            details = {"slopes": soak.slopes, "growth": soak.growth, "verdict": soak.verdict}
            result = results.Result(**circumstances, figures=figures_of(soak))
            results.write(args.json, result, {**msgspec.to_builtins(soak), **details})
    return int(soak.verdict != "holds")


def figures_of(soak: Soak) -> dict[str, Figure]:
    """What can be compared with another run."""
    words = {name: Figure.of([getattr(soak, name)], "words", "lower") for name in ("lost", "doubled", "undeclared")}
    units = {"mib": "MiB", "files": "files", "tasks": "tasks"}
    return words | {f"growth.{name}": Figure.of([value], units[name], "lower") for name, value in soak.growth.items()}


async def _soak(soak: Soak, minutes: float, sessions: int, words: int, slower: float, log: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(sessions, words, Path(folder), partial(progress, "soak")) as stage:
            # Any one worker, with any one Riva, must have room for all: who is refused says nothing.
            room = {"session.max_sessions": 2 * sessions * soak.workers}
            several: dict[str, Any] = {"workers": soak.workers, "settings": room, "keep_log": log}
            if soak.workers == 1:
                several = {"module": BY_HAND, "keep_log": log}
            primary, fallback, voxtree = await stage.usual(*FAULTS, fallback_faults=FAULTS, **several)
            began = time.monotonic()
            look = partial(_sample, soak, voxtree, began, asyncio.Lock())
            work = [
                asyncio.create_task(_watch(soak, voxtree, look)),
                asyncio.create_task(_strike(soak, primary, random.Random(2 * soak.seed))),
                asyncio.create_task(_strike(soak, fallback, random.Random(2 * soak.seed + 1))),
            ]
            if soak.workers > 1:
                chance = random.Random(3 * soak.seed)
                work.append(asyncio.create_task(_strike_workers(soak, voxtree, chance, began, 60 * minutes)))
            try:
                while time.monotonic() - began < 60 * minutes:
                    await _round(soak, stage, voxtree.url, slower)
                    await asyncio.sleep(REST)
                    soak.rests.append(await look())
                    for task in work:
                        if task.done():
                            task.result()  # they may have failed
                    soak.minutes = round((time.monotonic() - began) / 60, 2)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)


async def _round(soak: Soak, stage: Stage, url: str, slower: float) -> None:
    patience = PATIENCE + (slower - 1) * stage.seconds
    speech = stage.speech(url, name="", pace=slower * SLOT_SECONDS, chunk=SLOT_SECONDS, patience=patience)
    async with speech:  # which the server names: an id of its own is taken if its worker dies before it has begun
        pass
    found = outcome("", "", stage.talks)
    soak.harmed += [_harmed(talk) for talk in stage.talks if not talk.ledger.score(talk.samples).flawless]
    stage.talks.clear()
    soak.sessions += found.sessions
    for name in ("sent", "lost", "doubled", "misordered", "declared", "undeclared", "foreign"):
        setattr(soak, name, getattr(soak, name) + getattr(found, name))
    for code, times in found.errors.items():
        soak.errors[code] = soak.errors.get(code, 0) + times


def _harmed(talk: Talk) -> Harmed:
    began = talk.began or 0.0
    heard = [(round(one.at - began, 3), one.event, one.code, one.reach) for one in talk.heard]
    lost = [word.number for word in talk.ledger.lost(talk.samples)]
    return Harmed(talk.core.session_id, round(time.time() - time.monotonic() + began, 3), lost, heard)


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


async def _strike_workers(soak: Soak, voxtree: Voxtree, chance: random.Random, began: float, seconds: float) -> None:
    """Kill or stop one now and then; in the end have all of them replaced."""
    while (left := began + REPLACED_AFTER * seconds - time.monotonic()) > 0:
        await asyncio.sleep(min(left, chance.uniform(*WORKERS_EVERY)))
        if running := children(voxtree.process.pid):
            soak.worker_strikes += 1
            with suppress(ProcessLookupError):
                os.kill(chance.choice(running), chance.choice((signal.SIGKILL, signal.SIGSTOP)))
    await asyncio.sleep(chance.uniform(*AWAY))
    voxtree.process.signal(signal.SIGUSR2)
    soak.replaced_at = round(time.monotonic() - began, 1)


async def _watch(soak: Soak, voxtree: Voxtree, look: Callable[[], Awaitable[Sample]]) -> None:
    while True:
        await asyncio.sleep(LOOK)
        voxtree.log.clear()
        soak.samples.append(await look())


async def _sample(soak: Soak, voxtree: Voxtree, began: float, one_asks: asyncio.Lock) -> Sample:
    process = voxtree.process
    if soak.workers > 1:
        processes = [process.pid, *children(process.pid)]
        with suppress(OSError):  # one has just ended
            each, opened = {each: memory(each) / 2**20 for each in processes}, sum(map(files, processes))
            return Sample(round(time.monotonic() - began, 1), each, opened, 0)
        return await _sample(soak, voxtree, began, one_asks)
    async with one_asks:
        tasks = int(await process.ask("tasks"))
    each = {process.pid: process.memory() / 2**20}
    return Sample(round(time.monotonic() - began, 1), each, process.files(), tasks)


def _show(soak: Soak) -> None:
    observed = soak.observed
    ends = [observed[0], observed[-1]] if observed else []
    rows = [
        ("words said", f"{soak.sent}"),
        ("lost, of which declared", f"{soak.lost}, {soak.declared}"),
        ("doubled, misordered, foreign", f"{soak.doubled}, {soak.misordered}, {soak.foreign}"),
        ("errors that clients saw", ", ".join(f"{code} × {n}" for code, n in soak.errors.items()) or "none"),
        *((f"at rest after {sample.at / 60:.1f} minutes", _used(sample)) for sample in ends),
        ("MiB at rest, warm-up included", " ".join(f"{soak.rests[at].mib:.1f}" for at in _spread(len(soak.rests)))),
        ("growth without the warm-up", _figures(soak.growth)),
        ("which in an hour would be", _figures(soak.slopes)),
    ]
    workers = f", {soak.workers} workers struck {soak.worker_strikes} times and replaced" if soak.workers > 1 else ""
    print(f"\n{soak.minutes:g} minutes, {soak.sessions} sessions, {soak.strikes} strikes{workers}, seed {soak.seed}")
    print("\n".join(f"  {name:30} {value}" for name, value in rows))
    print(soak.verdict)


def _spread(count: int) -> list[int]:
    """Some of so many indices, the first and the last among them."""
    return sorted({round(part * (count - 1) / SHOWN) for part in range(SHOWN + 1)}) if count else []


def _used(sample: Sample) -> str:
    parts = " + ".join(f"{mib:.1f}" for _, mib in sorted(sample.each.items()))
    return f"{parts} MiB, {sample.files} files, {sample.tasks} tasks"


def _figures(by_name: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {value:+.1f}" for name, value in by_name.items() if value is not None) or "not known"
