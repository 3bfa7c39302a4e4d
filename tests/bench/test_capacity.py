"""How many sessions are tried next, and whether what was tried held."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

import msgspec
import pytest

from bench.capacity import MISSES, STEPS, Ramp, Round, Step, figures, holds, is_sound, measure, offers
from bench.load.report import Report, Tally, summed


def report(**changes: object) -> Report:
    """Ten sessions, all served within 10 ms."""
    tally = Tally(seconds=1.0, sent=500, open=10, cpu=0.1)
    for _ in range(100):
        tally.delays.add(0.01)
        tally.late.add(0.001)
    return msgspec.structs.replace(summed([tally]), **changes)


def step(sessions: int = 10, **changes: object) -> Step:
    return Step(sessions=sessions, server_cpu=0.3, heard=report(**changes))


def climbed(carries: Callable[[int], bool], start: int = 10, growth: float = 1.12) -> tuple[int, list[int]]:
    """How many are carried by a server that carries these, and what was tried."""
    ramp, tried = Ramp(start, growth), []
    while ramp.sessions is not None:
        tried.append(ramp.sessions)
        ramp.note(carries(tried[-1]))
    return ramp.carried, tried


def test_sessions_grow_until_they_are_missed_twice_in_a_row() -> None:
    assert climbed(lambda sessions: sessions <= 13) == (13, [10, 11, 12, 13, 15, 17])


def test_one_miss_by_chance_does_not_end_it() -> None:
    carried, tried = climbed(lambda sessions: sessions != 11 and sessions <= 20, growth=1.1)
    assert carried == 20
    assert tried[-MISSES:] == [22, 24]


def test_it_ends_even_if_everything_holds_or_nothing_does() -> None:
    assert len(climbed(lambda sessions: True)[1]) == STEPS
    assert climbed(lambda sessions: False) == (0, [10, 11])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"latency_p99": 0.0501}, False),
        ({"refused": 1}, False),
        ({"lost": 1}, False),
        ({"gaps": 1}, False),
        ({"unanswered": 1}, False),
        ({"open": 9}, False),
    ],
)
def test_a_step_holds_if_all_were_let_in_and_served_in_time(changes: dict[str, object], expected: bool) -> None:
    assert holds(step(**changes), 50.0) is expected


def test_past_the_limit_more_and_more_want_to_get_in() -> None:
    assert offers(20, 3.0) == [20, 40, 60]


def test_figures_are_for_each_core_and_say_whether_the_load_was_the_limit() -> None:
    rounds = [
        Round(carried=n, steps=[step(n)], limited=[step(n, served=10.0), step(3 * n, served=9.5)]) for n in (28, 35)
    ]
    found = figures(rounds, 0.35)
    assert found["sessions per core"].values == pytest.approx([80, 100])
    assert found["served with most coming"].value == pytest.approx(95.0)
    assert found["sessions"].doubt == ""
    assert "core" in figures([Round(carried=1, steps=[step(busiest=0.95)], limited=[])], 1.0)["sessions"].doubt


def test_it_is_not_sound_if_nothing_was_carried_or_somebody_was_dropped() -> None:
    assert is_sound([Round(carried=10, steps=[], limited=[step(refused=5)])])
    assert not is_sound([Round(carried=0, steps=[], limited=[])])
    assert not is_sound([Round(carried=10, steps=[], limited=[step(lost=1)])])


@pytest.mark.slow
def test_a_small_ramp_is_climbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.capacity.STEPS", 1)
    args = argparse.Namespace(
        start=2, growth=1.5, late=5000.0, past=2.0, seconds=1, frame_ms=100, processes=1, quota=1.0
    )  # fmt: skip
    played = asyncio.run(measure(args))
    assert (played.carried, [step.sessions for step in played.limited]) == (2, [2, 3, 4])
    assert [step.heard.open for step in played.limited] == [2, 2, 2]
    assert played.limited[-1].heard.lost == 0
