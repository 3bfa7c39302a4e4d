"""The measures of restraint, one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.backends.pace import Ramp, Rest, RetryBudget, Tally
from supervisor.policy import Backoff


def test_a_rest_grows_while_it_is_asked_for_again_and_again() -> None:
    rest = Rest(Backoff(5.0, 2.0, 30.0, reset_after=60.0))
    assert rest.left(0.0) == 0.0
    assert rest.begin(0.0) == 5.0
    assert (rest.begin(3.0), rest.left(3.0)) == (0.0, 2.0)  # the same news
    assert [rest.begin(at) for at in (5.0, 20.0, 60.0)] == [10.0, 20.0, 30.0]
    assert rest.begin(151.0) == 5.0


@given(
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.sampled_from(["retry", "answer", "open"]), st.floats(0, 5)), max_size=200),
)
def test_retries_that_were_not_answered_stay_within_the_budget(burst: int, steps: list[tuple[str, float]]) -> None:
    budget, now, spent, opened = RetryBudget(burst), 0.0, 0, 0
    for what, seconds in steps:
        now += seconds
        if what == "retry" and budget.free_in(now) == 0:
            budget.take()
            spent += 1
        elif what == "answer" and spent:
            budget.give_back()
            spent -= 1
        elif what == "open":
            budget.opened()
            opened += 1
        assert spent <= burst + now * RetryBudget.PER_SECOND + opened * RetryBudget.SHARE + 1e-6


def test_a_spent_budget_says_when_it_has_something_again() -> None:
    budget = RetryBudget(1)
    assert budget.free_in(100.0) == 0.0
    budget.take()
    assert budget.free_in(100.25) == pytest.approx(0.75)
    assert budget.free_in(101.0) == 0.0


@given(cap=st.integers(1, 500), streams=st.integers(0, 500), times=st.lists(st.floats(0, 100), max_size=20))
def test_what_a_ramp_allows_only_grows_to_the_cap_in_the_end(cap: int, streams: int, times: list[float]) -> None:
    ramp = Ramp(lambda: 0.5)
    assert ramp.allowance(cap, 10.0) == cap  # nothing was ever wrong
    ramp.begin(min(streams, cap), 1000.0)
    allowed = [ramp.allowance(cap, 1000.0 + time) for time in sorted(times)]
    assert allowed == sorted(allowed)
    assert all(1 <= one <= cap for one in allowed)
    assert ramp.allowance(cap, 1000.0 + Ramp.SECONDS) == cap


def test_those_who_move_of_our_own_accord_are_spaced_out() -> None:
    ramp = Ramp(lambda: 0.5)
    assert ramp.may_move(0.0)
    ramp.moved(100, 0.0)
    assert [ramp.may_move(at) for at in (0.0, 0.29, 0.31)] == [False, False, True]


def test_a_tally_forgets_half_in_each_half_life() -> None:
    tally = Tally(30.0)
    for _ in range(4):
        tally.add(0.0)
    assert [tally.value(at) for at in (0.0, 30.0, 90.0)] == [4.0, 2.0, 0.5]
