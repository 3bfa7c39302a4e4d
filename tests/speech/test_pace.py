"""Who can wait: a client ahead of real time, told from live speech by the clock alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.speech.pace import AHEAD_SECONDS, CREDIT_SECONDS, Pace


def test_a_file_is_ahead_after_ten_seconds_of_audio() -> None:
    pace = Pace()
    for _ in range(10):
        pace.sent(1.0, now=5.0)
    assert not pace.ahead
    pace.sent(0.1, now=5.0)
    assert pace.ahead


@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=50), st.floats(1.0, 1.04))
def test_live_speech_is_never_ahead_however_its_frames_arrive(delays: list[float], clock: float) -> None:
    """Each message holds what was spoken since the last one, by a sound card whose clock runs a little fast."""
    pace, now = Pace(), 0.0
    for delay in delays * 20:
        now += delay
        pace.sent(delay * clock, now)
        assert not pace.ahead


def test_a_break_of_the_connection_may_be_made_up_for_in_one_go() -> None:
    pace = Pace()
    pace.sent(0.1, now=0.0)
    pace.sent(CREDIT_SECONDS, now=CREDIT_SECONDS)
    assert not pace.ahead


def test_a_long_silence_is_no_credit_for_a_long_file() -> None:
    pace = Pace()
    pace.sent(0.1, now=0.0)
    pace.sent(CREDIT_SECONDS + AHEAD_SECONDS + 1.0, now=3600.0)
    assert pace.ahead


def test_time_spent_waiting_does_not_bring_the_clock_closer() -> None:
    pace = Pace()
    pace.sent(20.0, now=0.0)
    pace.waited(now=600.0)
    pace.sent(0.1, now=600.0)
    assert pace.ahead
    pace.sent(0.1, now=620.0)  # but time in which it could have sent, and did not, does
    assert not pace.ahead
