"""What counts as a stall, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.riva.progress import STEADY_AFTER, Progress

SILENCE = bytes(3200)  # 100 ms
SPEECH = b"\x00\x20\x00\xe0" * 800


def progress(*, steady: bool = False) -> Progress:
    return Progress(16000, first_answer=5.0, stall=3.0, finish=10.0, steady=steady)


def send(watch: Progress, pcm: bytes, *, start: float, seconds: float, pace: float = 1.0) -> float:
    """Audio in 100 ms chunks; returns the time after it."""
    for index in range(round(seconds * 10)):
        watch.sending(pcm, start + index * 0.1 / pace)
        watch.sent()
    return start + seconds / pace


def steady() -> Progress:
    watch = progress()
    for index in range(STEADY_AFTER):
        watch.answered(float(index), has_words=False, is_final=False)
    return watch


def test_speech_that_is_never_answered_is_a_stall() -> None:
    watch = progress()
    end = send(watch, SPEECH, start=0.0, seconds=4.9)
    assert watch.stall_reason(end) == ""
    end = send(watch, SPEECH, start=end, seconds=0.2)
    assert watch.stall_reason(end) == "no answer to 5.1 s of audio"


def test_silence_that_is_never_answered_is_none() -> None:
    watch = progress()
    assert watch.stall_reason(send(watch, SILENCE, start=0.0, seconds=60)) == ""


def test_silence_is_to_be_answered_where_other_streams_answer_it() -> None:
    watch = progress(steady=True)
    assert watch.stall_reason(send(watch, SILENCE, start=0.0, seconds=3)) == "no answer to 3.0 s of audio"


def test_audio_sent_in_a_hurry_is_given_the_time_it_would_have_taken() -> None:
    watch = progress()
    end = send(watch, SPEECH, start=0.0, seconds=8, pace=4.0)
    assert watch.stall_reason(end) == ""
    assert watch.stall_reason(4.9) == ""
    assert watch.stall_reason(5.0) != ""


def test_a_client_that_sends_nothing_is_no_stall() -> None:
    watch = steady()
    end = send(watch, SPEECH, start=0.0, seconds=1)
    assert watch.stall_reason(end + 3600) == ""


def test_a_backend_that_answers_words_only_may_be_silent_between_utterances() -> None:
    watch = progress()
    watch.answered(1.0, has_words=True, is_final=True)
    assert watch.stall_reason(send(watch, SPEECH, start=1.0, seconds=600)) == ""


def test_a_backend_that_answers_words_only_may_not_be_silent_in_mid_utterance() -> None:
    watch = progress()
    watch.answered(1.0, has_words=True, is_final=False)
    end = send(watch, SILENCE, start=1.0, seconds=600)
    assert watch.stall_reason(end) == ""
    assert watch.stall_reason(send(watch, SPEECH, start=end, seconds=3)) == "no answer to 3.0 s of audio"


def test_a_backend_that_used_to_answer_everything_may_not() -> None:
    watch = steady()
    end = send(watch, SILENCE, start=10.0, seconds=2.9)
    assert watch.stall_reason(end) == ""
    assert watch.stall_reason(send(watch, SILENCE, start=end, seconds=0.2)) != ""


def test_an_answer_settles_all_audio_before_it() -> None:
    watch = steady()
    send(watch, SPEECH, start=10.0, seconds=10)
    watch.answered(20.0, has_words=True, is_final=False)
    assert watch.stall_reason(20.0) == ""


def test_audio_that_is_not_taken_is_a_stall_of_any_backend() -> None:
    watch = progress()
    watch.answered(0.0, has_words=True, is_final=True)
    watch.sending(SPEECH, 1.0)
    assert watch.stall_reason(5.9) == ""
    assert watch.stall_reason(6.0) == "audio was not taken"


def test_a_stream_that_does_not_end_is_a_stall_counted_from_its_last_result() -> None:
    watch = steady()
    watch.finishing(100.0)
    watch.answered(104.0, has_words=True, is_final=True)
    assert watch.stall_reason(113.9) == ""
    assert watch.stall_reason(114.0) == "no end within 10 s of the end of the audio"


def test_a_stream_waits_from_the_first_sound_without_an_answer_and_through_the_pauses_after_it() -> None:
    watch = progress()
    end = send(watch, SILENCE, start=0.0, seconds=5)
    assert watch.waiting(end) == 0.0
    end = send(watch, SPEECH, start=end, seconds=0.1)
    end = send(watch, SILENCE, start=end, seconds=1.9)
    assert watch.waiting(end) == pytest.approx(2.0)
    watch.answered(end, has_words=True, is_final=True)
    assert watch.waiting(end + 60) == 0.0


def test_a_stream_waits_in_silence_too_where_it_was_answered_or_words_are_not_final() -> None:
    speaking = progress()
    speaking.answered(0.0, has_words=True, is_final=False)
    for watch in (steady(), speaking):
        assert watch.waiting(send(watch, SILENCE, start=10.0, seconds=1)) == pytest.approx(1.0)


def test_a_stream_does_not_wait_for_longer_than_the_audio_that_waits_with_it() -> None:
    watch = progress()
    end = send(watch, SPEECH, start=0.0, seconds=0.5)
    assert watch.waiting(end + 60) == pytest.approx(0.5)
    watch.sending(SPEECH, end + 60)  # and nobody takes it
    assert watch.waiting(end + 67) == pytest.approx(7.0)


def test_a_stream_waits_for_its_end() -> None:
    watch = steady()
    watch.finishing(100.0)
    assert watch.waiting(103.0) == pytest.approx(3.0)


@given(st.booleans(), st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.01, 2.0)), max_size=60))
def test_a_backend_that_answers_within_two_seconds_never_stalls(
    steady: bool, steps: list[tuple[bool, bool, float]]
) -> None:
    watch, now = progress(steady=steady), 0.0
    for has_words, is_final, seconds in steps:
        watch.sending(SPEECH, now)
        watch.sent()
        now += seconds
        assert watch.stall_reason(now) == ""
        watch.answered(now, has_words=has_words, is_final=is_final)
        assert watch.stall_reason(now) == ""


STEPS = ("speech", "silence", "taken", "wordless", "words", "final", "end")


@given(steps=st.lists(st.sampled_from(STEPS), max_size=12))
def test_where_nothing_is_waited_for_nothing_ever_stalls(steps: list[str]) -> None:
    watch, now = progress(), 0.0
    for step in steps:
        now += 0.1
        match step:
            case "speech" | "silence":
                watch.sending(SPEECH if step == "speech" else SILENCE, now)
            case "taken":
                watch.sent()
            case "end":
                watch.finishing(now)
            case _:
                watch.answered(now, has_words=step != "wordless", is_final=step == "final")
        if watch.is_idle:
            assert watch.stall_reason(now + 3600) == ""
            assert watch.waiting(now + 3600) == 0
