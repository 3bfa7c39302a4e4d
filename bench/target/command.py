"""The command line of `python -m bench target`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bench.faults.command import interruptible, progress
from bench.load.clients import KEY
from bench.load.crowd import PROCESSES, Crowd
from bench.load.report import Report
from bench.results import Figure, Result, circumstances, header, table, write
from bench.target.consent import Consent, consent
from bench.target.outcome import HEADER, Outcome, outcome
from bench.target.probe import probe, require_scripted
from bench.target.speech import CHUNK_SECONDS, Script
from bench.target.strikes import BURST, STRIKES, Site
from transport.expected import ExpectedError

SESSIONS, SECONDS = 5, 10
MOST_SESSIONS, MOST_SECONDS = 100, 120
QUICK_SECONDS = 5
SETTLE = 1.0  # seconds of everybody's speech before anything counts


class NotAgreed(ExpectedError):
    """Nobody has agreed to this. The message says how to."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, type=_url, help="the endpoint: wss://HOST/transcribe, or ws://…")
    parser.add_argument("--key", default=os.environ.get(KEY), help=f"who we are, if it asks (default ${KEY})")
    parser.add_argument("--riva", metavar="HOST:PORT", help="of the scripted Riva that it uses: words are counted")
    parser.add_argument("--audio", type=Path, metavar="FILE", help="16-bit mono WAV at 16 kHz for a real recogniser")
    most = f"at most {MOST_SESSIONS}"
    parser.add_argument(
        "--sessions", type=_up_to(MOST_SESSIONS), default=SESSIONS, help=f"at once, {most} (default {SESSIONS})"
    )
    parser.add_argument(
        "--seconds", type=_up_to(MOST_SECONDS), default=SECONDS, help=f"of speech in each part (default {SECONDS})"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask, also if that is another machine")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS} s of speech in each part")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if a session failed, or words were lost or doubled; 2 if the endpoint cannot be measured."""
    if args.quick:
        args.seconds = QUICK_SECONDS
    about = circumstances("target", args)
    outcomes: list[Outcome] = []
    try:
        _agree(args)
        load = interruptible(_measure(args, outcomes))
    except ExpectedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    result = Result(**about, figures=figures(outcomes[0], load))
    print(f"\n{header(result)}\n\nundisturbed, and {args.sessions} sessions of load\n{table(result.figures)}")
    if not any(one.heard for one in outcomes):
        print("no transcript came: a real recogniser needs real speech, --audio FILE; a scripted one, --riva HOST:PORT")
    if args.json:
        write(args.json, result, {"outcomes": outcomes, "load": load})
    return int(any(one.verdict != "holds" for one in outcomes) or bool(load.lost))


def figures(undisturbed: Outcome, load: Report) -> dict[str, Figure]:
    """How soon it is when nothing happens, and under load."""
    found = {}
    for name, what in (("opened", "session open"), ("first", "first transcript"), ("last", "all told after the end")):
        for percent in ("p50", "p99"):
            if (seconds := getattr(undisturbed, f"{name}_{percent}")) is not None:
                found[f"{what}, {percent}"] = Figure.of([1000 * seconds], "ms", "lower")
    if load.answers:
        p50, p99 = 1000 * load.latency_p50, 1000 * load.latency_p99
        found["transcript behind its audio, p50"] = Figure.of([p50], "ms", "lower", load.doubt)
        found["transcript behind its audio, p99"] = Figure.of([p99], "ms", "lower", load.doubt)
    found["refused under load"] = Figure.of([load.refused], "", "lower")
    found["lost under load"] = Figure.of([load.lost], "", "lower")
    return found


def _agree(args: argparse.Namespace) -> None:
    """Begin only if somebody has said so."""
    host = urlsplit(args.url).hostname or ""
    parts = len(STRIKES) + 1
    plan = (
        f"{args.url}: up to {BURST * args.sessions} sessions at once, {parts} times for about {args.seconds} s, with "
        "dropped connections, slow readers and garbage"
    )
    match consent(host, yes=args.yes, interactive=sys.stdin.isatty()):
        case Consent.ASK if input(f"{plan}.\nDo that? [y/N] ").strip().lower() not in ("y", "yes"):
            raise NotAgreed("not done")
        case Consent.REFUSED:
            raise NotAgreed(f"{plan}.\nThat is another machine, and nobody is here to be asked: --yes")


async def _measure(args: argparse.Namespace, outcomes: list[Outcome]) -> Report:
    if args.riva is not None:
        await require_scripted(args.riva)
    script = Script(args.seconds, args.audio, counted=args.riva is not None)
    await probe(args.url, args.key)
    site = Site(args.url, args.key, script, args.sessions)
    print(HEADER, flush=True)
    for what, strike in STRIKES:
        progress("target", what)
        outcomes.append(outcome(what, await strike(site)))
        progress()
        print(outcomes[-1], flush=True)
    progress("target", "load")
    load = await _load(args, script)
    progress()
    return load


async def _load(args: argparse.Namespace, script: Script) -> Report:
    with tempfile.NamedTemporaryFile(suffix=".pcm") as file:
        file.write(script.next().pcm)
        file.flush()
        frame_ms = round(1000 * CHUNK_SECONDS)
        async with Crowd(
            args.url,
            frame_ms,
            processes=min(PROCESSES, args.sessions),
            reading="newest",
            audio=Path(file.name),
            key=args.key,
        ) as crowd:
            await crowd.add(args.sessions)
            await asyncio.sleep(SETTLE)
            return await crowd.measure(args.seconds)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"expected ws://HOST:PORT/transcribe or wss://…, got {text!r}")
    return text


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a number from 1 to {most}, got {text!r}")
        return int(text)

    return number
