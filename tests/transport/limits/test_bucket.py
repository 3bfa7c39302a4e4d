"""Token buckets: what comes out of one in any stretch of time, and what a debt costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.limits import Bucket

STEPS = st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 3)), max_size=40)  # seconds later, so much is wanted


@given(steps=STEPS, rate=st.floats(0.1, 10), burst=st.floats(1, 20))
def test_no_stretch_of_time_gives_more_than_its_rate_and_one_burst(
    steps: list[tuple[float, float]], rate: float, burst: float
) -> None:
    bucket, now = Bucket(rate, burst, 0.0), 0.0
    taken: list[tuple[float, float]] = []
    for later, amount in steps:
        now += later
        if bucket.take(now, amount) == 0:
            taken.append((now, amount))
    for first, (since, _) in enumerate(taken):
        for last in range(first, len(taken)):
            until = taken[last][0]
            assert sum(amount for _, amount in taken[first : last + 1]) <= burst + rate * (until - since) + 1e-6


@given(steps=STEPS, rate=st.floats(0.1, 10), burst=st.floats(3, 20))
def test_whoever_waits_as_long_as_it_is_told_is_given_what_it_wants(
    steps: list[tuple[float, float]], rate: float, burst: float
) -> None:
    bucket, now = Bucket(rate, burst, 0.0), 0.0
    for later, amount in steps:
        now += later
        if wait := bucket.take(now, amount):
            now += wait + 1e-9
            assert bucket.take(now, amount) == 0


@given(steps=STEPS, rate=st.floats(0.1, 10), burst=st.floats(1, 20))
def test_who_spends_and_then_waits_gets_the_rate_and_at_most_two_bursts(
    steps: list[tuple[float, float]], rate: float, burst: float
) -> None:
    """Two, since a look at the clock comes only when the first is used up, and then fills at most one."""
    bucket, now, spent = Bucket(rate, burst, 0.0), 0.0, 0.0
    for later, amount in steps:
        now += later
        spent += amount
        if not bucket.spend(amount):
            now += bucket.wait(now)
        assert spent <= 2 * burst + rate * now + 1e-6


def test_a_bucket_that_was_left_alone_is_full_again() -> None:
    bucket = Bucket(2.0, 10.0, 0.0)
    assert bucket.take(0.0, 10.0) == 0
    assert (bucket.is_full(4.9), bucket.is_full(5.0)) == (False, True)
    assert bucket.take(5.0, 11.0) == pytest.approx(0.5)
