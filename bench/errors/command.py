"""The command line of `python -m bench errors`."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from actors.speech.catalogue import CATALOGUE, Alert, Entry
from bench import results
from bench.errors.provoke import PROVOCATIONS, Unplayable
from bench.errors.scene import Scene
from bench.faults.command import interruptible, progress
from bench.results import Figure

SECRETS = (
    "canary",
    "nvapi-",
    "10.1.2.3",
    "Traceback (most",
    "/opt/",
    ".py",
    "voxtree-",
)  # in no client's message, nor metrics
_HEAD = ("code", "log", "times", "metric", "alert", "clients read", "close")


class Shown(msgspec.Struct, kw_only=True):
    """What one error led to.

    Attributes:
        level: of its log lines; empty: there was none.
        lines, counted: log lines of the handler, and what the metric says.
        injected: errors that were injected; None: it was provoked in another way.
        alert: what it was due, and what a sink of the built-in notifier was told.
        read: what clients read of it; empty: nothing, it is for operators.
        closes: the codes with which connections ended, or HTTP statuses.
        wrong: what is not as the catalogue says.
    """

    code: str
    level: str = ""
    lines: int = 0
    counted: int = 0
    injected: int | None = None
    alert: str = ""
    read: list[str] = []
    closes: list[int | None] = []
    wrong: list[str] = []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("codes", nargs="*", metavar="CODE", type=_code, help="some of them (default all)")
    parser.add_argument("--quick", action="store_true", help="changes nothing: all of them take some two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it to this file")


def run(args: argparse.Namespace) -> int:
    """Make each happen and print the table; status 1 if one is not as the catalogue says."""
    logging.getLogger().setLevel(logging.INFO)
    circumstances = results.circumstances("errors", args)
    shown = interruptible(_all(args.codes or [code for code in CATALOGUE if code in PROVOCATIONS]))
    if args.json:
        figures = {
            "shown": Figure.of([len(shown)], "errors", "higher"),
            "wrong": Figure.of([sum(bool(each.wrong) for each in shown)], "errors", "lower"),
        }
        results.write(args.json, results.Result(**circumstances, figures=figures), {"errors": shown})
    return int(any(each.wrong for each in shown))


async def show(code: str) -> Shown:
    """Make one error happen, and see what comes of it."""
    entry = CATALOGUE[code]
    async with Scene() as scene:
        try:
            await PROVOCATIONS[code](scene)
        except Unplayable as lack:
            return Shown(code=code, wrong=[f"not played: {lack}"])
        await asyncio.sleep(0)
    lines, told = scene.logged(code), scene.alerted(code)
    shown = Shown(
        code=code,
        level=", ".join(sorted({each.levelname for each in lines})),
        lines=len(lines),
        counted=scene.counted(code, entry.severity.value),
        injected=scene.injected or None,
        alert=entry.alert.value + (", told" if told else ""),
        read=sorted(scene.sentences(code)),
        closes=list(dict.fromkeys(scene.closes)),
    )
    shown.wrong = list(_wrong(entry, shown, scene))
    return shown


async def _all(codes: Iterable[str]) -> list[Shown]:
    print("| " + " | ".join(_HEAD) + " |\n" + "|---" * len(_HEAD) + "|", flush=True)
    shown = []
    for code in codes:
        progress("errors", code)
        shown.append(await show(code))
        progress()
        print(_row(shown[-1]), flush=True)
    return shown


def _wrong(entry: Entry, shown: Shown, scene: Scene) -> Iterable[str]:
    if not shown.lines:
        yield "it did not happen"
    if shown.lines and shown.level != logging.getLevelName(entry.severity.log_level):
        yield f"logged at {shown.level}"
    if shown.counted != shown.lines:
        yield f"{shown.lines} lines, counted {shown.counted}"
    if shown.injected is not None and entry.code != "SYS_001" and shown.injected != shown.counted:
        yield f"injected {shown.injected} times, counted {shown.counted}"
    if any(read != entry.message for read in shown.read):
        yield f"clients read {shown.read}"
    if entry.alert is Alert.PAGE and shown.lines and not scene.alerted(entry.code):
        yield "nobody was paged"
    if foreign := {getattr(each, "code", "") for each in scene.records} - {"", *CATALOGUE}:
        yield f"codes that nobody knows: {sorted(foreign)}"
    outside = "\n".join([*scene.told, scene.exposed, *map(str, scene.sink.bodies)])
    if leaked := [secret for secret in SECRETS if secret.lower() in outside.lower()]:
        yield f"told to the outside: {', '.join(leaked)}"


def _row(shown: Shown) -> str:
    closes = ", ".join(str(close) if close else "–" for close in shown.closes) or "–"
    cells = (
        shown.code, shown.level, str(shown.lines), str(shown.counted), shown.alert,
        "; ".join(shown.read) or "–", closes,
    )  # fmt: skip
    wrong = f" WRONG: {'; '.join(shown.wrong)}" if shown.wrong else ""
    return "| " + " | ".join(cells) + " |" + wrong


def _code(text: str) -> str:
    if text.upper() not in PROVOCATIONS:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be shown; there are {', '.join(sorted(PROVOCATIONS))}")
    return text.upper()
