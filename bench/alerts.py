"""`alerts`: how many spikes of errors the built-in notifier finds, how soon, and how often it is alarmed for nothing.

Weeks of simulated errors go through the notifier's own core, in simulated time. They come by chance (Poisson), by night
at a tenth of the rate of the busiest hour; or in clumps of three on average, as when a proxy drops some clients at
once, which is harder to tell from a spike. `errors/min` is the busiest hour's rate.

false alarms   alerts in weeks in which nothing was wrong
found          of the spikes: for ten minutes, at any hour, so many times the errors that were usual at that hour
delay          from the spike's beginning to the alert, 15 s of which it waits for something that explains it
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from actors.speech.error_handler import ErrorContext
from bench import results
from bench.faults.recovery import percentile
from bench.results import Figure
from transport.alerts.notices import Phase
from transport.alerts.watch import Watch

DAY = 86_400.0
WEEK = 7 * DAY
PER_MINUTE = (0.1, 1.0, 10.0, 60.0)  # in the busiest hour
FACTORS = (3.0, 5.0, 10.0, 30.0)
NIGHT = 0.1  # of the busiest hour's rate
SPIKE = 600.0  # seconds
APART = 6.3 * 3600.0  # seconds between two spikes: they come at all hours
LATE = 60.0  # seconds after the end of a spike until which an alert still counts as its own
CLUMP = 3.0  # errors on average
WEEKS, QUICK_WEEKS = 8, 2
ERROR = ErrorContext(error_code="CONN_003")  # one of those that page nobody


class Quiet(msgspec.Struct, frozen=True):
    """What came of weeks in which nothing was wrong."""

    per_minute: float
    clumps: bool
    errors: int
    weeks: int
    alarms: int

    @property
    def alarms_a_week(self) -> float:
        return self.alarms / self.weeks


class Found(msgspec.Struct, frozen=True):
    """What came of spikes. `delays`: seconds, of those that were found."""

    per_minute: float
    factor: float
    spikes: int
    delays: list[float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weeks", type=int, default=WEEKS, help=f"weeks for each figure (default {WEEKS})")
    parser.add_argument("--seed", type=int, default=1, help="of the simulation (default 1)")
    parser.add_argument("--quick", action="store_true", help="two weeks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Simulate."""
    circumstances = results.circumstances("alerts", args)
    weeks = min(QUICK_WEEKS, args.weeks) if args.quick else args.weeks
    chance = random.Random(args.seed)
    print(f"{'errors/min':>10}  {'traffic':8} {'errors':>9} {'weeks':>5}  {'false alarms':>12} {'a week':>7}")
    calm = []
    for per_minute in PER_MINUTE:
        for clumps in (False, True):
            calm.append(quiet(per_minute, weeks, chance, clumps=clumps))
            print(_quiet_line(calm[-1]), flush=True)
    print(f"\n{'errors/min':>10}  {'spike':8} {'spikes':>9} {'found':>5}  {'delay p50/p95, s':>20}")
    spikes = []
    for per_minute in PER_MINUTE:
        for found in find(per_minute, weeks, chance):
            spikes.append(found)
            print(_found_line(found), flush=True)
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(calm, spikes))
        results.write(args.json, result, {"quiet": calm, "spikes": spikes})
    return 0


def figures_of(calm: Sequence[Quiet], spikes: Sequence[Found]) -> dict[str, Figure]:
    """By `errors a minute.figure`."""
    found: dict[str, Figure] = {}
    for one in calm:
        traffic = "clumps" if one.clumps else "chance"
        found[f"{one.per_minute:g}.{traffic}.false_alarms"] = Figure.of([one.alarms_a_week], "1/week", "lower")
    for each in spikes:
        name = f"{each.per_minute:g}.x{each.factor:g}"
        found[f"{name}.found"] = Figure.of([100 * len(each.delays) / each.spikes], "%", "higher")
        if (delay := percentile(each.delays, 50)) is not None:
            found[f"{name}.delay_p50"] = Figure.of([delay], "s", "lower")
    return found


def quiet(per_minute: float, weeks: int, chance: random.Random, *, clumps: bool) -> Quiet:
    """So many weeks without a spike."""
    times = usual(per_minute, weeks * WEEK, chance, clump=CLUMP if clumps else 1.0)
    errors, alarms = 0, 0
    watch = Watch("bench", 0.0)
    for now in times:
        errors += 1
        alarms += _alarms(watch, now)
    return Quiet(per_minute, clumps, errors, weeks, alarms)


def find(per_minute: float, weeks: int, chance: random.Random) -> list[Found]:
    """So many weeks with spikes, of each size in turn."""
    begins = [DAY + number * APART for number in range(int((weeks * WEEK - DAY) / APART))]
    spikes = [(begin, FACTORS[number % len(FACTORS)]) for number, begin in enumerate(begins)]
    extra = (partial(spike, per_minute, begin, factor, chance) for begin, factor in spikes)
    times = heapq.merge(usual(per_minute, weeks * WEEK, chance), (at for one in extra for at in one()))
    watch = Watch("bench", 0.0)
    alarms: list[float] = []
    for now in times:
        while watch.due <= now:
            due = watch.due
            alarms += [due] * sum(not notice.repeat for notice in watch.tick(due))
        alarms += [now] * _alarms(watch, now)
    return [_found(per_minute, factor, [at for at, size in spikes if size == factor], alarms) for factor in FACTORS]


def usual(per_minute: float, seconds: float, chance: random.Random, *, clump: float = 1.0) -> Iterator[float]:
    """When errors come, by the rhythm of the day. `clump`: so many at once on average."""
    now = 0.0
    most = per_minute / 60.0 / clump
    while (now := now + chance.expovariate(most)) < seconds:
        if chance.random() < rhythm(now):
            yield now
            while chance.random() >= 1.0 / clump:
                yield now


def spike(per_minute: float, begin: float, factor: float, chance: random.Random) -> Iterator[float]:
    """The errors that come besides the usual ones."""
    rate = (factor - 1.0) * rhythm(begin) * per_minute / 60.0
    now = begin
    while (now := now + chance.expovariate(rate)) < begin + SPIKE:
        yield now


def rhythm(now: float) -> float:
    """The share of the busiest hour's rate."""
    return NIGHT + (1.0 - NIGHT) * (0.5 - 0.5 * math.cos(2 * math.pi * now / DAY))


def _alarms(watch: Watch, now: float) -> int:
    """An error; how many alerts begin, of those that were due before it too."""
    notices = watch.error(ERROR, now)
    return sum(notice.phase is Phase.FIRING and not notice.repeat for notice in notices) if notices else 0


def _found(per_minute: float, factor: float, begins: Sequence[float], alarms: Sequence[float]) -> Found:
    first = [next((at - begin for at in alarms if begin <= at <= begin + SPIKE + LATE), None) for begin in begins]
    return Found(per_minute, factor, len(begins), [delay for delay in first if delay is not None])


def _quiet_line(one: Quiet) -> str:
    traffic = "clumps" if one.clumps else "chance"
    return f"{one.per_minute:10g}  {traffic:8} {one.errors:9} {one.weeks:5}  {one.alarms:12} {one.alarms_a_week:7.2f}"


def _found_line(found: Found) -> str:
    times = "–"
    if found.delays:
        times = "/".join(f"{percentile(found.delays, part):.0f}" for part in (50, 95))
    return f"{found.per_minute:10g}  x {found.factor:<6g} {found.spikes:9} {len(found.delays):5}  {times:>20}"
