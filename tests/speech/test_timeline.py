"""The timeline: finals tile, and no word is said twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.speech.messages import Transcript
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


def settle(timeline: Timeline, result: Recognised, origin: int = 0, end: int = LONG) -> Transcript | None:
    return timeline.final(result, origin=origin, end=end, source=Tier.PRIMARY)


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


def test_times_of_a_later_stream_are_shifted_to_the_session() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 0, 1000)))
    again = settle(timeline, final(("two", 200, 500)), origin=1000)
    assert again is not None
    assert (again.words, again.end) == ((Word("two", 1200, 1500, 0.9),), 1500)


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


def test_a_scrap_of_the_last_word_at_the_seam_of_a_replay_is_no_word() -> None:
    timeline = Timeline(RATE)
    settle(timeline, final(("one", 100, 900)))
    assert settle(timeline, final(("n", 0, 60)), origin=900) is None
    said = settle(timeline, final(("two", 60, 300)), origin=900)
    assert said is not None
    assert said.text == "two"


def test_a_final_without_word_times_leaves_its_last_half_second_unsettled() -> None:
    timeline = Timeline(RATE)
    untimed = settle(timeline, Recognised(is_final=True, text="hello", processed=3000))
    assert untimed is not None
    assert (untimed.text, untimed.end) == ("hello", 2500)


def test_a_final_without_any_position_covers_all_audio_that_was_sent() -> None:
    timeline = Timeline(RATE)
    bare = settle(timeline, Recognised(is_final=True, text="hello"), end=1234)
    assert bare is not None
    assert bare.end == 1234


def test_no_final_reaches_past_the_audio() -> None:
    timeline = Timeline(RATE)
    late = settle(timeline, final(("one", 100, 5000)), end=700)
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
        if (transcript := settle(timeline, final(*words, processed=6000), end=6000)) is not None:
            sent.append(transcript)
    assert [transcript.seq for transcript in sent] == list(range(1, len(sent) + 1))
    assert [transcript.start for transcript in sent[1:]] == [transcript.end for transcript in sent[:-1]]
    assert all(transcript.start <= transcript.end for transcript in sent)
