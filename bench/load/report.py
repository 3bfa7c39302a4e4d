"""What clients say of some seconds, and whether to believe it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.load.histogram import Histogram

UP, INTERIM, FINAL = "to Riva", "interim", "final"  # stages
ANSWER_SECONDS = 0.1  # of audio that an answer stands for
IN_TIME = 1.0  # seconds; what is answered later has not been served
LATE = 0.01  # seconds by which 1 % of the frames may be sent late; beyond it the load does not keep to its schedule
BUSY = 0.9  # of a core, from which on a process has no time to spare


class Tally(msgspec.Struct, kw_only=True):
    """What one process of clients has counted.

    Attributes:
        seconds: it counted.
        sent: frames.
        delays: from when the frame that completed a tenth of a second was due until its answer came; of tenths that
            have waited for `IN_TIME` in vain, how long they have.
        late: from when a frame was due until it was sent.
        refusals: from dialling until a refusal was known.
        untold: refusals without a time to come back.
        unanswered: tenths that have waited in vain, see `delays`.
        gaps: how often audio was said to be lost.
        lost: connections that ended, or never were, without a word of why.
        open: sessions that are there.
        cpu: seconds of processor time.
        stages: parts of a delay, where the stand-in for Riva says when it had the audio.
    """

    seconds: float = 0.0
    sent: int = 0
    delays: Histogram = msgspec.field(default_factory=Histogram)
    late: Histogram = msgspec.field(default_factory=Histogram)
    refusals: Histogram = msgspec.field(default_factory=Histogram)
    untold: int = 0
    unanswered: int = 0
    gaps: int = 0
    lost: int = 0
    open: int = 0
    cpu: float = 0.0
    stages: dict[str, Histogram] = {}

    def staged(self, stage: str, seconds: float) -> None:
        """Count a part of a delay."""
        self.stages.setdefault(stage, Histogram()).add(seconds)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What all clients say of some seconds.

    Attributes:
        sent: frames.
        answers: how many came, or ought to have come `IN_TIME` ago.
        served: sessions that were served in time: seconds of audio answered within `IN_TIME`, a second.
        latency_p50, latency_p99: seconds from when the frame that completed a tenth of a second was due to the answer.
        late_p50, late_p99: seconds by which frames were sent too late: how far the load itself can be trusted.
        refused: attempts to get in; untold: … without a time to come back; refusal_p99: seconds until it was known.
        unanswered, gaps, lost, open: see `Tally`.
        cpu: seconds of processor time that the clients took; busiest: part of a core that one process took at most.
        stages: the median and the 99th percentile of each part of a delay, in seconds.
    """

    sent: int
    answers: int
    served: float
    latency_p50: float
    latency_p99: float
    late_p50: float
    late_p99: float
    refused: int
    untold: int
    refusal_p99: float
    unanswered: int
    gaps: int
    lost: int
    open: int
    cpu: float
    busiest: float
    stages: dict[str, tuple[float, float]] = {}

    @property
    def doubt(self) -> str:
        """Why the load may have been the limit; empty: it was not."""
        if self.busiest > BUSY:
            return f"a process of clients took {self.busiest:.0%} of a core: give the load more (--processes)"
        if self.late_p99 > LATE:
            return f"1 % of the frames were sent {1000 * self.late_p99:.0f} ms late or more: the machine has no room"
        return ""


def summed(tallies: Sequence[Tally]) -> Report:
    """What all of them say together.

    Raises:
        ValueError: there is none.
    """
    if not tallies:
        raise ValueError("there is nothing to add up: no process has reported")
    delays, late, refusals = Histogram(), Histogram(), Histogram()
    for tally in tallies:
        delays.merge(tally.delays)
        late.merge(tally.late)
        refusals.merge(tally.refusals)
    seconds = max(tally.seconds for tally in tallies)
    stages: dict[str, Histogram] = {}
    for tally in tallies:
        for name, histogram in tally.stages.items():
            stages.setdefault(name, Histogram()).merge(histogram)
    return Report(
        sent=sum(tally.sent for tally in tallies),
        answers=delays.total,
        served=sum(tally.delays.within(IN_TIME) * ANSWER_SECONDS / tally.seconds for tally in tallies),
        latency_p50=delays.percentile(50) or 0.0,
        latency_p99=delays.percentile(99) or 0.0,
        late_p50=late.percentile(50) or 0.0,
        late_p99=late.percentile(99) or 0.0,
        refused=refusals.total,
        untold=sum(tally.untold for tally in tallies),
        refusal_p99=refusals.percentile(99) or 0.0,
        unanswered=sum(tally.unanswered for tally in tallies),
        gaps=sum(tally.gaps for tally in tallies),
        lost=sum(tally.lost for tally in tallies),
        open=sum(tally.open for tally in tallies),
        cpu=sum(tally.cpu for tally in tallies),
        busiest=max(tally.cpu for tally in tallies) / seconds,
        stages={name: (each.percentile(50) or 0.0, each.percentile(99) or 0.0) for name, each in stages.items()},
    )
