"""The command line of `python -m bench faults`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench import results
from bench.faults.outcome import HEADER, Check, Outcome, line, notes, outcome
from bench.faults.rows import CASES, Case
from bench.faults.stage import Stage, Unplayable
from bench.results import Figure
from transport.expected import ExpectedError

QUICK = ("1", "2", "4b", "8", "9a", "11a", "13a", "17", "20a", "23a")  # one of each kind
QUICK_SESSIONS, QUICK_WORDS = 10, 20
LIMIT = 300.0  # seconds for a case besides its speech; only a hang gets there
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cases", nargs="*", metavar="ROW", type=_chosen, help="rows or cases, as in 1 4b (default all)")
    parser.add_argument("--sessions", type=positive, default=100, help="clients at the same time (default 100)")
    parser.add_argument("--words", type=positive, default=100, help="words each of them says (default 100)")
    parser.add_argument(
        "--quick", action="store_true", help="a case of each kind, few clients and words: does it work?"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--list", action="store_true", help="list the rows and end")


def run(args: argparse.Namespace) -> int:
    """Play the cases; status 1 if words were harmed in one, or one could not be played to its end."""
    chosen: Sequence[Case] = [case for cases in args.cases for case in cases]
    chosen = chosen or [case for case in CASES if not args.quick or case.name in QUICK]
    if args.list:
        print("\n".join(f"{case.name:4} {case.fault}" for case in chosen))
        return 0
    sessions, words = args.sessions, args.words
    if args.quick:
        sessions, words = min(QUICK_SESSIONS, sessions), min(QUICK_WORDS, words)
    outcomes: list[Outcome] = []
    called = argparse.Namespace(**{**vars(args), "cases": [case.name for case in chosen]})
    circumstances = results.circumstances("faults", called)
    try:
        interruptible(_play_all(chosen, sessions, words, outcomes))
    finally:
        if args.json:
            result = results.Result(**circumstances, figures=figures_of(outcomes))
            cases = [msgspec.to_builtins(one) | {"verdict": one.verdict} for one in outcomes]
            results.write(args.json, result, {"cases": cases})
    return int(not all(one.is_sound for one in outcomes))


async def play(case: Case, sessions: int, words: int, tell: Callable[[str], None] = lambda line: None) -> Outcome:
    """Play one case with processes of its own, of which none is left behind."""
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        stage = Stage(sessions, words, Path(folder), tell)
        trouble = unplayable = ""
        try:
            async with stage, asyncio.timeout(LIMIT + 4 * stage.seconds):
                await case.play(stage)
        except Unplayable as lack:
            unplayable = str(lack)
        except TimeoutError:
            trouble = "was not over in time"
        except ExpectedError as failed:
            trouble = str(failed)
    return _judged(case, stage, unplayable, trouble)


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; SIGTERM cancels it as Ctrl-C does, so that it leaves no process behind."""

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def progress(*texts: str) -> None:
    """Show what goes on, in a terminal's last line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{': '.join(texts)}", end="", file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """A number of an option."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


async def _play_all(cases: Sequence[Case], sessions: int, words: int, outcomes: list[Outcome]) -> None:
    print(HEADER, flush=True)
    for case in cases:
        outcomes.append(await play(case, sessions, words, partial(progress, case.name)))
        progress()
        print("\n".join([line(outcomes[-1]), *(f"{'':5}{note}" for note in notes(outcomes[-1]))]), flush=True)


def _judged(case: Case, stage: Stage, unplayable: str, trouble: str) -> Outcome:
    """The outcome, with checks for the case's own limits."""
    found = outcome(
        case.name,
        case.fault,
        stage.talks,
        stage.strike,
        checks=stage.checks,
        facts=stage.facts,
        details=stage.details,
        not_yet=stage.not_yet,
        unplayable=unplayable,
        trouble=trouble,
        allows_gaps=case.allows_gaps,
    )
    limits = [
        Check(what, value, 1000 * limit, "ms")
        for what, value, limit in (
            ("recovery p99", found.recovery_p99_ms, case.recovery),
            ("detection", found.detection_ms, case.detection),
        )
        if limit is not None and value is not None
    ]
    if case.recovery is not None:
        limits.append(Check("sessions whose recovery was not seen", found.sessions - found.recovered, 0))
    return msgspec.structs.replace(found, checks=[*limits, *found.checks])


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """Words over all cases, and by `case.figure` what each came to."""
    played = [one for one in outcomes if not one.unplayable]
    found: dict[str, Figure] = {}
    if played:
        for name in ("lost", "doubled", "undeclared"):
            found[name] = Figure.of([sum(getattr(one, name) for one in played)], "words", "lower")
    for one in played:
        found |= {f"{one.case}.{name}": figure for name, figure in one.figures().items()}
    return found


def _chosen(text: str) -> list[Case]:
    chosen = [case for case in CASES if text in (case.name, case.row)]
    if not chosen:
        rows = ", ".join(dict.fromkeys(case.row for case in CASES))
        raise argparse.ArgumentTypeError(f"there is no row {text!r}; there are {rows}")
    return chosen
