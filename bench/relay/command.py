"""The measurement: processes started, rounds interleaved, figures shown."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from bench import results
from bench.faults.command import interruptible, positive, progress
from bench.faults.players import COMMAND_LINE, Voxtree, backend, toml
from bench.load.crowd import Crowd
from bench.processes import Process
from bench.relay.figures import Contender, Figures, Load, contenders, figures_of, ratios, table
from bench.relay.loops import LOOPS

SETTLE = 1.5  # seconds of everybody's speech before anything counts

Start = Callable[[str], AbstractAsyncContextManager[tuple[str, Process]]]  # from Riva's address to URL and process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions-20ms", type=int, default=60, metavar="N", help="with 20 ms frames (default 60)")
    parser.add_argument("--sessions-100ms", type=int, default=150, metavar="N", help="with 100 ms (default 150)")
    parser.add_argument("--seconds", type=positive, default=8, help="measured each time (default 8)")
    parser.add_argument("--rounds", type=positive, default=3, help="(default 3)")
    parser.add_argument("--quick", action="store_true", help="one round of 3 s: does it run, not how fast")
    parser.add_argument("--only", metavar="TEXT", default="", help="contenders whose name holds this")
    parser.add_argument("--loop", choices=LOOPS, default="uvloop", help="that voxtree runs on (default uvloop)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="a setting of voxtree's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if a client lost its connection or heard nothing."""
    if importlib.util.find_spec("uvloop") is None:
        print("this needs uvloop: pip install 'voxtree[uvloop]'")
        return 2
    chosen = [each for each in contenders(args.loop) if args.only in each.name]
    if not chosen:
        print(f"no contender is called {args.only}: there are {', '.join(c.name for c in contenders(args.loop))}")
        return 2
    loads = [Load(20, args.sessions_20ms), Load(100, args.sessions_100ms)]
    loads = [load for load in loads if load.sessions > 0]
    rounds, seconds = (1, 3.0) if args.quick else (args.rounds, float(args.seconds))
    figures: list[Figures] = []
    circumstances = results.circumstances("relay", args)
    interruptible(_measure(chosen, loads, rounds, seconds, [f"server.loop={args.loop}", *args.set], figures))
    print(table(chosen, loads, figures), flush=True)
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(figures))
        details = {"load_average": os.getloadavg()[0], "rounds": rounds, "seconds": seconds, **ratios(figures)}
        results.write(args.json, result, {**details, "measured": figures})
    return int(any(each.heard.lost or not each.heard.answers for each in figures))


async def _measure(
    chosen: Sequence[Contender],
    loads: Sequence[Load],
    rounds: int,
    seconds: float,
    settings: Sequence[str],
    figures: list[Figures],
) -> None:
    for number in range(rounds):
        for load in loads:
            for contender in chosen if number % 2 == 0 else chosen[::-1]:
                what = f"{load.sessions} sessions of {load.frame_ms} ms"
                progress(f"round {number + 1} of {rounds}", contender.name, what)
                figures.append(await measure(contender, load, seconds, settings))
    progress()


async def measure(contender: Contender, load: Load, seconds: float, settings: Sequence[str] = ()) -> Figures:
    """One contender under one load, in processes of its own."""
    return await measured(contender.name, lambda riva: gateway(contender, load, riva, settings), load, seconds)


async def measured(name: str, start: Start, load: Load, seconds: float) -> Figures:
    """What is started, under one load."""
    async with Process("-m", "bench.relay.backend") as riva:
        address = (await riva.line()).split()[-1]
        async with (
            start(address) as (url, relaying),
            Crowd(url, load.frame_ms, processes=1, reading="count", together=True) as crowd,
        ):
            await crowd.visit(1, 1)  # what a server makes or imports for its first client is no session's memory
            idle = relaying.memory()
            await crowd.add(load.sessions)
            await asyncio.sleep(SETTLE)
            began, cpu, riva_cpu = time.monotonic(), relaying.cpu(), riva.cpu()
            heard = await crowd.measure(seconds)
            return Figures(
                contender=name,
                load=load,
                seconds=time.monotonic() - began,
                cpu=relaying.cpu() - cpu,
                riva_cpu=riva.cpu() - riva_cpu,
                memory=relaying.memory(),
                idle_memory=idle,
                heard=heard,
            )


def gateway(
    contender: Contender, load: Load, riva: str, settings: Sequence[str]
) -> AbstractAsyncContextManager[tuple[str, Process]]:
    """What relays: where clients connect to it, and its process. `riva`: the address before which it is."""
    if contender.options is None:
        return voxtree([riva], load.sessions, settings)
    return listening(Process("-m", "bench.relay.bare", riva, *contender.options))


@asynccontextmanager
async def listening(process: Process) -> AsyncGenerator[tuple[str, Process], None]:
    """Run a process that prints where it listens: its URL, and the process."""
    async with process:
        yield (await process.line()).split()[-1], process


@asynccontextmanager
async def voxtree(
    rivas: Sequence[str], sessions: int, settings: Sequence[str] = ()
) -> AsyncGenerator[tuple[str, Process], None]:
    """`voxtree serve` before one Riva or two, with room for so many sessions: its URL, and the process."""
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        path = Path(folder) / "voxtree.toml"
        usual = {"session.max_sessions": 2 * sessions, "journal.path": str(path.with_suffix(".db"))}
        ports = [int(riva.rpartition(":")[2]) for riva in rivas]
        backends = [backend(tier, port) for tier, port in zip(("primary", "fallback"), ports, strict=False)]
        path.write_text(toml(backends, usual, 2 * sessions))
        options = [option for setting in settings for option in ("--set", setting)]
        async with Voxtree(
            "serve", "--config", str(path), "--workers", "1", *options, module=COMMAND_LINE, environment={}
        ) as server:
            yield server.url, server.process
