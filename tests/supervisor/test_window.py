from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.spec import Intensity
from supervisor.window import Window


@pytest.mark.parametrize(
    ("restarts", "times", "allowed"),
    [
        (2, [0, 1, 2], [True, True, False]),
        (2, [0, 4, 5], [True, True, False]),  # the edge of the window is inside
        (2, [0, 5, 10], [True, True, True]),
        (2, [0, 4, 5.001], [True, True, True]),
        (0, [0], [False]),
        (1, [0, 5.5, 11.0], [True, True, True]),
        (3, [7.0, 7.0, 7.0, 7.0], [True, True, True, False]),
    ],
)
def test_a_restart_too_many_within_the_window_is_not_allowed(
    restarts: int, times: list[float], allowed: list[bool]
) -> None:
    window = Window(Intensity(restarts, 5.0))
    assert [window.allow(now) for now in times] == allowed


@given(
    restarts=st.integers(0, 5),
    seconds=st.sampled_from([0.5, 1.0, 5.0]),
    pauses=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.75, 5.0, 5.25]), max_size=30),
)
def test_the_window_agrees_with_counting_every_restart_anew(restarts: int, seconds: float, pauses: list[float]) -> None:
    window = Window(Intensity(restarts, seconds))
    now, seen = 0.0, list[float]()
    for pause in pauses:
        now += pause
        seen.append(now)
        assert window.allow(now) == (sum(now - seconds <= t for t in seen) <= restarts)
