"""`storm`: many sessions at once, all cut at once; how soon all of them are back, and what it costs the server.

One server, one scripted Riva, and clients of the library behind a proxy that drops every connection at the same moment;
new ones are let through at once. The clients speak word-coded audio before, during and after that. What is measured is
coming back, not recognising, so they speak more slowly the more they are: together as much as --talkers people do. Each
message is a whole word, so that the pauses, which voxtree fills with silence, are between words.

The clients and the proxy are one process. If that had no time to spare while sessions came back, then it is the clients
that were measured; the last line says so.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path

import msgspec

from bench import results
from bench.faults.command import interruptible, positive, progress
from bench.faults.outcome import outcome
from bench.faults.players import Voxtree, backend
from bench.faults.recovery import percentile, resumption
from bench.faults.stage import Stage
from bench.faults.talk import Talk
from bench.processes import allow_files
from bench.proxy import Proxy
from bench.results import Figure
from bench.riva import Plan
from bench.riva.words import SLOT_SECONDS

QUICK = 100  # sessions
PATIENCE = 90.0  # seconds
CUT_AT = 0.5  # of the speech
OPENING = 100.0  # sessions that begin in a second
BUSY = 0.9  # of a core, from which on a process has no time to spare
LOOK = 0.1  # seconds


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """What a storm came to. Times are seconds from the cut.

    Attributes:
        live: sessions that were connected when they were cut.
        resumed: of these, how many were had again.
        resume_…: until a session was, over all that were.
        connects_per_second: resumed sessions by the time until the last of them was.
        server_cpu, clients_cpu: seconds of processor time until then, of the server and of the clients with the proxy.
    """

    sessions: int
    live: int
    resumed: int
    sent: int
    lost: int
    doubled: int
    misordered: int
    undeclared: int
    foreign: int
    errors: dict[str, int]
    resume_p50: float
    resume_p99: float
    resume_max: float
    connects_per_second: float
    server_cpu: float
    clients_cpu: float

    @property
    def holds(self) -> bool:
        """Everybody was there, all came back, and no word was harmed."""
        harmed = self.lost or self.doubled or self.misordered or self.foreign or self.errors
        return self.sessions == self.live == self.resumed and not harmed

    @property
    def clients_were_busy(self) -> bool:
        """Whether the clients took longer than they would have had to."""
        return self.clients_cpu > BUSY * self.resume_max


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sessions", type=positive, default=1000, help="at the same time (default 1000)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} sessions")
    parser.add_argument("--words", type=positive, default=10, help="words each says (default 10)")
    parser.add_argument("--talkers", type=positive, default=50, help="people who speak as much as all (default 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if somebody did not come back or a word was harmed."""
    sessions = QUICK if args.quick else args.sessions
    circumstances = results.circumstances("storm", args)
    storm = interruptible(_storm(sessions, args.words, args.talkers))
    _show(storm)
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(storm))
        results.write(args.json, result, {**msgspec.to_builtins(storm), "holds": storm.holds})
    return int(not storm.holds)


def figures_of(storm: Storm) -> dict[str, Figure]:
    """What can be compared with another run."""
    doubt = "the clients were the limit" if storm.clients_were_busy else ""
    times = ("resume_p50", "resume_p99", "resume_max", "server_cpu")
    return {
        **{name: Figure.of([getattr(storm, name)], "s", "lower", doubt) for name in times},
        "connects_per_second": Figure.of([storm.connects_per_second], "sessions/s", "higher", doubt),
        "resumed": Figure.of([storm.resumed], "sessions", "higher"),
        **{name: Figure.of([getattr(storm, name)], "words", "lower") for name in ("lost", "doubled", "undeclared")},
    }


async def _storm(sessions: int, words: int, talkers: int) -> Storm:
    allow_files(4 * sessions + 200)  # of a session: its client's end, both of the proxy's, and some to spare
    pace = SLOT_SECONDS * max(1.0, sessions / talkers)
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(sessions, words, Path(folder), partial(progress, "storm")) as stage:
            (riva,) = await stage.rivas(Plan())
            voxtree = await stage.voxtree(backend("primary", riva.port))
            proxy = await stage.proxy(voxtree.port)
            lasts = stage.seconds * pace / SLOT_SECONDS
            url, spread = f"ws://127.0.0.1:{proxy.port}/transcribe", sessions / OPENING
            patience = lasts + spread + PATIENCE
            async with stage.speech(url, spread=spread, chunk=SLOT_SECONDS, pace=pace, patience=patience):
                await asyncio.sleep(spread + CUT_AT * lasts)
                figures = await _cut(stage, voxtree, proxy)
            progress()
            return _account(stage, *figures)


async def _cut(stage: Stage, voxtree: Voxtree, proxy: Proxy) -> tuple[float, int, float, float]:
    """Cut everybody, and wait for the last: the time, the connected ones, the processor time of both sides."""
    live = sum(talk.began is not None and talk.failure is None for talk in stage.talks)
    server, clients, at = voxtree.process.cpu(), time.process_time(), time.monotonic()
    proxy.cut()
    for _ in range(round(PATIENCE / LOOK)):
        await asyncio.sleep(LOOK)
        if all(_is_over(talk, at) for talk in stage.talks):
            break
    return at, live, voxtree.process.cpu() - server, time.process_time() - clients


def _is_over(talk: Talk, cut: float) -> bool:
    return talk.failure is not None or resumption(talk, cut) is not None


def _account(stage: Stage, cut: float, live: int, server_cpu: float, clients_cpu: float) -> Storm:
    found = outcome("", "", stage.talks)
    took = [each for talk in stage.talks if (each := resumption(talk, cut)) is not None]
    last = percentile(took, 100) or 0.0
    return Storm(
        sessions=found.sessions,
        live=live,
        resumed=len(took),
        **{name: getattr(found, name) for name in ("sent", "lost", "doubled", "misordered", "undeclared", "foreign")},
        errors=found.errors,
        resume_p50=percentile(took, 50) or 0.0,
        resume_p99=percentile(took, 99) or 0.0,
        resume_max=last,
        connects_per_second=len(took) / last if last else 0.0,
        server_cpu=server_cpu,
        clients_cpu=clients_cpu,
    )


def _show(storm: Storm) -> None:
    rows = [
        ("connected, of which back", f"{storm.live}, {storm.resumed}"),
        ("until they were, p50", f"{storm.resume_p50:.3f} s"),
        ("p99", f"{storm.resume_p99:.3f} s"),
        ("the last", f"{storm.resume_max:.3f} s"),
        ("sessions resumed in a second", f"{storm.connects_per_second:.0f}"),
        ("processor time, server", f"{storm.server_cpu:.2f} s"),
        ("clients and proxy", f"{storm.clients_cpu:.2f} s"),
        ("words said", f"{storm.sent}"),
        ("lost, of which undeclared", f"{storm.lost}, {storm.undeclared}"),
        ("doubled, misordered, foreign", f"{storm.doubled}, {storm.misordered}, {storm.foreign}"),
        ("errors that clients saw", ", ".join(f"{code} × {n}" for code, n in storm.errors.items()) or "none"),
    ]
    print(f"\n{storm.sessions} sessions, all cut at once")
    print("\n".join(f"  {name:30} {value}" for name, value in rows))
    print("holds" if storm.holds else "FAILS")
    if storm.clients_were_busy:
        print("The clients had no time to spare: it is they who were measured, and the server may be faster.")
