"""`wer`: word error rate over a folder of recordings, through the whole path and by the bare engine.

Every recording is streamed over a WebSocket to a server of our own (session actor, gRPC, recogniser process), as fast
as the server takes it or in real time; the bare engine is handed the same samples directly in this process. Both texts
are compared with the manifest after lower-casing, spelling numbers out, and dropping punctuation, um and uh.
With `--kill` the recogniser process is killed whenever it has been ready for a while: the rate should not show it.
Audio is then sent in real time, so that the kills fall into it; a run in which none did shows nothing, and its exit
status is 1. Nothing is killed once all is spoken: on a machine too slow to recognise between two kills, a run would
have no end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bench import results
from bench.results import Figure
from bench.scoring import bare_transcripts, word_error_rate
from bench.speech import Speech, load
from bench.streaming import server, transcript_of
from transport.app import App

QUICK = 8  # recordings
LOOK = 0.05  # seconds between two looks at whether the recogniser is ready


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a folder with manifest.jsonl and the WAV files it names")
    parser.add_argument("--sessions", type=int, default=4, help="recordings streamed at the same time (default 4)")
    parser.add_argument("--realtime", action="store_true", help="send audio at the pace it was spoken")
    parser.add_argument(
        "--kill",
        type=float,
        metavar="SECONDS",
        help="kill the recogniser process whenever it has been ready for so long; implies --realtime",
    )
    parser.add_argument("--quick", action="store_true", help="the first 8 recordings only")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if the recogniser was to be killed, and never was in mid-stream."""
    circumstances = results.circumstances("wer", args)
    speech = load(args.folder)[: QUICK if args.quick else None]
    began = time.perf_counter()
    kills: list[int] = []
    realtime = args.realtime or args.kill is not None
    streamed = asyncio.run(_streamed(speech, args.sessions, realtime, args.kill, kills))
    streamed_seconds = time.perf_counter() - began
    began = time.perf_counter()
    bare = bare_transcripts(speech)
    bare_seconds = time.perf_counter() - began
    report = {
        "recordings": len(speech),
        "audio_seconds": round(sum(one.seconds for one in speech), 1),
        "wer_streamed": _rate(speech, streamed),
        "wer_bare": _rate(speech, bare),
        "kills": len(kills),
        "recordings_hit": sum(kills),
        "streamed_seconds": round(streamed_seconds, 1),
        "bare_seconds": round(bare_seconds, 1),
    }
    _print_table(speech, streamed, bare, report)
    if args.json:
        units = {"wer_streamed": "%", "wer_bare": "%", "streamed_seconds": "s", "bare_seconds": "s"}
        figures = {name: Figure.of([report[name]], unit, "lower") for name, unit in units.items()}
        results.write(args.json, results.Result(**circumstances, figures=figures), report)
    return int(args.kill is not None and not any(kills))


async def _streamed(
    speech: list[Speech], sessions: int, realtime: bool, kill_every: float | None, kills: list[int]
) -> list[str]:
    places = asyncio.Semaphore(sessions)
    texts: dict[int, str] = {}
    spoken_at: dict[int, float] = {}  # when a recording that was begun will have been said

    async def one(index: int, url: str) -> None:
        async with places:
            spoken_at[index] = time.perf_counter() + speech[index].seconds
            texts[index] = await transcript_of(url, speech[index], realtime=realtime)
        if sys.stderr.isatty():
            print(f"\r{len(texts)} of {len(speech)} streamed", end="", file=sys.stderr, flush=True)

    async with server() as app:
        killing = None if kill_every is None else asyncio.create_task(_kill(app, kill_every, spoken_at, kills))
        async with asyncio.TaskGroup() as tasks:
            for index in range(len(speech)):
                tasks.create_task(one(index, app.url))
        if killing is not None:
            killing.cancel()
    return [texts[index] for index in range(len(speech))]


async def _kill(app: App, every: float, spoken_at: Mapping[int, float], kills: list[int]) -> None:
    """Kill the recogniser process whenever it has been ready for a while. `kills`: how many recordings each one hit."""
    assert app.embedded is not None
    known, since = None, 0.0
    while True:
        await asyncio.sleep(LOOK)
        now = time.perf_counter()
        pid = app.embedded.pid if app.embedded.ready is not None else None
        if pid != known:
            known, since = pid, now
        elif pid is not None and now - since >= every and (hit := sum(now < end for end in spoken_at.values())):
            kills.append(hit)
            os.kill(pid, signal.SIGKILL)
            since = now


def _rate(speech: list[Speech], texts: list[str]) -> float:
    return word_error_rate(zip((one.text for one in speech), texts, strict=True))


def _print_table(speech: list[Speech], streamed: list[str], bare: list[str], report: dict[str, float]) -> None:
    print(f"\n{'recording':28} {'seconds':>8} {'streamed %':>11} {'bare %':>8}")
    for one, ours, theirs in zip(speech, streamed, bare, strict=True):
        rates = _rate([one], [ours]), _rate([one], [theirs])
        print(f"{one.name:28} {one.seconds:8.1f} {rates[0]:11.1f} {rates[1]:8.1f}")
    print(
        f"\nword error rate over {report['recordings']} recordings, {report['audio_seconds']} s of speech\n"
        f"  whole path, streamed  {report['wer_streamed']:6.2f} %   ({report['streamed_seconds']} s;"
        f" recogniser killed {report['kills']} times, in mid-stream of {report['recordings_hit']} recordings)\n"
        f"  bare engine           {report['wer_bare']:6.2f} %   ({report['bare_seconds']} s)\n"
        f"  difference            {report['wer_streamed'] - report['wer_bare']:+6.2f} points"
    )
