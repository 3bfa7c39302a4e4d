"""Cutting audio by loudness alone: where utterances begin and end, however the audio is fed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.utterances import Span, Utterances

RATE = 8000


def sound(seconds: float, magnitude: int) -> bytes:
    """Noise of a mean magnitude."""
    dice = random.Random(round(seconds * 1000) + magnitude)
    samples = (round(dice.uniform(-2, 2) * magnitude) for _ in range(int(seconds * RATE)))
    return b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)


ROOM, VOICE = 60, 3000


def spans(*parts: bytes, position: int = 0, piece: int | None = None) -> list[tuple[float, float]]:
    """In seconds, to a tenth."""
    utterances, pcm = Utterances(RATE, position), b"".join(parts)
    size = 2 * piece if piece else len(pcm)
    found = [span for at in range(0, len(pcm), size) for span in utterances.feed(pcm[at : at + size])]
    assert utterances.position == position + len(pcm) // 2
    return [(round(span.start / RATE, 1), round(span.end / RATE, 1)) for span in found + utterances.finish()]


def test_a_pause_of_most_of_a_second_ends_an_utterance() -> None:
    audio = (sound(1.0, ROOM), sound(2.0, VOICE), sound(1.0, ROOM), sound(1.5, VOICE), sound(1.0, ROOM))
    assert spans(*audio) == [(0.9, 3.1), (3.9, 5.6)]


def test_a_shorter_pause_does_not() -> None:
    assert spans(sound(1.0, ROOM), sound(2.0, VOICE), sound(0.6, ROOM), sound(1.5, VOICE)) == [(0.9, 5.1)]


def test_an_utterance_ends_with_the_audio_if_not_before() -> None:
    assert spans(sound(1.0, ROOM), sound(2.0, VOICE)) == [(0.9, 3.0)]


@pytest.mark.parametrize("background", [0, ROOM, 600])
def test_a_quiet_and_a_noisy_room_are_silence_alike(background: int) -> None:
    assert spans(sound(30.0, background)) == []
    assert spans(sound(1.0, background), sound(2.0, VOICE), sound(1.0, background)) == [(0.9, 3.1)]


def test_a_click_begins_nothing() -> None:
    assert spans(sound(1.0, ROOM), sound(0.03, VOICE), sound(1.0, ROOM)) == []


def test_speech_without_a_pause_is_cut_at_thirty_seconds() -> None:
    assert spans(sound(0.5, ROOM), sound(33.0, VOICE)) == [(0.4, 30.5), (30.5, 33.5)]


def test_a_steady_noise_that_begins_is_background_after_a_while() -> None:
    found = spans(sound(0.5, ROOM), sound(120.0, VOICE))
    assert found[-1][1] < 40


def test_positions_are_the_sessions() -> None:
    assert spans(sound(1.0, ROOM), sound(2.0, VOICE), position=100 * RATE) == [(100.9, 103.0)]


def test_what_belongs_to_no_utterance_is_settled() -> None:
    utterances = Utterances(RATE, 0)
    utterances.feed(sound(1.0, ROOM))
    assert utterances.settled == RATE
    utterances.feed(sound(1.0, VOICE))
    assert utterances.settled == int(0.9 * RATE)


AUDIO = sound(1.0, ROOM) + sound(2.0, VOICE) + sound(1.0, ROOM) + sound(1.5, VOICE)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40))
def test_how_the_audio_is_fed_makes_no_difference(pieces: list[int]) -> None:
    utterances, at, found = Utterances(RATE, 0), 0, list[Span]()
    for piece in [*pieces, len(AUDIO)]:
        found += utterances.feed(AUDIO[at : at + 2 * piece])
        at += 2 * piece
    whole = Utterances(RATE, 0)
    assert found + utterances.finish() == whole.feed(AUDIO) + whole.finish()
