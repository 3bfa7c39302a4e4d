"""What a scripted Riva has seen and done."""

from __future__ import annotations

from collections import Counter

import msgspec

from bench.riva.plan import Plan
from bench.riva.script import Script


class Fired(msgspec.Struct, frozen=True):
    """How often a fault of the plan has happened."""

    action: str
    times: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Since the server's start.

    Attributes:
        seconds: that it has run.
        questions: how often it was asked for its models.
        opened: streams.
        served, waiting: of these, how many are running, and how many wait for their turn.
        ended: streams by gRPC status; those that the client left, or the server's end took along, are CANCELLED.
        audio_seconds, words, scraps: heard on all streams; replayed ones count each time.
        responses, finals: sent.
        faults: of the plan, in its order.
    """

    seconds: float
    questions: int
    opened: int
    served: int
    waiting: int
    ended: dict[str, int]
    audio_seconds: float
    words: int
    scraps: int
    responses: int
    finals: int
    faults: tuple[Fired, ...]


class Counts:
    """The counting, while it goes on. Its attributes are the `Report`'s."""

    def __init__(self) -> None:
        self.questions = self.opened = self.served = self.words = self.scraps = self.responses = self.finals = 0
        self.audio_seconds = 0.0
        self.ended: Counter[str] = Counter()

    def report(self, plan: Plan, script: Script, seconds: float) -> Report:
        names = [str(fault.__struct_config__.tag) for fault in plan.faults]
        return Report(
            seconds=round(seconds, 3),
            questions=self.questions,
            opened=self.opened,
            served=self.served,
            waiting=self.opened - self.served - self.ended.total(),
            ended=dict(sorted(self.ended.items())),
            audio_seconds=round(self.audio_seconds, 3),
            words=self.words,
            scraps=self.scraps,
            responses=self.responses,
            finals=self.finals,
            faults=tuple(map(Fired, names, script.fired)),
        )
