"""One run held against another. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bench.results import Figure, Result, shown_value


class Change(msgspec.Struct, frozen=True):
    """A figure in both runs."""

    name: str
    before: Figure
    after: Figure

    @property
    def percent(self) -> float:
        """By how much it changed; infinite, from nothing to something."""
        old, new = self.before.value, self.after.value
        if old == new:
            return 0.0
        return 100 * (new - old) / abs(old) if old else math.copysign(math.inf, new)

    @property
    def worse_by(self) -> float:
        """Percent by which it is worse; below zero: better."""
        return self.percent if self.after.better == "lower" else -self.percent

    @property
    def is_beyond_spread(self) -> bool:
        """Whether the rounds of both runs have no value in common."""
        one, other = self.before.values, self.after.values
        return max(one) < min(other) or max(other) < min(one)

    @property
    def is_trusted(self) -> bool:
        return not (self.before.doubt or self.after.doubt)

    def is_worse(self, tolerance: float = 0.0) -> bool:
        """By more than so many percent, more than by chance, and in figures to be trusted."""
        return self.worse_by > tolerance and self.is_beyond_spread and self.is_trusted


def changes(before: Result, after: Result) -> list[Change]:
    """The figures that both have."""
    shared = (name for name in after.figures if name in before.figures)
    return [Change(name, before.figures[name], after.figures[name]) for name in shared]


def table(before: Mapping[str, Result], after: Mapping[str, Result], tolerance: float) -> str:
    """All there is to see. `tolerance`: percent; what is worse by more is marked twice."""
    return "\n".join(line for name in after for line in _scenario(name, before.get(name), after[name], tolerance))


def worse(before: Mapping[str, Result], after: Mapping[str, Result], tolerance: float) -> list[str]:
    """The figures that got worse by more than so many percent, as `scenario: figure`."""
    return [
        f"{name}: {change.name}"
        for name in after
        if name in before
        for change in changes(before[name], after[name])
        if change.is_worse(tolerance)
    ]


def _scenario(name: str, before: Result | None, after: Result, tolerance: float) -> Iterator[str]:
    if before is None:
        yield f"{name}: not in the baseline\n"
        return
    found = changes(before, after)
    width = max([len(change.name) for change in found] + [len(name)])
    yield f"{name:{width}}{'before':>14}{'after':>14}{'change':>10}   {before.date} → {after.date}"
    yield from _differences(before, after)
    yield from (_line(change, width, tolerance) for change in found)
    for title, missing in (
        ("only before", before.figures.keys() - after.figures.keys()),
        ("only after", after.figures.keys() - before.figures.keys()),
    ):
        if missing:
            yield f"  {title}: {', '.join(sorted(missing))}"
    yield ""


def _differences(before: Result, after: Result) -> Iterator[str]:
    """What was not the same in both runs, so that figures may differ for another reason."""
    for title, one, other in (
        ("another machine", before.machine, after.machine),
        ("other versions", before.versions, after.versions),
        ("other arguments", before.arguments, after.arguments),
    ):
        if moved := [f"{key} {one.get(key)} → {other.get(key)}" for key in other if one.get(key) != other.get(key)]:
            yield f"  {title}: {', '.join(moved)}"


def _line(change: Change, width: int, tolerance: float) -> str:
    marks = {
        "": True,
        "better": change.worse_by < 0 and change.is_beyond_spread,
        "worse": change.is_worse(),
        f"WORSE by more than {tolerance:g} %": change.is_worse(tolerance),
        "not to be trusted": not change.is_trusted,
    }
    mark = [text for text, holds in marks.items() if holds][-1]
    cells = f"{shown_value(change.before.value):>14}{shown_value(change.after.value):>14}{_percent(change.percent):>10}"
    return f"{change.name:{width}}{cells}   {change.after.unit:14} {mark}".rstrip()


def _percent(value: float) -> str:
    return f"{value:+.1f} %" if math.isfinite(value) else "from 0"


def summary(worse: Sequence[str], tolerance: float) -> str:
    """The last line."""
    if not worse:
        return f"nothing got worse by more than {tolerance:g} %"
    return f"worse by more than {tolerance:g} %: {'; '.join(worse)}"
