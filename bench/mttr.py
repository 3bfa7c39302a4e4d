"""`mttr`: how long words stay away when a backend fails, with voxtree and with an ordinary handler, side by side.

The handler (`bench.naive`) is what one writes at first: a loop that receives and passes on, a try around the call, a
sleep of 1, 2, 4 s, then the other backend. Both get the same clients, the same scripted Rivas and the same faults, one
after the other. `recovery` and the words are counted as by `python -m bench faults`.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from bench import results
from bench.faults.command import interruptible, positive, progress
from bench.faults.outcome import Outcome, Strike, outcome
from bench.faults.players import pair
from bench.faults.stage import Stage
from bench.faults.talk import CHUNK_SECONDS, Talk
from bench.results import Figure
from bench.riva import Plan, RivaProcess
from bench.riva.faults import Action, At, Status

EARLY = 0.3  # of the speech: when backends are struck
QUICK_SESSIONS, QUICK_WORDS = 5, 30
PATIENCE = 20.0  # seconds after the end of speech; the handler may never finish
MID_SECONDS = 3.0  # of its audio, after which a status ends a stream
MID = At(position=MID_SECONDS)


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong with the primary: something it is told to do, or something done to it."""

    key: str
    name: str
    action: Action | None = None
    strike: signal.Signals | None = None


FAULTS = (
    Fault("killed", "killed (SIGKILL)", strike=signal.SIGKILL),
    Fault("hangs", "hangs (SIGSTOP)", strike=signal.SIGSTOP),
    Fault("unavailable", "UNAVAILABLE in mid-stream", Status(preset="socket_closed", at=MID)),
    Fault("exhausted", "RESOURCE_EXHAUSTED in mid-stream", Status(preset="rate_limited", at=MID)),
    Fault("out_of_memory", "GPU out of memory in mid-stream", Status(preset="gpu_oom", at=MID)),
)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Both outcomes of one fault. `below`: percent by which voxtree's median recovery is below the handler's."""

    key: str
    fault: str
    naive: Outcome
    voxtree: Outcome
    below: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=positive, default=20, help="clients at the same time (default 20)")
    parser.add_argument("--words", type=positive, default=60, help="words each of them says (default 60)")
    parser.add_argument("--quick", action="store_true", help="few clients and words: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if voxtree harmed a word."""
    pairs: list[Pair] = []
    sessions, words = args.sessions, args.words
    if args.quick:
        sessions, words = min(QUICK_SESSIONS, sessions), min(QUICK_WORDS, words)
    circumstances = results.circumstances("mttr", args)
    interruptible(_measure_all(sessions, words, pairs))
    if args.json:
        results.write(args.json, results.Result(**circumstances, figures=figures_of(pairs)), {"faults": pairs})
    return int(not all(both.voxtree.is_sound for both in pairs))


def figures_of(pairs: Sequence[Pair]) -> dict[str, Figure]:
    """By `fault.who.figure`, and `fault.below`."""
    found: dict[str, Figure] = {}
    for both in pairs:
        for who, one in (("naive", both.naive), ("voxtree", both.voxtree)):
            found |= {f"{both.key}.{who}.{name}": figure for name, figure in one.figures().items()}
        if both.below is not None:
            found[f"{both.key}.below"] = Figure.of([both.below], "%", "higher")
    return found


async def _measure_all(sessions: int, words: int, pairs: list[Pair]) -> None:
    print(_HEADER, flush=True)
    for fault in FAULTS:
        naive = await _played(fault, "naive", _naive_url, sessions, words)
        voxtree = await _played(fault, "voxtree", _voxtree_url, sessions, words)
        pairs.append(Pair(key=fault.key, fault=fault.name, naive=naive, voxtree=voxtree, below=_below(naive, voxtree)))
        print("\n".join(_lines(pairs[-1])), flush=True)


async def _played(
    fault: Fault,
    name: str,
    address: Callable[[Stage, RivaProcess, RivaProcess], Awaitable[str]],
    sessions: int,
    words: int,
) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(sessions, words, Path(folder), partial(progress, fault.name, name)) as stage:
            faults = () if fault.action is None else (fault.action,)
            primary, fallback = await stage.rivas(Plan(faults=faults), Plan())
            url = await address(stage, primary, fallback)
            async with stage.speech(url, patience=PATIENCE) as clock:
                await clock.at(EARLY)
                if fault.strike is not None:
                    stage.struck()
                    primary.signal(fault.strike)
            progress()
        return outcome(name, fault.name, stage.talks, stage.strike or _ended_mid_stream)


def _ended_mid_stream(talk: Talk) -> Strike | None:
    """When the audio had been sent whose hearing ends the stream."""
    message = round(MID_SECONDS / CHUNK_SECONDS) - 1
    return Strike(talk.sent[message], talk.sent[message]) if message < len(talk.sent) else None


async def _naive_url(stage: Stage, primary: RivaProcess, fallback: RivaProcess) -> str:
    return await stage.naive(primary.port, fallback.port)


async def _voxtree_url(stage: Stage, primary: RivaProcess, fallback: RivaProcess) -> str:
    return (await stage.voxtree(*pair(primary.port, fallback.port))).url


_HEADER = (
    f"{'the primary …':34} {'':8} {'recovery p50':>12} {'p99':>10} {'words':>6} {'lost':>6} {'doubled':>8}"
    f" {'errors':>7}"
)  # fmt: skip


def _below(naive: Outcome, voxtree: Outcome) -> float | None:
    if not naive.recovery_p50_ms or voxtree.recovery_p50_ms is None:
        return None
    return round(100 * (1 - voxtree.recovery_p50_ms / naive.recovery_p50_ms), 1)


def _lines(both: Pair) -> Sequence[str]:
    ratio = "" if both.below is None else f"  {both.below} % below"
    return [
        f"{name:34} {one.case:8} {_seconds(one.recovery_p50_ms):>12} {_seconds(one.recovery_p99_ms):>10}"
        f" {one.sent:6} {one.lost:6} {one.doubled:8} {sum(one.errors.values()):7}{more}"
        for name, one, more in ((both.fault, both.naive, ""), ("", both.voxtree, ratio))
    ]


def _seconds(ms: float | None) -> str:
    return "never" if ms is None else f"{ms / 1000:.3f} s"
