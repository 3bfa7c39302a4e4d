"""`voxtree alerts test`: send an alert that is none to every sink, and its end, and say what each answered."""

from __future__ import annotations

import argparse
import time

import anyio

from transport.alerts.making import make_dialects
from transport.alerts.notices import Key, Kind, Notice, Phase
from transport.alerts.notifier import host_of
from transport.alerts.port import Dialect, Unreachable, Verdict, verdict
from transport.alerts.posting import Poster
from transport.cli.common import add_settings_arguments, loaded_settings
from transport.expected import ExpectedError
from transport.settings import AlertSink, Settings

FAILED = 1  # exit code
CODE, COMPONENT = "ALERT_001", "voxtree alerts test"  # no server makes an alert of this code


class NoSinks(ExpectedError):
    """There is nobody to tell."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    test = actions.add_parser(
        "test",
        help="send a test alert, and its end, to every sink",
        description="Send a test alert, and that it is over, to every sink of [alerts], and say what each answered.",
    )
    add_settings_arguments(test)


def run(args: argparse.Namespace) -> int:
    settings = loaded_settings(args).settings
    if not settings.alerts.sinks:
        raise NoSinks("there are no sinks in [alerts]; docs/operations.md tells how to add one")
    answers = anyio.run(_test, settings)
    return FAILED if any(answer is not Verdict.DELIVERED for answer in answers) else 0


async def _test(settings: Settings) -> list[Verdict]:
    """All of them, one after the other; whether each was told."""
    dialects = make_dialects(settings.alerts)
    key = Key(host_of(settings.alerts), CODE, COMPONENT)
    return [
        await _told(sink, dialect, key, phase)
        for sink, dialect in zip(settings.alerts.sinks, dialects, strict=True)
        for phase in Phase
    ]


async def _told(sink: AlertSink, dialect: Dialect, key: Key, phase: Phase) -> Verdict:
    now = time.time()
    notice = Notice(key=key, kind=Kind.ERROR, phase=phase, times=1, age=0.0, when=now)
    what = f"{sink.name} ({sink.type}), {phase.value}"
    try:
        answer = await Poster(sink.timeout).post(dialect.request([notice], now))
    except Unreachable as why:
        print(f"FAIL  {what}: {why}", flush=True)
        return Verdict.AGAIN
    found = verdict(answer)
    print(f"{'ok' if found is Verdict.DELIVERED else 'FAIL':<4}  {what}: it answered {answer.status}", flush=True)
    return found
