"""`all`: every scenario, one after another, each in a process of its own; its figures and its table go to a folder.

DIR/SCENARIO.json holds the figures, DIR/SCENARIO.txt what was shown. `python -m bench report DIR` makes a page of them,
`python -m bench report DIR --against DIR` holds them against another run's.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.__main__ import SCENARIOS
from bench.faults.command import progress
from bench.rounds import ROOT
from transport.expected import ExpectedError

NOT_MEASURED_HERE = ("all", "report", "riva", "target")  # these are means, or for somebody else's server
OF_SPEECH = ("wer", "cache", "live")  # take a folder of recordings
TICK = 1.0  # seconds between two looks
END_SECONDS = 30.0  # for a scenario to leave nothing behind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="each in less than 4 minutes: does it run, not how fast")
    parser.add_argument(
        "--json-folder", type=Path, default=ROOT / "build" / "bench", metavar="DIR", help="(default build/bench)"
    )
    parser.add_argument(
        "--only", action="append", metavar="SCENARIO", choices=runnable(), help="this one; may be repeated"
    )
    parser.add_argument("--speech", type=Path, metavar="DIR", help=f"recordings, for {', '.join(OF_SPEECH)}")


def runnable() -> list[str]:
    """The scenarios that are run, in order."""
    return [name for name in SCENARIOS if name not in NOT_MEASURED_HERE]


def command(name: str, folder: Path, *, quick: bool, speech: Path | None) -> list[str] | None:
    """What runs a scenario; None: it needs recordings, and there are none."""
    if name in OF_SPEECH and speech is None:
        return None
    recordings = [str(speech)] if name in OF_SPEECH else []
    options = ["--quick"] if quick else []
    return [sys.executable, "-m", "bench", name, *recordings, *options, "--json", str(folder / f"{name}.json")]


def run(args: argparse.Namespace) -> int:
    """Run them; status 1 if one did not end well."""
    folder: Path = args.json_folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExpectedError(f"{folder} cannot be written: {error}; --json-folder names another folder") from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the scenario that runs is ended, too
    names = args.only or runnable()
    failed: list[str] = []
    for number, name in enumerate(names, 1):
        words = command(name, folder, quick=args.quick, speech=args.speech and args.speech.absolute())
        if words is None:
            print(f"{name:12} not run: needs recordings (--speech DIR)", flush=True)
            continue
        began = time.monotonic()
        status = _ran(words, folder / f"{name}.txt", f"{number} of {len(names)}: {name}")
        verdict = "ok" if status == 0 else f"status {status}: {_last_line(folder / f'{name}.txt')}"
        failed += [name] if status else []
        print(f"{name:12} {_minutes(time.monotonic() - began)}  {verdict}", flush=True)
    print(f"\nfigures and tables: {folder}" + (f"; not well: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


def _ran(words: Sequence[str], text: Path, title: str) -> int:
    """Run a scenario, its output to a file: its exit status."""
    began = time.monotonic()
    with text.open("w") as output:
        process = subprocess.Popen(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            while True:
                progress(title, _minutes(time.monotonic() - began))
                try:
                    return process.wait(TICK)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            progress()
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
