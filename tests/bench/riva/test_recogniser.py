"""What a scripted Riva makes of word-coded audio, and what a plan makes of that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.riva.faults import FinalsAction
from bench.riva.plan import read
from bench.riva.recogniser import Recogniser, Result
from bench.riva.tampering import Tampering
from bench.riva.words import CodedSpeech, CodedWord, silence

SPEECH = CodedSpeech(words=7, first=1, utterance=3, pause=0.5)
PCM = SPEECH.read(0, SPEECH.samples)
STEP = 1600  # samples of 100 ms


def recognised(*pieces: bytes) -> list[Result]:
    recogniser = Recogniser(16_000)
    return [result for piece in pieces for result in recogniser.hear(piece)] + list(recogniser.finish())


def text(result: Result) -> str:
    return " ".join(word.text for word in result.words)


def finals(results: list[Result]) -> list[str]:
    return [text(result) for result in results if result.is_final]


def test_each_step_of_audio_has_one_answer_and_each_pause_a_final() -> None:
    results = recognised(PCM)
    assert [result.processed for result in results] == list(range(STEP, SPEECH.samples + 1, STEP))
    assert finals(results) == ["w1 w2 w3", "w4 w5 w6", "w7"]
    assert [text(result) for result in results[:9]] == [
        "", "w1", "w1", "w1 w2", "w1 w2", "w1 w2 w3", "w1 w2 w3", "w1 w2 w3", "w1 w2 w3",
    ]  # fmt: skip
    assert [result.is_final for result in results[:9]] == 8 * [False] + [True]
    assert results[8].words == (SPEECH.word(1), SPEECH.word(2), SPEECH.word(3))


@given(st.lists(st.integers(0, len(PCM) // 2), max_size=40))
def test_how_the_audio_is_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(PCM) // 2]
    pieces = [PCM[2 * start : 2 * end] for start, end in pairwise(edges)]
    assert recognised(*pieces) == recognised(PCM)


def test_the_end_of_the_audio_gives_the_last_words_at_once() -> None:
    word = SPEECH.word(2)
    results = recognised(PCM[: 2 * word.end])
    assert results[-1] == Result(is_final=True, words=(SPEECH.word(1), word), processed=word.end)
    assert recognised(silence(0.5))[-1] == Result(processed=8000)


def test_a_forced_end_leaves_a_word_that_is_half_spoken_to_the_next_utterance() -> None:
    recogniser = Recogniser(16_000)
    half = 2 * (SPEECH.word(2).start + 640)
    before = list(recogniser.hear(PCM[:half]))
    assert [*recogniser.force(), *recogniser.force()] == [
        Result(is_final=True, words=(SPEECH.word(1),), processed=half // 2)
    ]
    after = list(recogniser.hear(PCM[half:]))
    assert finals(after) == ["w2 w3", "w4 w5 w6", "w7"]
    assert len(before) + len(after) == SPEECH.samples // STEP


def test_speech_without_pauses_is_one_utterance() -> None:
    endless = CodedSpeech(words=40, pause=0.0)
    results = recognised(endless.read(0, endless.samples))
    assert [len(final.split()) for final in finals(results)] == [40]


# ---- tampering


def tampered(*actions: dict[str, Any], results: list[Result] | None = None) -> list[Result]:
    tampering = Tampering()
    for action in actions:
        fault = read({"faults": [action]}).faults[0]
        assert isinstance(fault, FinalsAction)
        tampering.add(fault)
    changed = tampering.apply(recognised(PCM) if results is None else results)
    return [*changed, *tampering.end()]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"action": "repeat_finals"}, ["w1 w2 w3", "w1 w2 w3", "w4 w5 w6", "w4 w5 w6", "w7", "w7"]),
        ({"action": "repeat_finals", "finals": 1}, ["w1 w2 w3", "w1 w2 w3", "w4 w5 w6", "w7"]),
        ({"action": "empty_finals"}, ["", "w1 w2 w3", "", "w4 w5 w6", "", "w7"]),
        ({"action": "overlap_finals"}, ["w1 w2 w3", "w3 w4 w5 w6", "w6 w7"]),
        ({"action": "overlap_finals", "words": 2, "finals": 2}, ["w1 w2 w3", "w2 w3 w4 w5 w6", "w7"]),
        ({"action": "reorder_finals"}, ["w4 w5 w6", "w1 w2 w3", "w7"]),
        ({"action": "reorder_finals", "finals": 1}, ["w4 w5 w6", "w1 w2 w3", "w7"]),
        ({"action": "never_final"}, []),
    ],
)
def test_finals_are_repeated_emptied_overlapped_reordered_or_left_out(
    action: dict[str, Any], expected: list[str]
) -> None:
    assert finals(tampered(action)) == expected


def test_no_tampering_changes_interims_unless_there_are_never_finals() -> None:
    interims = [result for result in recognised(PCM) if not result.is_final]
    for action in ("repeat_finals", "empty_finals", "overlap_finals", "reorder_finals"):
        assert [result for result in tampered({"action": action}) if not result.is_final] == interims


def test_without_finals_the_interims_hold_all_words() -> None:
    results = tampered({"action": "never_final"})
    assert [text(result) for result in results][-6:] == 6 * ["w1 w2 w3 w4 w5 w6 w7"]
    assert len(results) == len(recognised(PCM))


def test_overlapping_words_keep_their_times() -> None:
    second = [result for result in tampered({"action": "overlap_finals"}) if result.is_final][1]
    assert second.words == tuple(SPEECH.word(number) for number in (3, 4, 5, 6))


def test_utterance_times_count_from_the_final_before() -> None:
    results = tampered({"action": "utterance_times"})
    ends = [result.processed for result in results if result.is_final]
    assert [result.zero for result in results if result.is_final] == [0, *ends[:2]]
    assert [msgspec.structs.replace(result, zero=0) for result in results] == recognised(PCM)


def test_slow_finals_are_delayed() -> None:
    results = tampered({"action": "slow_finals", "seconds": 2.5, "finals": 2})
    assert [result.delay for result in results if result.is_final] == [2.5, 2.5, 0.0]


def test_tamperings_work_on_one_anothers_results() -> None:
    both = tampered({"action": "repeat_finals"}, {"action": "reorder_finals", "finals": 1})
    assert finals(both) == ["w1 w2 w3", "w1 w2 w3", "w4 w5 w6", "w4 w5 w6", "w7", "w7"]
    held = tampered({"action": "reorder_finals"}, {"action": "repeat_finals"})
    assert finals(held) == ["w4 w5 w6", "w4 w5 w6", "w1 w2 w3", "w1 w2 w3", "w7", "w7"]


@st.composite
def tamperings(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(["repeat_finals", "empty_finals", "overlap_finals", "reorder_finals"]))
    return {"action": name, **draw(st.fixed_dictionaries({}, optional={"finals": st.integers(1, 3)}))}


@given(st.lists(tamperings(), max_size=3), st.integers(0, 6))
def test_no_tampering_loses_a_word(actions: list[dict[str, Any]], count: int) -> None:
    def said() -> Iterator[Result]:
        for number in range(count):
            yield Result(is_final=True, words=(CodedWord(number, number, number + 1),), processed=number)

    heard = {word for final in finals(tampered(*actions, results=list(said()))) for word in final.split()}
    assert heard == {f"w{number}" for number in range(count)}
