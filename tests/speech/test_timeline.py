"""The timeline: finals tile, and no word is said twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.messages import Cut, Transcript
from actors.speech.ports import Recognised, Tier, Word
from actors.speech.timeline import Timeline

RATE = 1000  # one sample a millisecond: positions read as times
LONG = 10**9


def final(*words: tuple[str, int, int], processed: int = 0) -> Recognised:
    spoken = tuple(Word(text, start, end, 0.9) for text, start, end in words)
    return Recognised(
        is_final=True,
        text=" ".join(word.text for word in spoken),
        words=spoken,
        processed=processed,
        confidence=0.8,
    )


def settle(timeline: Timeline, result: Recognised, sent: int = LONG, cut: Cut = Cut.NONE) -> Transcript | None:
    return timeline.final(result, sent=sent, source=Tier.PRIMARY, cut=cut)


def test_a_final_reaches_to_the_end_of_its_last_word() -> None:
    timeline = Timeline(RATE)
    first = settle(timeline, final(("hello", 100, 400), ("world", 500, 900), processed=2000))
    second = settle(timeline, final(("again", 1500, 1800)))
    assert first == Transcript(
        is_final=True, seq=1, start=0, end=900, text="hello world",
        words=(Word("hello", 100, 400, 0.9), Word("world", 500, 900, 0.9)), confidence=0.8,
    )  # fmt: skip
    assert second is not None
    assert (second.seq, second.start, second.end) == (2, 900, 1800)


def test_a_later_stream_begins_where_the_last_final_ended() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 0, 1000)))
    assert timeline.stream_opened() == 1000
    again = settle(timeline, final(("two", 1200, 1500)))
    assert again is not None
    assert (again.start, again.end) == (1000, 1500)


def test_a_repeated_final_says_nothing_new() -> None:
    timeline = Timeline(RATE)
    result = final(("one", 100, 400), ("two", 500, 900))
    settle(timeline, result)
    assert settle(timeline, result) is None
    assert timeline.seq == 1


def test_words_of_an_overlapping_final_that_were_said_before_are_left_out() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 100, 400), ("two", 500, 900)))
    overlap = settle(timeline, final(("two", 500, 900), ("three", 1000, 1300)))
    assert overlap is not None
    assert (overlap.text, overlap.start, overlap.end) == ("three", 900, 1300)


def test_words_that_come_out_of_turn_are_said_late_but_said() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 100, 400)))
    settle(timeline, final(("four", 2500, 2900)))
    late = settle(timeline, final(("two", 600, 900), ("three", 1000, 1300)))
    assert late is not None
    assert (late.text, late.seq, late.start, late.end) == ("two three", 3, 2900, 2900)
    assert settle(timeline, final(("two", 600, 900), ("three", 1000, 1300))) is None


def test_a_word_whose_times_were_corrected_is_the_same_word() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 100, 400), ("two", 500, 900)))
    assert settle(timeline, final(("one", 160, 400), ("too", 560, 880))) is None


def test_a_scrap_of_the_last_word_at_the_seam_of_a_replay_is_no_word() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 100, 900)))
    timeline.stream_opened()
    assert settle(timeline, final(("n", 900, 960))) is None
    said = settle(timeline, final(("two", 960, 1200)))
    assert said is not None
    assert said.text == "two"


def test_the_other_half_of_a_word_that_was_cut_off_is_not_said_again() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 100, 400), ("two", 500, 900)), cut=Cut.TOUCHED)
    rest = settle(timeline, final(("two", 910, 1100), ("three", 1200, 1500)))
    assert rest is not None
    assert (rest.text, rest.start, rest.end) == ("three", 900, 1500)


def test_a_word_that_was_cut_twice_is_said_once_and_all_of_it_is_settled() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("two", 500, 900)), cut=Cut.TOUCHED)
    middle = settle(timeline, final(("two", 900, 1100)), cut=Cut.TOUCHED)
    end = settle(timeline, final(("two", 1100, 1200)))
    assert (middle, end) == (
        Transcript(is_final=True, seq=2, start=900, end=1100, text="", confidence=0.8),
        Transcript(is_final=True, seq=3, start=1100, end=1200, text="", confidence=0.8),
    )
    assert settle(timeline, final(("two", 1200, 1400))) is not None


@pytest.mark.parametrize(("text", "start"), [("too", 910), ("two", 990)])
def test_a_word_after_a_cut_is_only_left_out_if_it_is_the_same_and_follows_at_once(text: str, start: int) -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("two", 500, 900)), cut=Cut.TOUCHED)
    assert settle(timeline, final((text, start, 1200))) is not None


def test_the_same_word_twice_is_two_words_where_nothing_was_cut() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("no", 500, 900)))
    assert settle(timeline, final(("no", 900, 1200))) is not None


def test_a_cut_word_that_the_next_stream_can_hear_whole_is_left_to_it() -> None:
    timeline = Timeline(RATE)
    said = settle(timeline, final(("one", 100, 400), ("tw", 500, 900)), cut=Cut.HELD)
    assert said is not None
    assert (said.text, said.end) == ("one", 400)
    assert timeline.silence(900, Tier.PRIMARY) == Transcript(is_final=True, seq=2, start=400, end=500, text="")
    assert timeline.stream_opened() == 500
    whole = settle(timeline, final(("two", 500, 1100)))
    assert whole is not None
    assert whole.text == "two"


def test_a_cut_word_that_stands_alone_is_taken_as_it_is() -> None:
    timeline = Timeline(RATE)
    alone = settle(timeline, final(("looong", 100, 900)), cut=Cut.HELD)
    assert alone is not None
    assert alone.end == 900
    timeline.stream_opened()
    rest = settle(timeline, final(("looong", 900, 1500)))
    assert rest is not None
    assert (rest.text, rest.end) == ("", 1500)


def test_a_final_without_word_times_leaves_its_last_half_second_unsettled() -> None:
    timeline = Timeline(RATE)
    untimed = settle(timeline, Recognised(is_final=True, text="hello", processed=3000))
    assert untimed is not None
    assert (untimed.text, untimed.end) == ("hello", 2500)


def test_a_final_made_of_an_interim_reaches_as_far_as_that_had_heard() -> None:
    timeline = Timeline(RATE)
    made = settle(timeline, Recognised(is_final=True, text="hello", processed=3000, provisional=True))
    assert made is not None
    assert (made.end, made.provisional) == (3000, True)


def test_a_final_without_any_position_covers_all_audio_that_was_sent() -> None:
    timeline = Timeline(RATE)
    bare = settle(timeline, Recognised(is_final=True, text="hello"), sent=1234)
    assert bare is not None
    assert bare.end == 1234


def test_no_final_reaches_past_the_audio() -> None:
    timeline = Timeline(RATE)
    late = settle(timeline, final(("one", 100, 5000)), sent=700)
    assert late is not None
    assert late.end == 700


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500)), max_size=5),
        max_size=10,
    )
)
def test_finals_tile_whatever_a_backend_reports(reports: list[list[tuple[int, int]]]) -> None:
    timeline = Timeline(RATE)
    sent = []
    for report in reports:
        words = [(f"w{start}", start, start + length) for start, length in sorted(report)]
        if (transcript := settle(timeline, final(*words, processed=6000), sent=6000)) is not None:
            sent.append(transcript)
    assert [transcript.seq for transcript in sent] == list(range(1, len(sent) + 1))
    assert [transcript.start for transcript in sent[1:]] == [transcript.end for transcript in sent[:-1]]
    assert all(transcript.start <= transcript.end for transcript in sent)
