"""What came of the callers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from bench.faults.recovery import percentile
from bench.riva import total
from bench.target.caller import Caller

BUSY = "CONN_005"
HEADER = "what                  sessions  done  refused  failed  resumed  gaps  words  lost  doubled  verdict"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of some callers. Times are seconds; None: nothing was measured.

    Attributes:
        done: were told all; refused: were told that there is no room, and when to come back; failures: by reason.
        resumed: how often a session was had again; gaps: how often audio was said to be lost.
        heard: callers that got a transcript with words.
        sent, lost, doubled, harmed: words; `harmed`: out of order, or of another session. None: not counted.
        opened_…: until a session was there; first_…: from the beginning of speech to the first transcript; last_…: from
            the end of speech until all was told.
    """

    what: str
    sessions: int
    done: int
    refused: int
    failures: dict[str, int]
    resumed: int
    gaps: int
    heard: int
    sent: int | None
    lost: int | None
    doubled: int | None
    harmed: int | None
    opened_p50: float | None
    opened_p99: float | None
    first_p50: float | None
    first_p99: float | None
    last_p50: float | None
    last_p99: float | None

    @property
    def verdict(self) -> str:
        """`holds`, or why not."""
        wrong = [f"{reason} × {times}" for reason, times in self.failures.items()]
        words = (("lost", self.lost), ("doubled", self.doubled), ("out of place", self.harmed))
        wrong += [f"{count} words {name}" for name, count in words if count]
        if self.sent is None and self.gaps:
            wrong.append(f"{self.gaps} gaps")
        return f"FAILS: {', '.join(wrong)}" if wrong else "holds"

    def __str__(self) -> str:
        words = "".join(f"{'–' if count is None else str(count):>{width}}" for count, width in self._words())
        return (
            f"{self.what:20} {self.sessions:9} {self.done:5} {self.refused:8} {sum(self.failures.values()):7}"
            f" {self.resumed:8} {self.gaps:5} {words}  {self.verdict}"
        )

    def _words(self) -> Sequence[tuple[int | None, int]]:
        return ((self.sent, 6), (self.lost, 6), (self.doubled, 9))


def outcome(what: str, callers: Sequence[Caller]) -> Outcome:
    """The account of some callers."""
    refused = [caller for caller in callers if caller.failure == BUSY and caller.retry_after is not None]
    failed = [caller.failure for caller in callers if caller.failure is not None and caller not in refused]
    scores = [caller.ledger.score(caller.position) for caller in callers if caller.ledger and caller.opened is not None]
    score = total(scores) if scores else None
    times = {
        f"{name}_p{percent}": percentile(_known(getattr(caller, name) for caller in callers), percent)
        for name in ("opened", "first", "last")
        for percent in (50, 99)
    }
    return Outcome(
        what=what,
        sessions=len(callers),
        done=sum(caller.failure is None for caller in callers),
        refused=len(refused),
        failures=dict(Counter(failed)),
        resumed=sum(caller.resumed for caller in callers),
        gaps=sum(caller.gaps for caller in callers),
        heard=sum(caller.first is not None for caller in callers),
        sent=None if score is None else score.sent,
        lost=None if score is None else score.lost,
        doubled=None if score is None else score.doubled,
        harmed=None if score is None else score.misordered + score.foreign,
        **times,
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
