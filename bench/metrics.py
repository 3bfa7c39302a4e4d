"""`metrics`: what seeing costs: the session core's work with each frame and result, and each look at what lives.

Side by side in one run, in turns, the median of several: a talking session's core with nobody listening, and with
everything that a server has listening (log, metrics, console). Per second of speech, at 50 frames of 20 ms, ten interim
results and a final every three seconds.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from actors.speech.backends.events import PoolState
from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import StreamLost
from actors.speech.messages import Audio, Committed, Heard, SessionMessage, StreamOpened
from actors.speech.ports import Recognised, RecognitionConfig, Tier, Word
from actors.speech.record import SessionRecord
from actors.speech.reports import Listener
from actors.speech.session_commands import Tell
from actors.speech.session_core import SessionCore
from bench import results
from bench.results import Figure
from transport.admin.chronicle import Chronicle
from transport.logs import JsonFormatter, Logging
from transport.metrics import Metrics, Sample
from transport.observers import Observers

RATE = 16_000
FRAME = bytes(2 * RATE // 50)
SECONDS = 60
ROUNDS, QUICK_ROUNDS = 9, 2
SESSIONS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="two rounds: does it run, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    circumstances = results.circumstances("metrics", args)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as a server does
    with _logging_to_nowhere():
        figures = _measure(QUICK_ROUNDS if args.quick else ROUNDS)
    print("\n".join(f"{name:45} {figure.value:9.2f} {figure.unit}" for name, figure in figures.items()))
    if args.json:
        results.write(args.json, results.Result(**circumstances, figures=figures))
    return 0


@contextmanager
def _logging_to_nowhere() -> Iterator[None]:
    """Lines are made as a server makes them, and not kept."""
    root = logging.getLogger()
    with open(os.devnull, "w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)


def _measure(rounds: int) -> dict[str, Figure]:
    registry = CollectorRegistry()
    metrics = Metrics(registry, lambda: _sample(0), store="memory")
    everybody = Observers([Logging(), metrics, Chronicle()]).session
    bare, seen = [], []
    for _ in range(rounds):
        bare.append(_speak(lambda report: None))
        seen.append(_speak(everybody))
    handler = ErrorHandler(registry, listener=metrics.error)
    sample = _sample(SESSIONS)
    return {
        "a second of speech, nobody listens": _micros(*bare),
        "with log, metrics and console": _micros(*seen),
        "ratio": Figure.of([new / old for new, old in zip(seen, bare, strict=True)], "", "lower"),
        "an error, handled": _micros(_each(lambda: handler.report(StreamLost("x"), ErrorContext(session_id="s")))),
        f"a look at {SESSIONS} sessions": _micros(_each(lambda: metrics.take(sample), 200)),
        "a scrape, in the admin port's thread": _micros(_each(lambda: generate_latest(registry), 20)),
    }


def _micros(*seconds: float) -> Figure:
    return Figure.of([1e6 * each for each in seconds], "µs", "lower")


def _speak(listener: Listener) -> float:
    """Seconds of processor time for a second of speech."""
    config = RecognitionConfig(sample_rate=RATE)
    core = SessionCore(SessionRecord("s", config, 60.0))

    def receive(message: SessionMessage, now: float) -> None:
        for command in core.receive(message, now):
            if isinstance(command, Tell):  # as its actor does; all else costs the same, whoever listens
                listener(command.report)

    core.begin(0.0)
    receive(StreamOpened(1, Tier.PRIMARY, False, "riva"), 0.0)
    position = seq = 0
    began = time.process_time()
    for frame in range(50 * SECONDS):
        now = frame / 50
        receive(Audio(FRAME, position), now)
        position += len(FRAME) // 2
        if frame % 5 == 4:
            receive(Heard(1, Recognised(is_final=False, text="some words", processed=position), position), now)
        if frame % 150 == 149:
            words = (Word("word", position - 8000, position - 1000, 1.0),)
            receive(Heard(1, Recognised(is_final=True, text="word", words=words, processed=position), position), now)
            seq += 1
            receive(Committed(seq), now)
    return (time.process_time() - began) / SECONDS


def _each(work: Callable[[], object], times: int = 5000) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def _sample(sessions: int) -> Sample:
    audio = {f"session-{number}": float(number) for number in range(sessions)}
    pool = PoolState((), waiting=0)
    return Sample(connected=sessions, waiting=0, connections=sessions, audio=audio, depth=0, unsent=0, pool=pool)
