"""`overload`: goodput while more clients come than there is room for.

One server with room for --places sessions, one scripted Riva, and clients that come at an even pace, whether or not
those before them have gone: from half as many as there are places to four times as many. Each says its words in real
time, once; one that is refused goes away. Counted is what came of it: words that were given back in time, how late, and
how soon the refused ones knew. A server that does not break gives as many words at four times the load as at one.

The clients are one process. If it has no time to spare, then it is the clients that were measured; the last line says
so.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench import results
from bench.faults.command import interruptible, positive, progress
from bench.faults.players import backend
from bench.faults.recovery import delays, percentile
from bench.faults.stage import PATIENCE, Stage
from bench.faults.talk import CHUNK_SECONDS, Talk
from bench.results import Figure
from bench.riva import Plan, total
from transport.expected import ExpectedError

LOADS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
QUICK_LOADS = (0.5, 1.0, 4.0)
QUICK = 6  # places
TURNS = 3.0  # times a session's length that clients go on coming
BUSY = 0.9  # of a core, from which on a process has no time to spare
IN_TIME = 1.0  # seconds after a word was said
HEADER = "load   clients  let in  refused  other  words/s  in time  lost doubled   delay p50/p99    refusal p50/p99"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one load. Times are seconds.

    Attributes:
        load: clients at the same time, in times the places there are, if none were refused.
        clients: how many came; let_in, refused, other: what became of them, `other` by any error but a refusal.
        goodput: words a second that were given back in time, while clients came.
        in_time: of the words that were said by those who were let in.
        delay_…: of a word, over all of them; refusal_…: from dialling to the refusal.
        server_cpu, clients_cpu: of one core.
    """

    load: float
    clients: int
    let_in: int
    refused: int
    other: dict[str, int]
    goodput: float
    in_time: float
    lost: int
    doubled: int
    delay_p50: float
    delay_p99: float
    refusal_p50: float
    refusal_p99: float
    server_cpu: float
    clients_cpu: float

    def __str__(self) -> str:
        return (
            f"{self.load:4.2f}x  {self.clients:7}  {self.let_in:6}  {self.refused:7}  {sum(self.other.values()):5}"
            f"  {self.goodput:7.1f}  {100 * self.in_time:6.1f}%  {self.lost:4} {self.doubled:7}"
            f"  {_ms(self.delay_p50)}/{_ms(self.delay_p99)} ms  {_ms(self.refusal_p50)}/{_ms(self.refusal_p99)} ms"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--places", type=positive, default=60, help="sessions there is room for (default 60)")
    parser.add_argument("--words", type=positive, default=30, help="words each client says (default 30)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} places and three loads: does it work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them: .svg or .png, by the extra `bench`")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if words were lost or doubled, or somebody met an error that was no refusal."""
    places = QUICK if args.quick else args.places
    loads: list[Load] = []
    circumstances = results.circumstances("overload", args)
    interruptible(_measure_all(QUICK_LOADS if args.quick else LOADS, places, args.words, loads))
    busiest = max(load.clients_cpu for load in loads)
    if busiest > BUSY:
        print(f"the clients took {100 * busiest:.0f} % of a core: it may be they that were measured")
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(loads))
        results.write(args.json, result, {"places": places, "words": args.words, "loads": loads})
    if args.plot:
        plot(loads, places, args.plot)
    return int(any(load.lost or load.doubled or load.other for load in loads))


def figures_of(loads: Sequence[Load]) -> dict[str, Figure]:
    """By `load.figure`."""
    found: dict[str, Figure] = {}
    for one in loads:
        doubt = "the clients were the limit" if one.clients_cpu > BUSY else ""
        found |= {
            f"{one.load:g}.goodput": Figure.of([one.goodput], "words/s", "higher", doubt),
            f"{one.load:g}.in_time": Figure.of([100 * one.in_time], "%", "higher", doubt),
            f"{one.load:g}.delay_p99": Figure.of([1000 * one.delay_p99], "ms", "lower", doubt),
            f"{one.load:g}.refusal_p99": Figure.of([1000 * one.refusal_p99], "ms", "lower", doubt),
            f"{one.load:g}.lost": Figure.of([one.lost], "words", "lower"),
            f"{one.load:g}.doubled": Figure.of([one.doubled], "words", "lower"),
        }
    return found


async def measure(load: float, places: int, words: int) -> Load:
    """One load, with processes of its own."""
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(places, words, Path(folder), lambda line: None) as stage:
            (riva,) = await stage.rivas(Plan())
            voxtree = await stage.voxtree(
                backend("primary", riva.port, max_streams=places), settings={"session.max_sessions": places}
            )
            window = TURNS * stage.seconds
            comers = [_Comer(stage, voxtree.url) for _ in range(round(load * places * TURNS))]
            began, cpu, own = time.monotonic(), voxtree.process.cpu(), time.process_time()
            async with asyncio.TaskGroup() as tasks:
                for number, comer in enumerate(comers):
                    tasks.create_task(comer.come(window * number / len(comers)))
            took = time.monotonic() - began
            return _result(
                load,
                comers,
                began + window,
                server_cpu=(voxtree.process.cpu() - cpu) / took,
                clients_cpu=(time.process_time() - own) / took,
                window=window,
            )


class _Comer:
    """A client that comes once."""

    def __init__(self, stage: Stage, url: str) -> None:
        self.talk = Talk(stage.coded())
        self.refusal: float | None = None
        self._url = f"{url}/o-{id(self)}"
        self._limit = stage.seconds + PATIENCE

    async def come(self, wait: float) -> None:
        await asyncio.sleep(wait)
        dialled = time.monotonic()
        await self.talk.run(self._url, limit=self._limit, pace=CHUNK_SECONDS)
        if self.talk.failure == "CONN_005":
            self.refusal = time.monotonic() - dialled


def _result(
    load: float, comers: Sequence[_Comer], end: float, *, server_cpu: float, clients_cpu: float, window: float
) -> Load:
    let_in = [comer.talk for comer in comers if comer.talk.began is not None]
    refusals = [comer.refusal for comer in comers if comer.refusal is not None]
    score = total([talk.ledger.score(talk.samples) for talk in let_in])
    late = [delay for talk in let_in for delay in delays(talk)]
    good = sum(
        shown <= end and shown - sent <= IN_TIME
        for talk in let_in
        for word, shown in talk.shown.items()
        if (sent := talk.sent_at(word)) is not None
    )
    failures = Counter(comer.talk.failure for comer in comers if comer.talk.failure and comer.refusal is None)
    return Load(
        load=load,
        clients=len(comers),
        let_in=len(let_in),
        refused=len(refusals),
        other=dict(failures),
        goodput=good / window,
        in_time=sum(delay <= IN_TIME for delay in late) / score.sent if score.sent else 0.0,
        lost=score.lost,
        doubled=score.doubled,
        delay_p50=percentile(late, 50) or 0.0,
        delay_p99=percentile(late, 99) or 0.0,
        refusal_p50=percentile(refusals, 50) or 0.0,
        refusal_p99=percentile(refusals, 99) or 0.0,
        server_cpu=server_cpu,
        clients_cpu=clients_cpu,
    )


def plot(loads: Sequence[Load], places: int, file: Path) -> None:
    """Draw goodput and latency over the load.

    Raises:
        ExpectedError: matplotlib is not there, or cannot write the file.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ExpectedError("--plot takes matplotlib: pip install 'voxtree[bench]'") from missing
    mpl.rcParams["svg.hashsalt"] = "voxtree"  # the same figures give the same file
    figure = Figure(figsize=(8, 6), layout="constrained")
    goodput, latency = figure.subplots(2, 1, sharex=True)
    offered = [load.load for load in loads]
    goodput.plot(offered, [load.goodput for load in loads], "o-", label="words in time, a second")
    per_second = max(load.goodput for load in loads)
    goodput.axhline(per_second, color="grey", linewidth=0.8, linestyle=":", label="most that was reached")
    goodput.axvline(1.0, color="grey", linewidth=0.8)
    goodput.set(ylabel="words/s", ylim=(0, 1.15 * per_second), title=f"Goodput under overload, {places} places")
    latency.plot(offered, [1000 * load.delay_p99 for load in loads], "o-", label="delay of a word, p99")
    latency.plot(offered, [1000 * load.delay_p50 for load in loads], "o--", label="… p50")
    refused = [load for load in loads if load.refused]
    latency.plot(
        [load.load for load in refused], [1000 * load.refusal_p99 for load in refused], "s-", label="refusal, p99"
    )
    latency.axvline(1.0, color="grey", linewidth=0.8)
    latency.set(xlabel="offered load, in places", ylabel="ms", ylim=(0, None))
    for axes in (goodput, latency):
        axes.legend(loc="best", frameon=False)
        axes.grid(alpha=0.3)
    try:
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise ExpectedError(f"cannot draw {file}: {error}") from error


async def _measure_all(wanted: Sequence[float], places: int, words: int, loads: list[Load]) -> None:
    print(HEADER, flush=True)
    for load in wanted:
        progress(f"{load:g} times as many as there is room for")
        loads.append(await measure(load, places, words))
        progress()
        print(loads[-1], flush=True)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"
