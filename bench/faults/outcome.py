"""What a case came to: words counted, times, checks, and one line of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from bench.faults.recovery import delays, detection, percentile, recovery, switches
from bench.faults.talk import Talk
from bench.results import Figure
from bench.riva import Score, total


class Check(msgspec.Struct, frozen=True):
    """A figure that is to stay within a limit."""

    what: str
    value: float
    limit: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        sign = "≤" if self.holds else ">"
        return f"{self.what} {self.value:.4g} {sign} {self.limit:.4g} {self.unit}".rstrip()


class Strike(msgspec.Struct, frozen=True):
    """When a fault struck, and since when words could come again, by `time.monotonic`."""

    at: float
    since: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a case came to. Times are milliseconds; None: nothing was measured.

    Attributes:
        case, fault: which one.
        sessions: clients that spoke.
        sent, received, lost, declared, undeclared, doubled, misordered, foreign, moved: words, see `bench.riva.Score`.
        errors: what clients were told in error events, and why their connections ended early: how often each.
        recovered: sessions whose recovery was seen.
        recovery_…: from the fault to the first fresh transcript, over these sessions; see `bench.faults.recovery`.
        detection_…: from the fault until a client was told of it, over the sessions that were; without a number the
            99th percentile.
        delay_…: from a word's last sample having been sent until it was seen, over all words.
        switches: most changes of a session's source, forth and back.
        checks: figures against their limits.
        facts: other figures.
        details: rows of a table of its own, each `right` or not; those that are not are shown.
        allows_gaps: whether words may be lost if the client is told.
        not_yet: what the case should show and the product does not have.
        unplayable: what this machine lacks to play it; empty: nothing.
        trouble: why it could not be played to its end; empty: it was.
    """

    case: str
    fault: str
    sessions: int
    sent: int
    received: int
    lost: int
    declared: int
    undeclared: int
    doubled: int
    misordered: int
    foreign: int
    moved: int
    errors: dict[str, int]
    recovered: int
    recovery_p50_ms: float | None
    recovery_p99_ms: float | None
    recovery_max_ms: float | None
    detection_p50_ms: float | None
    detection_ms: float | None
    delay_p50_ms: float | None
    delay_p99_ms: float | None
    delay_max_ms: float | None
    switches: int
    checks: list[Check]
    facts: dict[str, float]
    details: list[dict[str, object]]
    not_yet: list[str]
    unplayable: str
    trouble: str
    allows_gaps: bool = False

    @property
    def is_sound(self) -> bool:
        """No word lost, doubled or out of place, and the case was played to its end."""
        return not (self.trouble or any(self._harmed().values()))

    @property
    def verdict(self) -> str:
        """`holds`; or `misses` and what; or `FAILS` and why."""
        if self.unplayable:
            return f"not played: {self.unplayable}"
        if self.trouble:
            return f"FAILS: {self.trouble.splitlines()[0]}"
        if not self.is_sound:
            return "FAILS: " + ", ".join(f"{words} {name}" for name, words in self._harmed().items() if words)
        missed = [str(check) for check in self.checks if not check.holds]
        return f"misses: {'; '.join(missed)}" if missed else "holds"

    def figures(self) -> dict[str, Figure]:
        """What can be compared with another run; times that were not measured are left out."""
        words = {name: Figure.of([getattr(self, name)], "words", "lower") for name in ("lost", "doubled", "undeclared")}
        times = {
            "recovery_p50": self.recovery_p50_ms,
            "recovery_p99": self.recovery_p99_ms,
            "detection_p99": self.detection_ms,
            "delay_p99": self.delay_p99_ms,
        }
        return words | {name: Figure.of([ms], "ms", "lower") for name, ms in times.items() if ms is not None}

    def _harmed(self) -> dict[str, int]:
        counted = ("lost", "doubled", "undeclared", "misordered", "foreign")
        return {name: getattr(self, name) for name in counted if not (name == "lost" and self.allows_gaps)}


def outcome(
    case: str,
    fault: str,
    talks: Sequence[Talk] = (),
    strike: Strike | Callable[[Talk], Strike | None] | None = None,
    *,
    checks: Iterable[Check] = (),
    facts: Mapping[str, float] = MappingProxyType({}),
    details: Iterable[dict[str, object]] = (),
    not_yet: Iterable[str] = (),
    unplayable: str = "",
    trouble: str = "",
    allows_gaps: bool = False,
) -> Outcome:
    """The account of some sessions. `strike`: of all of them, or of each."""
    score = total([_NOTHING, *(talk.ledger.score(talk.samples) for talk in talks)])
    struck = [(talk, strike(talk) if callable(strike) else strike) for talk in talks]
    recoveries = _known(recovery(talk, when.at, since=when.since) for talk, when in struck if when is not None)
    detections = _known(detection(talk, when.at) for talk, when in struck if when is not None)
    late = [delay for talk in talks for delay in delays(talk)]
    return Outcome(
        case=case,
        fault=fault,
        sessions=len(talks),
        **msgspec.structs.asdict(score),
        undeclared=score.undeclared,
        errors=dict(sorted(Counter(_errors(talks)).items())),
        recovered=len(recoveries),
        recovery_p50_ms=_ms(recoveries, 50),
        recovery_p99_ms=_ms(recoveries, 99),
        recovery_max_ms=_ms(recoveries, 100),
        detection_p50_ms=_ms(detections, 50),
        detection_ms=_ms(detections, 99),
        delay_p50_ms=_ms(late, 50),
        delay_p99_ms=_ms(late, 99),
        delay_max_ms=_ms(late, 100),
        switches=max(map(switches, talks), default=0),
        checks=list(checks),
        facts=dict(facts),
        details=list(details),
        not_yet=list(not_yet),
        unplayable=unplayable,
        trouble=trouble,
        allows_gaps=allows_gaps,
    )


_NOTHING = Score(**dict.fromkeys(Score.__struct_fields__, 0))


def _errors(talks: Iterable[Talk]) -> Iterable[str]:
    return (heard.code for talk in talks for heard in talk.heard if heard.event == "error")


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _ms(seconds: list[float], percent: float) -> float | None:
    value = percentile(seconds, percent)
    return None if value is None else round(1000 * value, 1)


# ---- the table

HEADER = (
    f"{'row':4} {'fault':44} {'sess.':>5} {'words':>6} {'lost':>5} {'doubled':>7} {'misord.':>7} {'decl.':>5}"
    f" {'undecl.':>7} {'errors':>6}  {'recovery p50/p99/max':>22} {'detected':>8} {'delay p99':>9}  verdict"
)


def line(outcome: Outcome) -> str:
    """The outcome in one line. Times are seconds."""
    times = "/".join(_seconds(ms) for ms in (outcome.recovery_p50_ms, outcome.recovery_p99_ms, outcome.recovery_max_ms))
    return (
        f"{outcome.case:4} {outcome.fault:44.44} {outcome.sessions:5} {outcome.sent:6} {outcome.lost:5}"
        f" {outcome.doubled:7} {outcome.misordered:7} {outcome.declared:5} {outcome.undeclared:7}"
        f" {sum(outcome.errors.values()):6}  {times:>22} {_seconds(outcome.detection_ms):>8}"
        f" {_seconds(outcome.delay_p99_ms):>9}  {outcome.verdict}"
    )


def notes(outcome: Outcome) -> list[str]:
    """What does not fit into the line."""
    return [
        *([outcome.trouble] if "\n" in outcome.trouble else []),
        *(", ".join(f"{name} {value}" for name, value in one.items()) for one in outcome.details if not one["right"]),
        *(f"{name}: {figure:.4g}" for name, figure in outcome.facts.items()),
        *(f"errors: {code} × {times}" for code, times in outcome.errors.items()),
        *(f"not yet: {what}" for what in outcome.not_yet),
    ]


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.3f}"
