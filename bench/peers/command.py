"""The measurement of `peers`: rounds of load in turns, then the faults, then the table."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from bench import results
from bench.faults.command import interruptible, positive, progress
from bench.machine import versions
from bench.peers import nodejs
from bench.peers.contenders import PEERS, Peer
from bench.peers.faults import FAULTS, Played, play
from bench.peers.figures import cost_table, fault_table, figures_of
from bench.relay.command import Start, measured
from bench.relay.figures import Figures, Load

PATIENCE, QUICK_PATIENCE = 20.0, 6.0  # seconds after the end of speech; some never finish


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sessions-20ms", type=positive, default=60, metavar="N", help="with 20 ms frames (default 60)"
    )
    parser.add_argument("--sessions-100ms", type=positive, default=150, metavar="N", help="with 100 ms (default 150)")
    parser.add_argument("--seconds", type=positive, default=8, help="measured each time (default 8)")
    parser.add_argument("--rounds", type=positive, default=3, help="(default 3)")
    parser.add_argument(
        "--clients", type=positive, default=20, help="at the same time when a fault strikes (default 20)"
    )
    parser.add_argument("--words", type=positive, default=60, help="words each of these says (default 60)")
    parser.add_argument("--only", metavar="TEXT", default="", help="peers whose name holds this")
    parser.add_argument("--quick", action="store_true", help="one round of 3 s, few clients: does it run, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure who is there; status 1 if voxtree harmed a word, 2 if nobody is."""
    if importlib.util.find_spec("uvloop") is None:
        print("the load needs uvloop: pip install 'voxtree[bench]'")
        return 2
    chosen = [peer for peer in PEERS if args.only.lower() in f"{peer.key} {peer.title}".lower()]
    if not chosen:
        print(f"no peer is called {args.only}: there are {', '.join(peer.key for peer in PEERS)}")
        return 2
    circumstances = results.circumstances("peers", args)
    circumstances["versions"] |= versions("fastapi", "uvicorn") | nodejs.versions()
    absent = {peer.key: lack for peer in chosen if (lack := peer.lack())}
    load: list[Figures] = []
    played: list[Played] = []
    interruptible(_measure(chosen, args, absent, load, played))
    print(cost_table(chosen, load, absent), fault_table(chosen, played, absent), sep="\n\n", flush=True)
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(load, played))
        results.write(args.json, result, {"absent": absent, "load": load, "faults": played})
    return int(any(not each.outcome.is_sound for each in played if each.peer == "voxtree"))


async def _measure(
    chosen: Sequence[Peer], args: argparse.Namespace, absent: dict[str, str], load: list[Figures], played: list[Played]
) -> None:
    if "node" not in absent and any(peer.key == "node" for peer in chosen):
        progress("peers", "npm installs what the Node relay imports, once")
        try:
            await nodejs.install()
        except nodejs.Unavailable as lack:
            absent["node"] = str(lack)
    present = [peer for peer in chosen if peer.key not in absent]
    rounds, seconds = (1, 3.0) if args.quick else (args.rounds, float(args.seconds))
    for number in range(rounds):
        for each in (Load(20, args.sessions_20ms), Load(100, args.sessions_100ms)):
            for peer in present if number % 2 == 0 else present[::-1]:
                progress(f"round {number + 1} of {rounds}", peer.title, f"{each.sessions} sessions, {each.frame_ms} ms")
                load.append(await measured(peer.key, _started(peer, each.sessions), each, seconds))
    clients, words = (min(5, args.clients), min(20, args.words)) if args.quick else (args.clients, args.words)
    for fault in FAULTS:
        for peer in present:
            if peer.has_backend or fault.strike is None:
                patience = QUICK_PATIENCE if args.quick else PATIENCE
                played.append(await play(peer, fault, clients, words, patience))
    progress()


def _started(peer: Peer, sessions: int) -> Start:
    return lambda riva: peer.start([riva], sessions)
