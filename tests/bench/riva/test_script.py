"""When the faults of a plan happen."""

from __future__ import annotations

import math
from typing import Any

from bench.riva.faults import End, GoAway, Stall
from bench.riva.plan import read
from bench.riva.script import Script

START = 1000.0  # of the clock


def script(*faults: dict[str, Any], seed: int = 0) -> Script:
    return Script(read({"seed": seed, "faults": [{"action": "end"} | fault for fault in faults]}), START)


def struck(script: Script, *, opened: float = 0.0, served: int = 0, **moment: Any) -> int:
    """How many faults befall a stream that is opened so many seconds after the start, `open` ones included."""
    now = START + opened
    return len(script.stream(now, served=served).strike(now, **moment))


def hits(script: Script, streams: int = 10) -> list[int]:
    """Which streams are befallen, by number."""
    return [number for number in range(1, streams + 1) if struck(script)]


# ---- moments


def test_at_open_a_fault_happens_once() -> None:
    stream = script({}).stream(START, served=0)
    assert [len(stream.strike(START)), len(stream.strike(START + 1))] == [1, 0]


def test_a_position_a_number_of_finals_and_an_idle_time_are_waited_for() -> None:
    plan = script({"at": {"position": 2.0}}, {"at": {"after_final": 2}}, {"at": {"idle": 5.0}})
    stream = plan.stream(START, served=0)
    assert stream.next_time == math.inf
    assert stream.strike(START + 100, position=1.9, finals=1, idle=4.9) == []
    assert len(stream.strike(START, position=2.0)) == 1
    assert len(stream.strike(START, position=2.1, finals=2)) == 1
    assert len(stream.strike(START, position=2.1, finals=2, idle=5.0)) == 1
    assert stream.strike(START, position=9.0, finals=9, idle=9.0) == ()


def test_a_time_counts_from_the_streams_begin() -> None:
    stream = script({"at": {"time": 3.0}}).stream(START + 10, served=0)
    assert stream.next_time == START + 13
    assert stream.strike(START + 12.9) == []
    assert len(stream.strike(START + 13)) == 1
    assert stream.next_time == math.inf


def test_a_server_time_strikes_the_streams_that_live_then() -> None:
    plan = script({"at": {"server_time": 5.0}})
    early, late = plan.stream(START + 1, served=0), plan.stream(START + 6, served=1)
    assert (early.next_time, late.next_time) == (START + 5, math.inf)
    assert (len(early.strike(START + 5)), len(late.strike(START + 100))) == (1, 0)


def test_a_repeated_server_time_comes_again_and_again() -> None:
    plan = script({"at": {"server_time": 5.0, "repeat": 10.0}, "action": "stall", "seconds": 1.0})
    stream = plan.stream(START + 20, served=0)
    times = []
    for _ in range(3):
        times.append(stream.next_time - START)
        assert len(stream.strike(stream.next_time)) == 1
    assert times == [25.0, 35.0, 45.0]
    assert len(stream.strike(START + 88)) == 1  # late, and only once
    assert stream.next_time == START + 95


# ---- selections


def test_streams_are_selected_by_number() -> None:
    assert hits(script({"streams": [2, 5]})) == [2, 5]
    assert hits(script({"every": 3})) == [3, 6, 9]
    assert hits(script({"every": 2, "streams": [3, 4]})) == [4]


def test_chance_is_drawn_from_the_seed_for_each_fault_and_stream() -> None:
    again = [hits(script({"chance": 0.5}, seed=1), 1000) for _ in range(2)]
    assert again[0] == again[1]
    assert 400 < len(again[0]) < 600
    assert hits(script({"chance": 0.5}, seed=2), 1000) != again[0]
    assert (hits(script({"chance": 0.0})), len(hits(script({"chance": 1.0})))) == ([], 10)
    two = script({"chance": 0.5}, {"chance": 0.5}, seed=1)
    assert 1 in {struck(two) for _ in range(100)}  # one fault, and not the other


def test_streams_beyond_a_number_are_selected_by_those_served() -> None:
    assert [struck(script({"over": 2}), served=served) for served in range(5)] == [0, 0, 1, 1, 1]


def test_a_fault_happens_at_most_so_many_times() -> None:
    plan = script({"times": 3}, {"every": 5})
    assert hits(plan) == [1, 2, 3, 5, 10]
    assert plan.fired == [3, 2]


def test_a_fault_happens_only_in_its_window() -> None:
    plan = script({"since": 2.0, "until": 4.0})
    assert [struck(plan, opened=second) for second in range(6)] == [0, 0, 1, 1, 0, 0]


def test_a_fault_flaps_with_its_cycle() -> None:
    plan = script({"since": 1.0, "cycle": {"up": 2.0, "down": 1.0}})
    assert [struck(plan, opened=second) for second in range(9)] == [0, 0, 0, 1, 0, 0, 1, 0, 0]


def test_a_moment_that_comes_outside_the_window_is_over() -> None:
    stream = script({"at": {"position": 1.0}, "until": 4.0}).stream(START, served=0)
    assert stream.strike(START + 4, position=1.0) == []
    assert stream.strike(START + 3, position=1.0) == ()


# ---- questions and the whole server


def test_questions_are_counted_by_themselves() -> None:
    plan = script({"action": "status", "code": "UNAVAILABLE", "at": "preflight", "every": 2}, {})
    assert [plan.question(START) is not None for _ in range(4)] == [False, True, False, True]
    assert hits(plan) == list(range(1, 11))
    assert plan.fired == [2, 10]


def test_a_question_may_be_left_unanswered() -> None:
    assert script({"action": "stall", "at": "preflight"}).question(START) == Stall(at="preflight")


def test_a_server_without_a_model_befalls_no_stream() -> None:
    plan = script({"action": "not_ready", "until": 5.0}, {"action": "not_ready", "since": 8.0, "until": 9.0})
    assert [plan.is_ready(START + second) for second in (0, 4.9, 5, 7.9, 8, 9)] == [
        False, False, True, True, False, True,
    ]  # fmt: skip
    assert hits(plan) == []


def test_a_server_time_of_the_server_is_nobody_elses() -> None:
    plan = script({"action": "goaway", "at": {"server_time": 10.0, "repeat": 10.0}, "times": 2})
    assert hits(plan) == []
    times = []
    while plan.fired != [2]:
        times.append(plan.next_server_fault() - START)
        assert plan.server_faults(plan.next_server_fault() - 0.1) == []
        assert list(map(type, plan.server_faults(plan.next_server_fault()))) == [GoAway]
    assert times == [10.0, 20.0]
    assert plan.server_faults(START + 30) == []


def test_a_fault_of_the_server_may_wait_for_a_stream() -> None:
    plan = script({"action": "goaway", "at": {"position": 1.0}}, {"at": {"position": 2.0}})
    assert plan.next_server_fault() == math.inf
    stream = plan.stream(START, served=0)
    assert [type(fault) for second in (1.0, 2.0) for fault in stream.strike(START, position=second)] == [GoAway, End]
