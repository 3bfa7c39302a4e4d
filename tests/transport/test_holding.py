"""Short messages of audio wait for one another: nothing is lost, joined or overtaken by it, and none waits for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transport.holding import MOST, Holding

STEP = 3200  # bytes


def test_messages_wait_until_they_make_up_a_step() -> None:
    holding = Holding(0.15)
    holding.size = STEP
    messages = [bytes(640) for _ in range(10)]
    came = [holding.audio(each, 0.0) for each in messages]
    assert [len(each) for each in came] == [0, 0, 0, 0, 5, 0, 0, 0, 0, 5]
    assert [each for turn in came for each in turn] == messages


def test_a_message_as_long_as_a_step_does_not_wait() -> None:
    holding = Holding(0.15)
    holding.size = STEP
    assert [holding.audio(bytes(STEP), 0.0) for _ in range(3)] == [[bytes(STEP)]] * 3


def test_nothing_waits_unless_it_is_told_to_but_steps_are_counted_from_the_first_byte() -> None:
    holding = Holding(0.15)
    assert holding.audio(bytes(640), 0.0) == [bytes(640)]
    holding.size = STEP
    assert [len(holding.audio(bytes(640), 0.0)) for _ in range(4)] == [0, 0, 0, 4]


def test_the_wait_is_measured_from_the_first_message_that_waits() -> None:
    holding = Holding(0.15)
    holding.size = STEP
    assert holding.left(5.0) is None
    holding.audio(bytes(640), 5.0)
    holding.audio(bytes(640), 5.1)
    assert round(holding.left(5.1) or 0.0, 6) == 0.05
    holding.release()
    assert holding.left(5.1) is None


@given(st.lists(st.integers(0, 2 * STEP)), st.sampled_from([0, 1, 640, STEP]))
def test_every_message_comes_once_and_in_order(sizes: list[int], step: int) -> None:
    holding = Holding(0.15)
    holding.size = step
    messages = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    came = [each for message in messages for each in holding.audio(message, 0.0)]
    assert [*came, *holding.release()] == messages


@given(st.lists(st.integers(0, 100), min_size=1))
def test_never_more_messages_wait_than_are_read_ahead(sizes: list[int]) -> None:
    holding = Holding(0.15)
    holding.size = 1 << 30
    for size in sizes:
        assert len(holding.audio(bytes(size), 0.0)) in (0, MOST)
    assert len(holding.release()) < MOST
