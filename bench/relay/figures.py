"""What is measured, and how it is shown. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bench.load.report import Report
from bench.results import Figure


class Contender(msgspec.Struct, frozen=True):
    """What relays. `options`: of the bare relay; None: it is voxtree."""

    name: str
    options: tuple[str, ...] | None = None


class Load(msgspec.Struct, frozen=True):
    """So many sessions that send frames of so many milliseconds."""

    frame_ms: int
    sessions: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One contender under one load in one round.

    Attributes:
        seconds: it took.
        cpu, riva_cpu: seconds of processor time that the gateway took, and the stand-in for Riva.
        memory: bytes of the gateway that were in memory; idle_memory: … before the sessions began.
        heard: what the clients report.
    """

    contender: str
    load: Load
    seconds: float
    cpu: float
    riva_cpu: float
    memory: int
    idle_memory: int
    heard: Report

    @property
    def cost(self) -> float:
        """Microseconds of the gateway's processor time for a frame."""
        return 1e6 * self.cpu / self.heard.sent

    @property
    def memory_per_session(self) -> float:
        """KiB by which the gateway grew for each session."""
        return (self.memory - self.idle_memory) / self.load.sessions / 1024


BARE = Contender("bare relay", ())
BARE_UVLOOP = Contender("bare relay, uvloop", ("--loop", "uvloop"))
VOXTREE = Contender("voxtree")
GATHERING = "gathering relay"


def contenders(loop: str) -> tuple[Contender, ...]:
    """All of them. `loop`: the one that voxtree runs on."""
    return (BARE, BARE_UVLOOP, Contender(GATHERING, ("--gather", "--loop", loop)), VOXTREE)


def ratios(figures: Sequence[Figures]) -> Mapping[str, float | None]:
    """How the costs compare; None: it was not measured."""

    def ratio(frame_ms: int, base: str) -> float | None:
        mine, theirs = _cost(figures, VOXTREE.name, frame_ms), _cost(figures, base, frame_ms)
        return round(mine / theirs, 3) if mine and theirs else None

    return {
        "ratio_20ms": ratio(20, BARE.name),
        "ratio_100ms": ratio(100, BARE.name),
        "ratio_supervision": ratio(20, GATHERING),
        "ratio_supervision_100ms": ratio(100, GATHERING),
    }


def figures_of(figures: Sequence[Figures]) -> dict[str, Figure]:
    """By `contender.figure`, and how the costs compare."""
    found: dict[str, Figure] = {}
    for name, load in dict.fromkeys((each.contender, each.load) for each in figures):
        mine = [each for each in figures if (each.contender, each.load) == (name, load)]
        late = next((each.heard.doubt for each in mine if each.heard.doubt), "")
        for what, unit, value in _FIGURES:
            doubt = late if unit == "ms" else ""
            found[f"{name}.{what}_{load.frame_ms}ms"] = Figure.of([value(each) for each in mine], unit, "lower", doubt)
    return found | {name: Figure.of([value], "", "lower") for name, value in ratios(figures).items() if value}


_FIGURES: Sequence[tuple[str, str, Callable[[Figures], float]]] = (
    ("cpu", "µs/frame", lambda each: each.cost),
    ("latency_p50", "ms", lambda each: 1000 * each.heard.latency_p50),
    ("latency_p99", "ms", lambda each: 1000 * each.heard.latency_p99),
    ("memory", "KiB/session", lambda each: each.memory_per_session),
)


def table(chosen: Sequence[Contender], loads: Sequence[Load], figures: Sequence[Figures]) -> str:
    """All there is to see: medians, and half the distance from the smallest to the largest cost."""
    lines: list[str] = []
    for load in loads:
        lines += [
            f"{load.sessions} sessions, {load.frame_ms} ms frames",
            f"{'':20}{'µs a frame':>16}{'ratio':>7}{'core':>6}{'p50, ms':>9}{'p99, ms':>9}{'MiB':>6}"
            f"{'Riva':>7}{'clients':>9}",
        ]
        base = _cost(figures, BARE.name, load.frame_ms)
        for contender in chosen:
            mine = [each for each in figures if each.contender == contender.name and each.load == load]
            lines.append(_line(contender.name, mine, base))
        lines.append("")
    lines += [f"{name:24}{'–' if value is None else f'{value:.2f}'}" for name, value in ratios(figures).items()]
    return "\n".join(lines)


def _line(name: str, figures: Sequence[Figures], base: float | None) -> str:
    def median(value: Callable[[Figures], float]) -> float:
        return statistics.median(map(value, figures))

    costs = [each.cost for each in figures]
    usual = statistics.median(costs)
    spread = (max(costs) - min(costs)) / 2 / usual
    return (
        f"{name:20}{usual:10.0f} ±{spread:4.0%}{'–' if base is None else f'{usual / base:.2f}':>7}"
        f"{median(lambda each: each.cpu / each.seconds):6.0%}"
        f"{1000 * median(lambda each: each.heard.latency_p50):9.1f}"
        f"{1000 * median(lambda each: each.heard.latency_p99):9.1f}"
        f"{median(lambda each: each.memory) / 2**20:6.0f}"
        f"{median(lambda each: each.riva_cpu / each.seconds):7.0%}"
        f"{median(lambda each: each.heard.cpu / each.seconds):9.0%}"
    )


def _cost(figures: Sequence[Figures], contender: str, frame_ms: int) -> float | None:
    costs = [each.cost for each in figures if each.contender == contender and each.load.frame_ms == frame_ms]
    return statistics.median(costs) if costs else None
