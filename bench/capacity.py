"""`capacity`: sessions in real time for each core, and what becomes of those who come when there is no room.

One process of the server has a part of a core, or one core, and is full long before the load is. Clients are added
until 1 % of the answers take longer than --late, counted from when the audio was due to be spoken; Riva is a stand-in
that answers at once, so that the time is the gateway's and the machine's. That is one figure: sessions in real time,
divided by the part of a core. Some more are added to see how it breaks without any limit but the server's own: it
takes nobody in while its event loop is late.

Then the same with `session.max_sessions` set to what it carries, while up to --past times as many want to get in, and
come back as often as they are told to. A server that does not break serves as many sessions as before, as soon as
before, and refuses the others at once. Served in time is a session's audio that is answered within a second.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bench.faults.command import interruptible, positive, progress
from bench.load.command import add_load_arguments
from bench.load.crowd import Crowd
from bench.load.ground import confined, method, server, stand_in
from bench.load.report import Report
from bench.results import Figure, Result, circumstances, header, table, write

QUOTA = 0.35  # of a core
LATE = 50.0  # ms
GROWTH = 1.12  # from one step to the next
MISSES = 2  # in a row, and it is full
STEPS = 25
PAST = 3.0  # times as many as there is room for
SETTLE = 2.0  # seconds of everybody's speech before anything counts
SECONDS = 5
ROUNDS = 3
QUICK = {"growth": 1.4, "seconds": 2, "rounds": 1, "past": 2.0}
_UNLIMITED = 100_000  # sessions
HEADER = "sessions  let in  served  answer p50/p99, ms  refused  refusal p99, ms  lost  server, % of a core"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """So many sessions at the same time. `server_cpu`: of one core."""

    sessions: int
    server_cpu: float
    heard: Report

    def __str__(self) -> str:
        heard = self.heard
        return (
            f"{self.sessions:8} {heard.open:7} {heard.served:7.1f} {1000 * heard.latency_p50:9.1f}/"
            f"{1000 * heard.latency_p99:<9.1f} {heard.refused:7} {1000 * heard.refusal_p99:16.1f} {heard.lost:5}"
            f" {100 * self.server_cpu:8.0f}  {heard.doubt}"
        ).rstrip()


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions were carried; the steps up to that and some past it, and those with a limit."""

    carried: int
    steps: list[Step]
    limited: list[Step]


class Ramp:
    """How many sessions to try next. Pure.

    Args:
        start: at first.
        growth: from one step to the next, at least one session.

    Attributes:
        sessions: to try now; None: it is full, or was tried often enough.
        carried: the most that were carried so far.
    """

    def __init__(self, start: int, growth: float) -> None:
        self.sessions: int | None = start
        self.carried = 0
        self._growth = growth
        self._missed = self._steps = 0

    def note(self, holds: bool) -> None:
        """What came of them. One step may fail by chance, so that the next one is tried as well."""
        assert self.sessions is not None
        self._steps += 1
        if holds:
            self.carried, self._missed = self.sessions, 0
        else:
            self._missed += 1
        self.sessions = max(self.sessions + 1, round(self.sessions * self._growth))
        if self._missed == MISSES or self._steps == STEPS:
            self.sessions = None


def holds(step: Step, late: float) -> bool:
    """Whether all were let in, and served so soon. `late`: milliseconds."""
    heard = step.heard
    harmed = heard.refused or heard.lost or heard.gaps or heard.unanswered
    return not harmed and heard.open == step.sessions and 1000 * heard.latency_p99 <= late


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quota", type=_quota, default=QUOTA, help=f"of a core, 1: a whole one (default {QUOTA})")
    parser.add_argument("--late", type=float, default=LATE, help=f"ms that are too late, p99 (default {LATE:g})")
    parser.add_argument("--from", type=positive, dest="start", default=10, help="sessions at first (default 10)")
    parser.add_argument("--growth", type=_above_one, default=GROWTH, help=f"of sessions, a step (default {GROWTH})")
    parser.add_argument("--past", type=_above_one, default=PAST, help=f"times what it carries (default {PAST:g})")
    parser.add_argument("--seconds", type=positive, default=SECONDS, help=f"of each step (default {SECONDS})")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help=f"(default {ROUNDS})")
    add_load_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="one round, coarse")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if nothing was carried, or clients lost their connections past the limit."""
    if args.quick:
        vars(args).update(QUICK)
    about = circumstances("capacity", args)
    rounds: list[Round] = []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}\n{HEADER}", flush=True)
        rounds.append(interruptible(measure(args)))
    result = Result(**about, figures=figures(rounds, args.quota))
    print(f"\n{header(result)}\n{method(args.quota)}; {args.frame_ms} ms frames, p99 at most {args.late:g} ms late")
    print(table(result.figures))
    if args.json:
        write(args.json, result, {"method": method(args.quota), "rounds": rounds})
    return int(not is_sound(rounds))


def is_sound(rounds: Sequence[Round]) -> bool:
    """Whether something was carried, and what came past it harmed nobody."""
    return all(one.carried and not any(step.heard.lost for step in one.limited) for one in rounds)


async def measure(args: argparse.Namespace) -> Round:
    """One round, with processes of its own."""
    ramp = Ramp(args.start, args.growth)
    steps: list[Step] = []
    limited: list[Step] = []
    async with _site(args, _UNLIMITED) as step:
        while ramp.sessions is not None:
            steps.append(await step(ramp.sessions))
            ramp.note(holds(steps[-1], args.late))
    if ramp.carried:
        print(f"with room for {ramp.carried}", flush=True)
        async with _site(args, ramp.carried) as step:
            limited = [await step(sessions) for sessions in offers(ramp.carried, args.past)]
    return Round(carried=ramp.carried, steps=steps, limited=limited)


def offers(carried: int, past: float) -> list[int]:
    """How many want to get in where there is room for so many: all that fit, up to so many times as many."""
    return [round(carried * (1 + part * (past - 1))) for part in (0.0, 0.5, 1.0)]


@asynccontextmanager
async def _site(args: argparse.Namespace, room: int) -> AsyncGenerator[Callable[[int], Awaitable[Step]], None]:
    """A server with such a room, and what brings the clients to so many and measures."""
    async with (
        stand_in() as (port, riva),
        server(port, room) as voxtree,
        Crowd(voxtree.url, args.frame_ms, processes=args.processes) as crowd,
    ):
        present = 0

        async def step(sessions: int) -> Step:
            nonlocal present
            progress("capacity", f"{sessions} sessions")
            await crowd.add(sessions - present)
            present = sessions
            await asyncio.sleep(SETTLE)
            cpu = voxtree.process.cpu()
            heard = await crowd.measure(args.seconds)
            measured = Step(sessions=sessions, server_cpu=(voxtree.process.cpu() - cpu) / args.seconds, heard=heard)
            progress()
            print(measured, flush=True)
            return measured

        with confined(voxtree.process.pid, [riva.pid, *crowd.pids], args.quota):
            yield step


def figures(rounds: Sequence[Round], quota: float) -> dict[str, Figure]:
    """What the rounds came to."""
    doubt = next((step.heard.doubt for one in rounds for step in one.steps if step.heard.doubt), "")
    found = {
        "sessions": Figure.of([one.carried for one in rounds], "", "higher", doubt),
        "sessions per core": Figure.of([one.carried / quota for one in rounds], "", "higher", doubt),
        "most served without a limit": Figure.of(
            [max(step.heard.served for step in one.steps) for one in rounds], "sessions", "higher", doubt
        ),
    }
    if past := [one.limited for one in rounds if one.limited]:
        doubt = next((step.heard.doubt for steps in past for step in steps if step.heard.doubt), "")
        kept = [100 * steps[-1].heard.served / max(steps[0].heard.served, 0.1) for steps in past]
        found |= {
            "served with most coming": Figure.of(kept, "% of what it serves when just full", "higher", doubt),
            "answer p99 then": Figure.of([1000 * steps[-1].heard.latency_p99 for steps in past], "ms", "lower", doubt),
            "refusal p99 then": Figure.of([1000 * steps[-1].heard.refusal_p99 for steps in past], "ms", "lower", doubt),
            "refused without a time to come back": Figure.of(
                [sum(step.heard.untold for step in steps) for steps in past], "", "lower"
            ),
        }
    return found


def _quota(text: str) -> float:
    value = _number(text)
    if not 0.05 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a part of a core, from 0.05 to 1, got {text!r}")
    return value


def _above_one(text: str) -> float:
    value = _number(text)
    if not 1 < value <= 10:
        raise argparse.ArgumentTypeError(f"expected a number above 1, up to 10, got {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None
