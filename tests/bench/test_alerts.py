"""Simulated errors, by the rhythm of a day: what the notifier is alarmed by, and by what not."""

from __future__ import annotations

import random

import pytest

from bench.alerts import find, quiet


@pytest.mark.parametrize("clumps", [False, True])
@pytest.mark.parametrize("per_minute", [0.1, 1.0, 10.0])
def test_a_week_in_which_nothing_is_wrong_alarms_nobody_its_first_minutes_included(
    per_minute: float, clumps: bool
) -> None:
    found = quiet(per_minute, 1, random.Random(1), clumps=clumps)
    assert found.errors > 400 * per_minute * 10
    assert found.alarms == 0


def test_a_spike_of_thirty_times_the_usual_is_found_and_of_three_where_errors_are_rare_it_is_not() -> None:
    sizes = {found.factor: found for found in find(10.0, 2, random.Random(1))}
    assert len(sizes[30.0].delays) == sizes[30.0].spikes
    rare = {found.factor: found for found in find(0.1, 2, random.Random(1))}
    assert rare[3.0].delays == []
