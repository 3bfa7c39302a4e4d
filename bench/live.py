"""`live`: sessions at real-time pace; how long after the end of speech the finals come, and who was refused.

Each session streams recordings of the folder in 100 ms messages, each followed by 1.5 s of silence. They begin within
five seconds, since people do not begin to speak in step, and then run at the same time. A final's latency runs from
the moment the end of its last word was due to be sent until the final arrived. Where somebody speaks on without a
pause for 15 s the recogniser cuts; such a final ends no speech, so it is counted but its latency is not. Words are
compared with the manifest and with what the bare engine makes of the same recordings, so a lost word would show.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
from pathlib import Path

import msgspec

from bench import results
from bench.results import Figure
from bench.scoring import bare_transcripts, word_error_rate
from bench.speech import Speech, load
from bench.streaming import Heard, server, stream
from transport.client import SessionFailed

TRAILING_SILENCE = 1.5  # seconds, so that the last utterance ends by itself
SPREAD = 5.0  # seconds over which the sessions begin
PAUSE = 0.5  # seconds; with less between a final and the next word, nobody had stopped speaking


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in seconds, word error rates in percent."""

    sessions: int
    streamed: int
    refused: int
    refusals: list[str]
    finals: int
    cuts: int
    latency_p50: float
    latency_p95: float
    latency_max: float
    wer: float
    wer_bare: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a folder with manifest.jsonl and the WAV files it names")
    parser.add_argument("--sessions", type=int, default=8, help="sessions at the same time (default 8)")
    parser.add_argument("--rounds", type=int, default=4, help="recordings each session streams in turn (default 4)")
    parser.add_argument("--quick", action="store_true", help="one recording for each session")
    parser.add_argument("--json", type=Path, help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure."""
    circumstances = results.circumstances("live", args)
    rounds = 1 if args.quick else args.rounds
    report = asyncio.run(_Load(load(args.folder), args.sessions, rounds).measure())
    print(
        f"\n{report.sessions} sessions at once, {report.streamed} recordings streamed in real time\n"
        f"  sessions refused, told so    {report.refused} {' '.join(report.refusals)}\n"
        f"  finals at the end of speech  {report.finals - report.cuts}, and {report.cuts} cut in running speech\n"
        f"  end of speech to final, p50  {report.latency_p50:.3f} s\n"
        f"                          p95  {report.latency_p95:.3f} s\n"
        f"                          max  {report.latency_max:.3f} s\n"
        f"  word error rate              {report.wer:.2f} %\n"
        f"  the same, bare engine        {report.wer_bare:.2f} %"
    )
    if args.json:
        figures = {name: Figure.of([getattr(report, name)], unit, "lower") for name, unit in _UNITS.items()}
        results.write(args.json, results.Result(**circumstances, figures=figures), msgspec.to_builtins(report))
    return 0


_UNITS = {
    "latency_p50": "s",
    "latency_p95": "s",
    "latency_max": "s",
    "refused": "sessions",
    "wer": "%",
    "wer_bare": "%",
}


class _Load:
    """Some sessions, each streaming some recordings one after another."""

    def __init__(self, speech: list[Speech], sessions: int, rounds: int) -> None:
        self._speech = speech
        self._sessions = sessions
        self._rounds = rounds
        self._heard: list[tuple[Speech, list[Heard]]] = []
        self._refused: list[str] = []

    async def measure(self) -> Report:
        async with server() as app, asyncio.TaskGroup() as tasks:
            for number in range(self._sessions):
                tasks.create_task(self._session(app.url, number))
        return self._report()

    async def _session(self, url: str, number: int) -> None:
        await asyncio.sleep(random.Random(number).uniform(0, SPREAD))
        for turn in range(self._rounds):
            recording = self._speech[(number + turn * self._sessions) % len(self._speech)]
            try:
                finals = await stream(url, recording, realtime=True, trailing_silence=TRAILING_SILENCE)
            except SessionFailed as error:
                self._refused.append(error.code or str(error))
                return
            self._heard.append((recording, finals))
            if sys.stderr.isatty():
                done, all_of_them = len(self._heard), self._sessions * self._rounds
                print(f"\r{done} of {all_of_them} streamed", end="", file=sys.stderr, flush=True)

    def _report(self) -> Report:
        recordings = [recording for recording, _ in self._heard]
        finals = [final for _, heard in self._heard for final in heard]
        latencies = sorted(
            final.arrived - final.end for _, heard in self._heard for final in _at_the_end_of_speech(heard)
        )
        streamed = [" ".join(final.text for final in heard) for _, heard in self._heard]
        said = [recording.text for recording in recordings]
        return Report(
            sessions=self._sessions,
            streamed=len(recordings),
            refused=len(self._refused),
            refusals=sorted(set(self._refused)),
            finals=len(finals),
            cuts=len(finals) - len(latencies),
            latency_p50=statistics.median(latencies),
            latency_p95=latencies[round(0.95 * (len(latencies) - 1))],
            latency_max=latencies[-1],
            wer=word_error_rate(zip(said, streamed, strict=True)),
            wer_bare=word_error_rate(zip(said, bare_transcripts(recordings), strict=True)),
        )


def _at_the_end_of_speech(finals: list[Heard]) -> list[Heard]:
    """The finals after which there was a pause, or nothing more."""
    after = [final.start for final in finals[1:]] + [float("inf")]
    return [final for final, next_start in zip(finals, after, strict=True) if next_start - final.end >= PAUSE]
