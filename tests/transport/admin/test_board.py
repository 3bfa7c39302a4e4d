"""What threads see of the loop, and what viewers are sent."""

from __future__ import annotations

import json
import threading
from typing import Any

import msgspec
import pytest

from tests.transport.admin.states import state
from transport.admin.board import INTEREST, LATE, PATCHES, STANDSTILL, Board, Feed, Update


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def whole(update: Update) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(update.json)
    return document


def test_silence_grows_until_the_loop_gives_a_sign_of_life() -> None:
    clock = Clock()
    board = Board(clock)
    clock.now += STANDSTILL
    assert (board.silence, board.stands_still) == (STANDSTILL, False)
    clock.now += 0.1
    assert board.stands_still
    board.beat({}, started=True)
    assert (board.silence, board.stands_still, board.started) == (0.0, False, True)


def test_interest_in_the_state_is_over_after_a_while() -> None:
    clock = Clock()
    board = Board(clock)
    assert not board.is_watched
    board.beat({}, started=True)
    clock.now += LATE
    assert board.fresh() is None
    assert board.is_watched
    clock.now += INTEREST
    assert not board.is_watched


def test_whoever_asks_gets_a_state_from_after_the_question() -> None:
    board = Board()
    board.beat({}, started=True)
    board.publish(state())
    later = state(waiting=7)
    publisher = threading.Timer(0.1, board.publish, [later])
    publisher.start()
    assert board.fresh(patience=30.0) is later
    publisher.join()


def test_nobody_waits_for_a_loop_that_stands_still() -> None:
    clock = Clock()
    board = Board(clock)
    last = state()
    board.publish(last)
    clock.now += LATE
    assert board.fresh(patience=float("inf")) is last


def test_a_viewer_gets_the_whole_first_and_then_what_changed() -> None:
    board = Board()
    feed = Feed(board)
    assert feed.after(0) == []
    board.publish(state())
    (first,) = feed.after(0)
    assert (first.version, first.is_patch, whole(first)) == (
        1,
        False,
        msgspec.to_builtins(state(), order=None) | {"lags": list(state().lags)},
    )
    assert feed.after(1) == []
    board.publish(state(waiting=3))
    assert feed.after(1) == [Update(2, True, b'{"waiting":3}')]


def test_a_viewer_that_comes_back_gets_what_it_has_missed() -> None:
    board = Board()
    feed = Feed(board)
    for waiting in range(1, 6):
        board.publish(state(waiting=waiting))
        feed.after(0)
    assert [(update.version, update.json) for update in feed.after(3)] == [(4, b'{"waiting":4}'), (5, b'{"waiting":5}')]


@pytest.mark.parametrize("version", [0, 1, 99])
def test_one_that_was_away_for_too_long_gets_the_whole_again(version: int) -> None:
    board = Board()
    feed = Feed(board)
    for waiting in range(1, PATCHES + 3):
        board.publish(state(waiting=waiting))
        feed.after(0)
    (update,) = feed.after(version)
    assert (update.version, update.is_patch, whole(update)["waiting"]) == (PATCHES + 2, False, PATCHES + 2)


def test_what_is_sent_is_worked_out_once_for_all_viewers() -> None:
    board = Board()
    feed = Feed(board)
    board.publish(state(10))
    assert feed.after(0)[0].json is feed.after(0)[0].json
    board.publish(state(11))
    assert feed.after(1)[0].json is feed.after(1)[0].json
