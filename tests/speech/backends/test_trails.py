"""What is remembered of sessions, and that it is forgotten."""

from __future__ import annotations

from actors.speech.backends.place import Place
from actors.speech.backends.quota import Quota
from actors.speech.backends.trails import Trails
from tests.speech.backends.driver import backend

PLACE = Place(backend("a"), Quota("a"), random=lambda: 0.0, tell=lambda event: None)


def test_a_trail_is_kept_while_its_session_has_a_stream_and_half_a_minute_longer() -> None:
    trails = Trails()
    trails.opened("speaking", PLACE)
    trails.opened("gone", PLACE).was_failed(PLACE, 0.0)
    trails.opened("back", PLACE)
    trails.ended("gone", PLACE, 0.0)
    trails.ended("back", PLACE, 0.0)
    trails.opened("back", PLACE)
    assert trails.of("gone").was_failed_by(PLACE, 29.0)
    trails.opened("later", PLACE)
    trails.ended("later", PLACE, 30.0)
    assert [trails.of(name).streams for name in ("speaking", "back")] == [[PLACE], [PLACE]]
    assert (len(trails), trails.of("gone").failed) == (3, {})


def test_of_a_session_nobody_knows_there_is_nothing_to_tell() -> None:
    trails = Trails()
    assert (trails.of("unknown").place, len(trails)) == (None, 0)


def test_a_session_whose_next_stream_fails_is_still_where_its_present_one_is() -> None:
    trails, other = Trails(), Place(backend("b"), Quota("b"), random=lambda: 0.0, tell=lambda event: None)
    trails.opened("s", PLACE).place = PLACE
    trails.opened("s", other).place = other
    assert trails.ended("s", other, 1.0).place is PLACE
    assert trails.ended("s", PLACE, 2.0).place is PLACE
