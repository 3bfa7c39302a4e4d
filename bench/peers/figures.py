"""What was measured of the peers, as figures and as tables. Pure."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence

from bench.peers.contenders import Peer
from bench.peers.faults import FAULTS, Played
from bench.relay.figures import Figures
from bench.results import Figure

WIDTH = 110  # of lines of prose


def figures_of(load: Sequence[Figures], played: Sequence[Played]) -> dict[str, Figure]:
    """By `peer.figure`, and `peer.fault.figure`. What never recovered has no recovery."""
    found: dict[str, Figure] = {}
    for peer, frame_ms in dict.fromkeys((each.contender, each.load.frame_ms) for each in load):
        mine = [each for each in load if (each.contender, each.load.frame_ms) == (peer, frame_ms)]
        found[f"{peer}.cpu_{frame_ms}ms"] = Figure.of([each.cost for each in mine], "µs/frame", "lower")
        found[f"{peer}.memory_{frame_ms}ms"] = Figure.of(
            [each.memory_per_session for each in mine], "KiB/session", "lower"
        )
    for each in played:
        name, one = f"{each.peer}.{each.fault}", each.outcome
        found[f"{name}.lost"] = Figure.of([one.lost], "words", "lower")
        found[f"{name}.doubled"] = Figure.of([one.doubled], "words", "lower")
        found[f"{name}.recovered"] = Figure.of([one.recovered], "sessions", "higher")
        if one.recovery_p50_ms is not None and one.recovery_p99_ms is not None:
            found[f"{name}.recovery_p50"] = Figure.of([one.recovery_p50_ms], "ms", "lower")
            found[f"{name}.recovery_p99"] = Figure.of([one.recovery_p99_ms], "ms", "lower")
    return found


def cost_table(peers: Sequence[Peer], load: Sequence[Figures], absent: Mapping[str, str]) -> str:
    """What a frame and a session cost: medians, and half the distance from the smallest to the largest."""
    lines: list[str] = []
    for each in dict.fromkeys(figures.load for figures in load):
        lines += [
            f"{each.sessions} sessions, {each.frame_ms} ms frames",
            f"{'':20}{'µs a frame':>16}{'KiB a session':>15}{'p50, ms':>9}{'p99, ms':>9}{'of a core':>11}{'lost':>6}",
        ]
        for peer in peers:
            mine = [one for one in load if one.contender == peer.key and one.load == each]
            lines.append(f"{peer.title:20}" + (_cost(mine) if mine else f"    {_absence(peer, absent)}"))
        lines.append("")
    return "\n".join([*lines, *(textwrap.fill(f"{peer.title}: {peer.limits}.", WIDTH) for peer in peers)])


def fault_table(peers: Sequence[Peer], played: Sequence[Played], absent: Mapping[str, str]) -> str:
    """What became of the words, and what clients were told."""
    by_name = {(each.peer, each.fault): each for each in played}
    lines: list[str] = []
    for fault in FAULTS:
        lines += [
            fault.title,
            f"{'':20}{'words':>7}{'lost':>6}{'doubled':>9}{'recovered':>11}{'p50, s':>8}{'p99, s':>8}"
            "  clients were told",
        ]
        if fault.strike is None:
            struck = [each for each in played if each.fault == fault.key]
            lines[-2] += (
                f" ({sum(each.mid_word for each in struck)} of {sum(each.outcome.sessions for each in struck)} were)"
            )
        for peer in peers:
            each = by_name.get((peer.key, fault.key))
            lines.append(f"{peer.title:20}" + (f"    {_absence(peer, absent)}" if each is None else _fault(each)))
        lines.append("")
    return "\n".join(lines).rstrip()


def _absence(peer: Peer, absent: Mapping[str, str]) -> str:
    if peer.key in absent:
        return f"not measured: needs {absent[peer.key]}"
    return "does not apply: it has no backend" if not peer.has_backend else "not measured"


def _cost(figures: Sequence[Figures]) -> str:
    def median(value: Callable[[Figures], float]) -> float:
        return statistics.median(map(value, figures))

    costs = [each.cost for each in figures]
    usual = statistics.median(costs)
    spread = f"±{(max(costs) - min(costs)) / 2 / usual:4.0%}" if len(costs) > 1 else ""
    return (
        f"{usual:10.0f} {spread:5}"
        f"{median(lambda each: each.memory_per_session):15.0f}"
        f"{1000 * median(lambda each: each.heard.latency_p50):9.1f}"
        f"{1000 * median(lambda each: each.heard.latency_p99):9.1f}"
        f"{median(lambda each: each.cpu / each.seconds):11.0%}"
        f"{sum(each.heard.lost for each in figures):6}"
    )


def _fault(each: Played) -> str:
    one = each.outcome
    told = ", ".join(f"{text} × {count}" for text, count in each.told.items()) or "nothing"
    return (
        f"{one.sent:7}{one.lost:6}{one.doubled:9}{f'{one.recovered} of {one.sessions}':>11}"
        f"{_seconds(one.recovery_p50_ms):>8}{_seconds(one.recovery_p99_ms):>8}  {told}"
    )


def _seconds(ms: float | None) -> str:
    return "never" if ms is None else f"{ms / 1000:.3f}"
