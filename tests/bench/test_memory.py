"""What a session leaves behind is a slope; a few real ones are played."""

from __future__ import annotations

import asyncio

import pytest

from bench.growth import slope
from bench.memory import LEAK, Sample, each, growth, verdict, visits


def test_a_slope_is_that_of_the_line_that_fits_best() -> None:
    assert slope([0, 1, 2, 3], [1.0, 3.0, 5.0, 7.0]) == pytest.approx(2.0)
    assert slope([0, 1], [1.0, 3.0]) is None


def test_what_grows_during_the_warm_up_does_not_count() -> None:
    samples = [Sample(n, n, 100.0 if n >= 200 else n / 2) for n in range(100, 1001, 100)]
    assert growth(samples) == (pytest.approx(0.0), pytest.approx(0.0))


def test_what_each_session_leaves_behind_adds_up() -> None:
    each, grew = growth([Sample(n, n, 50 + n / 1000) for n in range(1000, 10001, 1000)])
    assert each == pytest.approx(0.001)
    assert grew == pytest.approx(8.0)


def test_a_verdict_fails_for_harm_before_it_misses_for_growth() -> None:
    assert verdict(LEAK, 0) == "holds"
    assert verdict(LEAK + 0.1, 0).startswith("misses")
    assert verdict(LEAK + 0.1, 1).startswith("FAILS")


@pytest.mark.slow
def test_a_few_sessions_are_weighed() -> None:
    assert asyncio.run(each(20, 10)) > 0
    samples = asyncio.run(visits(20))
    assert (samples[-1].sessions, samples[-1].told) == (20, 20)
