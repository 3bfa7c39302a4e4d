"""Backends that count word times anew with each utterance, and those that only look as if they did."""

from __future__ import annotations

from actors.speech.ports import Recognised, Word
from actors.speech.utterance_times import UtteranceTimes

RATE = 1000


def final(*words: tuple[str, int, int], processed: int = 0) -> Recognised:
    spoken = tuple(Word(text, start, end) for text, start, end in words)
    return Recognised(is_final=True, text=" ".join(word.text for word in spoken), words=spoken, processed=processed)


def shifts(*results: Recognised) -> list[int]:
    times = UtteranceTimes(RATE)
    return [times.shift(result) for result in results]


def test_times_since_the_streams_start_are_taken_as_they_are() -> None:
    assert shifts(
        final(("a", 100, 3000), processed=4000),
        final(("b", 2500, 5000), processed=6000),  # overlaps a little, as alignments do
        final(("c", 7000, 8000), processed=9000),
    ) == [0, 0, 0]


def test_times_that_start_again_with_each_utterance_are_shifted() -> None:
    assert shifts(
        final(("a", 100, 3000), processed=4000),
        final(("b", 200, 1000), processed=6000),
        final(("c", 50, 90), processed=7000),
    ) == [0, 4000, 6000]


def test_short_utterances_give_it_away_as_well() -> None:
    assert shifts(final(("yes", 100, 400), processed=2000), final(("no", 100, 500), processed=4000)) == [0, 2000]
    assert shifts(final(("yes", 100, 400), processed=2000), final(("yes", 100, 400), processed=4000)) == [0, 2000]


def test_an_utterance_that_begins_later_than_the_one_before_ended_is_given_away_by_the_silence_after_it() -> None:
    assert shifts(final(("yes", 100, 400), processed=1400), final(("no", 900, 1200), processed=3600)) == [0, 1400]


def test_a_final_that_goes_on_where_the_last_one_is_said_again_is_not_an_utterance_of_its_own() -> None:
    assert shifts(
        final(("a", 100, 400), processed=2000),
        final(("a", 100, 400), ("b", 2500, 2900), processed=4000),
    ) == [0, 0]


def test_a_final_out_of_order_is_not_an_utterance_of_its_own() -> None:
    assert shifts(
        final(("a", 100, 400), processed=2000),
        final(("c", 5000, 6000), processed=7000),
        final(("b", 3000, 3400), processed=4500),
        final(("d", 8000, 9000), processed=10_000),
    ) == [0, 0, 0, 0]


def test_an_utterance_out_of_order_counts_from_the_one_before_it() -> None:
    assert shifts(
        final(("a", 100, 400), processed=2000),
        final(("b", 100, 500), processed=4000),
        final(("d", 100, 500), processed=8000),
        final(("c", 200, 600), processed=6000),
    ) == [0, 2000, 4000, 4000]


def test_a_judgement_that_leads_past_the_audio_is_taken_back() -> None:
    late = final(("b", 2100, 2300), processed=5000)  # long after its words: it looks counted from 2000
    assert shifts(final(("a", 100, 1900), processed=2000), late, final(("c", 6000, 6500), processed=7000)) == [
        0,
        2000,
        0,
    ]


def test_without_the_audio_processed_only_a_start_far_back_counts() -> None:
    assert shifts(final(("a", 100, 3000)), final(("b", 2500, 5000)), final(("c", 100, 500))) == [0, 0, 5000]
    assert shifts(final(("a", 100, 3000)), final(("a", 100, 3000), ("b", 4000, 4500))) == [0, 0]


def test_interims_are_shifted_with_their_utterance() -> None:
    times = UtteranceTimes(RATE)
    times.shift(final(("a", 100, 3000), processed=4000))
    times.shift(final(("b", 200, 1000), processed=6000))
    interim = Recognised(is_final=False, text="c", words=(Word("c", 50, 90),), processed=6500)
    assert (times.shift(interim), times.shift(interim)) == (6000, 6000)


def test_a_final_that_came_before_is_known() -> None:
    times = UtteranceTimes(RATE)
    one = final(("a", 100, 3000), processed=4000)
    times.shift(one)
    assert times.repeats(one)
    assert not times.repeats(final(("a", 100, 3000), processed=8000))
    bare = Recognised(is_final=True, text="yes")
    times.shift(bare)
    assert not times.repeats(bare)
