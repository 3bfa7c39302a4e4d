"""What counts as unusual: hits and false alarms over simulated traffic, and what is learned of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.alerts.rates import LEAST, RATIO, Rate, tail

HOUR = 3600.0
WINDOW = 60.0


def steady(per_minute: float, hours: float, *, since: float = 0.0) -> Rate:
    """What it has happened evenly, for so long."""
    rate = Rate(WINDOW, since, since)
    for number in range(int(hours * 60 * per_minute)):
        rate.add(since + number * 60 / per_minute)
    return rate


def test_ten_in_a_minute_are_unusual_where_nothing_happened_for_an_hour() -> None:
    rate = Rate(WINDOW, 0.0, HOUR)
    assert [rate.add(HOUR + each) for each in range(LEAST)] == [*[False] * (LEAST - 1), True]


def test_a_server_that_has_just_started_is_not_alarmed_by_what_is_usual_there() -> None:
    rate = Rate(WINDOW, 0.0, 0.0)
    assert not any(rate.add(each) for each in range(1200))  # one a second, and that goes on


def test_what_begins_when_a_server_has_run_for_six_minutes_is_unusual() -> None:
    early, late = Rate(WINDOW, 0.0, 300.0), Rate(WINDOW, 0.0, 400.0)
    assert not any(early.add(300.0 + each / 2) for each in range(100))
    assert any(late.add(400.0 + each / 2) for each in range(100))


def test_errors_that_always_come_in_clumps_are_not_unusual_for_that() -> None:
    rate, alarms = Rate(WINDOW, 0.0, 0.0), []
    for clump in range(200):
        alarms += [rate.add(120.0 * clump) for _ in range(12)]  # twelve at once, every two minutes
    assert not any(alarms)


def test_the_usual_is_learned_and_three_times_as_much_is_unusual() -> None:
    rate = steady(60.0, 6.0)
    now = 6 * HOUR
    assert rate.usual(now) == pytest.approx(60.0, rel=0.03)
    assert rate.limit(now) == math.ceil(RATIO * rate.usual(now))


def test_chance_alone_reaches_three_times_a_small_rate_so_more_is_asked_of_it() -> None:
    rate = steady(4.0, 6.0)
    assert rate.limit(6 * HOUR) > 12 + 5


def test_a_spike_is_not_learned_while_it_lasts_ten_minutes() -> None:
    rate = steady(6.0, 6.0)
    now = 6 * HOUR
    before = rate.limit(now)
    alarms = [rate.add(now + each * 0.1) for each in range(6000)]
    assert all(alarms[before:])
    assert rate.usual(now + 600) < 2 * 6.0


def test_what_stays_ten_times_as_high_is_usual_after_some_hours() -> None:
    rate = steady(6.0, 6.0)
    alarms = [rate.add(6 * HOUR + each) for each in range(int(4 * HOUR))]  # one a second
    assert alarms[600]
    assert not any(alarms[int(3 * HOUR) :])


def test_what_is_explained_neither_counts_nor_is_learned() -> None:
    rate = Rate(WINDOW, 0.0, HOUR)
    for each in range(1000):
        rate.add(HOUR + each / 100)
    rate.forget(HOUR + 10)
    assert rate.lately(HOUR + 10) == 0
    assert rate.usual(HOUR + 200) < 0.02


def test_after_a_week_of_silence_nothing_is_left_but_the_prior() -> None:
    rate = steady(60.0, 6.0)
    assert rate.usual(6 * HOUR + 7 * 24 * HOUR) < 0.01


@given(st.integers(1, 200), st.floats(0.5, 50.0), st.floats(0.01, 0.9))
def test_the_tail_is_what_is_left_of_the_whole(times: int, shape: float, odds: float) -> None:
    mean = shape * odds / (1 - odds)
    if times < mean + 1:
        return

    def probability(count: int) -> float:
        logarithm = math.lgamma(count + shape) - math.lgamma(shape) - math.lgamma(count + 1)
        return math.exp(logarithm + shape * math.log1p(-odds) + count * math.log(odds))

    below = math.fsum(probability(count) for count in range(times))
    assert tail(times, shape, odds) == pytest.approx(1.0 - below, abs=1e-6)


@given(st.lists(st.floats(0.0, 200.0), max_size=60), st.floats(0.0, HOUR))
def test_looking_changes_nothing(gaps: list[float], uptime: float) -> None:
    looked_at, left_alone = Rate(WINDOW, 0.0, uptime), Rate(WINDOW, 0.0, uptime)
    now = uptime
    for gap in gaps:
        for part in (0.3, 0.7):
            looked_at.limit(now + part * gap)
        now += gap
        assert looked_at.add(now) == left_alone.add(now)
        assert looked_at.lately(now) <= len(gaps)
    assert looked_at.usual(now + WINDOW) == pytest.approx(left_alone.usual(now + WINDOW))
