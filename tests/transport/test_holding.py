"""Short messages of audio wait for one another: nothing is lost, joined or overtaken by it, and none waits for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from transport.holding import MOST, Holding

STEP = 3200  # bytes


def frame(size: int) -> Frame:
    return Frame(Opcode.BINARY, bytes(size))


def test_messages_wait_until_they_make_up_a_step() -> None:
    holding = Holding(0.15)
    holding.size = STEP
    frames = [frame(640) for _ in range(10)]
    came = [[*holding.release(), each] if not holding.audio(each, 0.0) else [] for each in frames]
    assert [len(each) for each in came] == [0, 0, 0, 0, 5, 0, 0, 0, 0, 5]
    assert [each for turn in came for each in turn] == frames


def test_a_message_as_long_as_a_step_does_not_wait() -> None:
    holding = Holding(0.15)
    holding.size = STEP
    assert [holding.audio(frame(STEP), 0.0) for _ in range(3)] == [False] * 3


def test_nothing_waits_unless_it_is_told_to_but_steps_are_counted_from_the_first_byte() -> None:
    holding = Holding(0.15)
    assert not holding.audio(frame(640), 0.0)
    holding.size = STEP
    assert [holding.audio(frame(640), 0.0) for _ in range(4)] == [True, True, True, False]


def test_the_wait_is_measured_from_the_first_message_that_waits() -> None:
    holding = Holding(0.15)
    holding.size = STEP
    assert holding.left(5.0) is None
    holding.audio(frame(640), 5.0)
    holding.audio(frame(640), 5.1)
    assert round(holding.left(5.1) or 0.0, 6) == 0.05
    holding.release()
    assert holding.left(5.1) is None


@given(st.lists(st.integers(0, 2 * STEP)), st.sampled_from([0, 1, 640, STEP]))
def test_every_message_comes_once_and_in_order(sizes: list[int], step: int) -> None:
    holding = Holding(0.15)
    holding.size = step
    frames = [frame(size) for size in sizes]
    came: list[Frame] = []
    for each in frames:
        if not holding.audio(each, 0.0):
            came += [*holding.release(), each]
    assert [id(each) for each in [*came, *holding.release()]] == [id(each) for each in frames]


@given(st.lists(st.integers(0, 100), min_size=1))
def test_never_more_messages_wait_than_are_read_ahead(sizes: list[int]) -> None:
    holding = Holding(0.15)
    holding.size = 1 << 30
    for each in map(frame, sizes):
        if not holding.audio(each, 0.0):
            assert len(holding.release()) == MOST - 1
    assert len(holding.release()) < MOST
