"""How late the loop is: what counts as load and what does not, and when refused clients are sent back."""

from __future__ import annotations

import random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.testing import AutojumpLoop
from transport.limits import LoopLoad, ReturnTimes
from transport.limits.load import PAUSE
from transport.limits.returns import LEAST, LONGEST, PER_SECOND

LIMIT = 0.1


def looks(load: LoopLoad, *lags: float) -> list[bool]:
    states = []
    for lag in lags:
        load.look(lag, PAUSE + lag)
        states.append(load.is_over)
    return states


@pytest.mark.parametrize("pause", [0.2, 2.0, 60.0])
def test_one_pause_is_no_load_however_long(pause: float) -> None:
    assert not any(looks(LoopLoad(LIMIT), *[0.0] * 20, pause, *[0.0] * 20))


def test_lateness_that_lasts_is_noticed_within_a_second_or_two() -> None:
    load = LoopLoad(LIMIT)
    states = looks(load, *[0.2] * 20)
    assert states[-1]
    assert sum(PAUSE + 0.2 for over in states if not over) < 1.5


def test_it_is_over_only_when_it_has_come_down_to_half() -> None:
    load = LoopLoad(LIMIT)
    assert looks(load, *[0.3] * 20)[-1]
    assert looks(load, *[0.07] * 100)[-1]
    assert not looks(load, *[0.04] * 100)[-1]
    assert not looks(load, *[0.09] * 100)[-1]


@given(st.lists(st.floats(0, 10), max_size=100))
def test_the_level_stays_within_what_counts(lags: list[float]) -> None:
    load = LoopLoad(LIMIT)
    for lag in lags:
        looks(load, lag)
        assert 0 <= load.level <= 4 * LIMIT


def test_without_a_limit_lateness_is_shown_and_refuses_nobody() -> None:
    load = LoopLoad(None)
    assert not any(looks(load, *[5.0] * 20))
    assert load.level == pytest.approx(5.0, rel=0.01)


def test_a_limit_that_is_taken_away_lets_in_at_once() -> None:
    load = LoopLoad(LIMIT)
    assert looks(load, *[0.3] * 20)[-1]
    load.limit = None
    assert not looks(load, 0.3)[-1]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": AutojumpLoop})])
async def test_an_idle_loop_is_not_late() -> None:
    load = LoopLoad(LIMIT)
    async with anyio.create_task_group() as tasks:
        await tasks.start(lambda *, task_status: load.run(task_status=task_status))
        await anyio.sleep(10)
        tasks.cancel_scope.cancel()
    assert load.level < 0.001


# ---- coming back


@given(st.integers(1, 3000), st.integers(0, 100))
def test_a_crowd_that_is_refused_at_once_does_not_come_back_at_once(refused: int, seed: int) -> None:
    returns = ReturnTimes(random.Random(seed).random)
    times = [returns.next(0.0) for _ in range(refused)]
    assert all(0.75 * LEAST <= time <= LONGEST for time in times)
    per_second = [sum(second <= time < second + 1 for time in times) for second in range(int(LONGEST))]
    if refused < LONGEST * PER_SECOND / 2:
        assert max(per_second) <= 2 * PER_SECOND


def test_the_longer_the_queue_the_longer_the_wait_and_it_empties_by_itself() -> None:
    returns = ReturnTimes(lambda: 1.0)
    times = [returns.next(0.0) for _ in range(100)]
    assert times == sorted(times)
    assert returns.ahead(0.0) == pytest.approx(100 / PER_SECOND)
    assert returns.ahead(60.0) == 0
    assert returns.next(60.0) == pytest.approx(LEAST + 1 / PER_SECOND)


def test_whoever_is_refused_for_ever_keeps_the_others_away_for_a_minute_at_most() -> None:
    returns = ReturnTimes(lambda: 1.0)
    for _ in range(100_000):
        assert returns.next(0.0) <= LONGEST
    assert returns.ahead(LONGEST) == 0
