"""Word-coded audio: every word is found where it is, and every lost, doubled or damaged one is noticed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from bench.riva.words import TAGS, WORDS, CodedSpeech, CodedWord, WordDecoder, silence, words
from transport.audio.g711 import ALAW, MULAW

SPEECH = CodedSpeech(words=12, first=4711, tag=99, utterance=5, pause=0.4)
PCM = SPEECH.read(0, SPEECH.samples)
SPOKEN = [SPEECH.word(number) for number in range(4711, 4723)]
MILLISECOND = 16
RATES = [8000, 11000, 16000, 22050, 44100, 48000]


def decoded(*pieces: bytes, rate: int = 16_000) -> list[CodedWord]:
    decoder = WordDecoder(rate)
    return [word for piece in pieces for word in decoder.feed(piece)] + decoder.finish()


def samples(pcm: bytes) -> Any:
    return np.frombuffer(pcm, "<i2")


def through(table: tuple[int, ...], pcm: Any) -> Any:
    """Coded with G.711 and decoded again."""
    levels = np.sort(np.array(table, np.int16))
    return levels[np.searchsorted((levels[1:].astype(int) + levels[:-1]) / 2, pcm)]


def resampled(pcm: Any, source: int, target: int) -> Any:
    """In chunks of 100 ms, as a live stream is."""
    stream = soxr.ResampleStream(source, target, 1, dtype="int16", quality="HQ")
    size = source // 10
    pieces = [stream.resample_chunk(pcm[at : at + size]) for at in range(0, len(pcm), size)]
    return np.concatenate([*pieces, stream.resample_chunk(np.empty(0, np.int16), last=True)])


# ---- what is said is heard


def test_each_word_is_found_at_its_samples() -> None:
    assert decoded(PCM) == SPOKEN


@given(st.integers(0, WORDS - 3), st.integers(0, TAGS - 1), st.sampled_from(RATES))
def test_every_number_and_tag_can_be_said_at_every_rate(first: int, tag: int, rate: int) -> None:
    heard = decoded(words(first, 3, rate, tag), rate=rate)
    assert [(word.number, word.tag, word.end - word.start) for word in heard] == [
        (number, tag, rate * 80 // 1000) for number in range(first, first + 3)
    ]


@given(st.lists(st.integers(0, len(PCM) // 2), max_size=60))
def test_any_chunking_gives_the_same_words(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(PCM) // 2]
    assert decoded(*(PCM[2 * start : 2 * end] for start, end in pairwise(edges))) == SPOKEN


def test_a_word_that_the_audio_ends_with_is_heard_at_the_end() -> None:
    decoder = WordDecoder()
    assert decoder.feed(PCM[: 2 * SPOKEN[0].end]) == []
    assert decoder.finish() == SPOKEN[:1]
    assert (decoder.heard, decoder.scraps) == (SPOKEN[0].end, 0)


def test_sound_that_is_not_understood_yet_is_not_clear() -> None:
    decoder = WordDecoder()
    decoder.feed(PCM[: 2 * SPOKEN[0].end])
    assert decoder.clear == SPOKEN[0].start
    decoder.feed(PCM[2 * SPOKEN[0].end : 2 * SPOKEN[0].end + 400])
    assert decoder.clear == decoder.heard == SPOKEN[0].end + 200


# ---- what a transport may do to it


@pytest.mark.parametrize("rate", RATES)
def test_words_survive_resampling_to_another_rate_and_back(rate: int) -> None:
    there = resampled(samples(PCM), 16_000, rate)
    assert decoded(resampled(there, rate, 16_000).tobytes()) == SPOKEN
    spoken = [(word.number, round(word.start * rate / 16_000)) for word in SPOKEN]
    for heard, said in zip(decoded(there.tobytes(), rate=rate), spoken, strict=True):
        assert (heard.number, abs(heard.start - said[1]) <= 1) == (said[0], True)


@pytest.mark.parametrize("table", [MULAW, ALAW], ids=["mulaw", "alaw"])
@pytest.mark.parametrize("volume", [1.0, 0.05])
def test_words_survive_a_telephone(table: tuple[int, ...], volume: float) -> None:
    there = through(table, resampled(samples(PCM), 16_000, 8000) * volume)
    assert decoded(resampled(there, 8000, 16_000).tobytes()) == SPOKEN


@pytest.mark.parametrize("volume", [0.02, 0.1, 0.5, 1.6, -1.0])
def test_words_survive_another_volume(volume: float) -> None:
    assert decoded((samples(PCM) * volume).astype("<i2").tobytes()) == SPOKEN


# ---- what it may not do


@given(st.data())
def test_a_lost_range_of_samples_is_noticed(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, SPOKEN[-1].start - 1))
    end = data.draw(st.integers(start + 1, len(PCM) // 2))
    assert decoded(PCM[: 2 * start] + PCM[2 * end :]) != SPOKEN


@given(st.data())
def test_a_doubled_range_of_samples_is_noticed(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, SPOKEN[-1].start - 1))
    end = data.draw(st.integers(start + 1, len(PCM) // 2))
    assert decoded(PCM[: 2 * end] + PCM[2 * start :]) != SPOKEN


@given(st.integers(0, 11), st.integers(0, 1280 - 5 * MILLISECOND), st.integers(5 * MILLISECOND, 1280))
def test_a_word_with_a_hole_is_no_word_and_costs_no_other(place: int, offset: int, length: int) -> None:
    start, end = SPOKEN[place].start + offset, min(SPOKEN[place].start + offset + length, SPOKEN[place].end)
    damaged = PCM[: 2 * start] + bytes(2 * (end - start)) + PCM[2 * end :]
    assert decoded(damaged) == [word for word in SPOKEN if word is not SPOKEN[place]]


def test_half_a_word_at_the_start_is_a_scrap() -> None:
    decoder = WordDecoder()
    begin = SPOKEN[3].start + 600
    heard = decoder.feed(PCM[2 * begin :])
    assert [(word.number, word.start + begin) for word in heard] == [(word.number, word.start) for word in SPOKEN[4:]]
    assert decoder.scraps == 1


def test_another_sessions_words_carry_its_tag() -> None:
    mixed = words(1, 2, tag=5) + words(3, 2, tag=6)
    assert [word.text for word in decoded(mixed)] == ["w1t5", "w2t5", "w3t6", "w4t6"]
    assert [word.text for word in decoded(words(17, 1))] == ["w17"]


@given(st.integers(0, 11), st.integers(-MILLISECOND, 100 * MILLISECOND))
def test_a_replay_from_about_a_words_end_hears_the_next_ones_whole(place: int, late: int) -> None:
    origin = SPOKEN[place].end + late
    heard = [(word.number, word.start + origin) for word in decoded(PCM[2 * origin :])]
    assert heard == [(word.number, word.start) for word in SPOKEN[place + 1 :]]
    assert all(word.end - origin > 80 * MILLISECOND for word in SPOKEN[place + 1 :])


@given(st.lists(st.integers(0, 40 * MILLISECOND), min_size=12, max_size=12))
def test_silence_filled_in_between_words_moves_them_and_nothing_else(fills: list[int]) -> None:
    pieces = [PCM[2 * (word.start - 600) : 2 * (word.end + 600)] for word in SPOKEN]
    filled = [piece + bytes(2 * fill) for piece, fill in zip(pieces, fills, strict=True)]
    assert [word.number for word in decoded(*filled)] == [word.number for word in SPOKEN]


# ---- speech as a rule, not as a recording


@given(st.integers(0, 30), st.integers(1, 7), st.sampled_from([0.0, 0.3]), st.data())
def test_any_part_of_a_speech_is_that_part_of_the_whole(count: int, utterance: int, pause: float, data: Any) -> None:
    speech = CodedSpeech(words=count, rate=8000, first=7, utterance=utterance, pause=pause)
    whole = b"".join(speech.chunks(0.07))
    position, size = data.draw(st.integers(0, speech.samples + 100)), data.draw(st.integers(0, 5000))
    assert speech.read(position, size) == whole[2 * position : 2 * (position + size)]
    assert (len(whole) // 2, decoded(whole, rate=8000)) == (speech.samples, [speech.word(7 + n) for n in range(count)])


@given(st.integers(0, SPEECH.samples), st.integers(0, SPEECH.samples))
def test_the_words_between_two_positions_are_those_with_sound_there(start: int, end: int) -> None:
    sounding = [word.number for word in SPOKEN if word.end > start and word.start < end]
    assert list(SPEECH.between(start, end)) == sounding


def test_pauses_come_after_each_utterance() -> None:
    starts = [word.start for word in SPOKEN]
    assert [(later - sooner) / 16_000 for sooner, later in pairwise(starts)] == [
        0.2, 0.2, 0.2, 0.2, 0.6, 0.2, 0.2, 0.2, 0.2, 0.6, 0.2,
    ]  # fmt: skip
    assert SPEECH.samples == 12 * 3200 + 3 * 6400
    assert (len(silence(0.25)), len(silence(0.25, 8000))) == (8000, 4000)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 11_025}, r"a sample rate of 11025 Hz; words need 8000 to 192000 Hz, a multiple of 50"),
        ({"rate": 4000}, r"a sample rate of 4000 Hz"),
        ({"first": WORDS - 9}, r"words 16777207 to 16777216; there are 0 to 16777215"),
        ({"first": -1}, r"words -1 to 8"),
        ({"tag": TAGS}, r"tag 65536; there are 0 to 65535"),
        ({"utterance": 0}, r"an utterance has at least one word"),
        ({"pause": -0.1}, r"a pause is not negative"),
    ],
)
def test_what_cannot_be_said_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodedSpeech(**{"words": 10, **fields})


def test_a_word_that_is_not_in_the_speech_is_refused() -> None:
    with pytest.raises(IndexError, match="word 4723 of 4711 to 4722"):
        SPEECH.word(4723)
