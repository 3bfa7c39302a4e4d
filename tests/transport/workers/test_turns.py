"""Who takes the next client, by what processes write into the file that they share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.workers.turns import MOST_SECONDS, STALE, SharedTurns, shared_file


class House:
    """Some processes, by slot, and their clock."""

    def __init__(self, count: int) -> None:
        self.now = 1000.0
        self.file = shared_file(count)
        self.turns = [SharedTurns(self.file, slot, lambda: self.now) for slot in range(count)]

    def hold(self, *counts: int) -> None:
        for turns, count in zip(self.turns, counts, strict=True):
            turns.present(count)


@pytest.fixture
def house() -> Iterator[House]:
    made = House(3)
    yield made
    os.close(made.file)


def test_who_has_the_fewest_takes_it_at_once_and_the_others_leave_it_the_longer_the_more_they_have(
    house: House,
) -> None:
    house.hold(5, 6, 9)
    turns = [each.take(held) for each, held in zip(house.turns, (5, 6, 9), strict=True)]
    assert turns[0].leave == 0.0
    assert 0.0 < turns[1].leave < turns[2].leave <= MOST_SECONDS


def test_nobody_leaves_anything_to_one_that_has_said_nothing_for_a_while_or_is_gone(house: House) -> None:
    house.hold(0, 50, 60)
    assert house.turns[1].take(50).leave == MOST_SECONDS
    house.turns[0].absent()
    assert house.turns[1].take(50).leave == 0.0
    house.hold(0, 50, 60)
    house.now += STALE + 0.01
    assert house.turns[2].take(60).leave == 0.0


def test_who_was_left_with_many_takes_more_of_them_at_once(house: House) -> None:
    house.hold(0, 0, 0)
    assert house.turns[1].take(1).most == 1
    assert house.turns[1].take(400).most == 100


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6), st.integers(1, 200))
def test_if_all_are_quick_those_who_come_go_where_fewest_are(counts: list[int], clients: int) -> None:
    house = House(len(counts))
    try:
        held = list(counts)
        house.hold(*held)
        for _ in range(clients):
            leaves = [each.take(count).leave for each, count in zip(house.turns, held, strict=True)]
            held[leaves.index(min(leaves))] += 1
            house.hold(*held)
        got = [after - before for before, after in zip(counts, held, strict=True)]
        assert max(after for after, more in zip(held, got, strict=True) if more) <= min(held) + 1
    finally:
        os.close(house.file)
