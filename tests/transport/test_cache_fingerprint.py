"""Landmarks: what survives on the way to us, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.changes import CHANGES, changed
from bench.speech import Speech
from tests.system.speaking import PCM, RATE
from transport.cache.fingerprint import LONGEST, Landmarks, fingerprint

RECORDING = Speech("demo", "", PCM, RATE)


def shared(one: Landmarks, other: Landmarks) -> float:
    """The part of one's hashes that the other has too."""
    return float(np.isin(one.hashes, other.hashes).mean())


@pytest.mark.parametrize("change", CHANGES)
def test_most_landmarks_survive_gain_and_a_part_survives_anything(change: str) -> None:
    before, after = (fingerprint(one.pcm, one.sample_rate) for one in (RECORDING, changed(RECORDING, change)))
    assert shared(before, after) > (0.9 if change in ("none", "-6 dB", "8 kHz") else 0.2)


def test_other_speech_shares_next_to_nothing() -> None:
    half = len(PCM) // 4 * 2
    assert shared(fingerprint(PCM[:half], RATE), fingerprint(PCM[half:], RATE)) < 0.02


def test_a_hash_has_19_bits_and_a_frame_12() -> None:
    landmarks = fingerprint(PCM, RATE)
    assert len(landmarks) > 300
    assert landmarks.hashes.max() < 1 << 19
    assert landmarks.frames.max() < landmarks.frame_count < 1 << 12
    assert landmarks.frame_count == (len(PCM) // 2 - 512) // 160 + 1


@pytest.mark.parametrize("pcm", [b"", bytes(100), bytes(32000)], ids=["nothing", "less than a frame", "silence"])
def test_where_there_is_nothing_to_hear_there_are_no_landmarks(pcm: bytes) -> None:
    assert len(fingerprint(pcm, 16000)) == 0


def test_what_is_too_long_is_refused() -> None:
    pcm = bytes(int(2 * 8000 * LONGEST))
    fingerprint(pcm, 8000)
    with pytest.raises(ValueError, match=r"40\.0 s of audio, and 40 s at most"):
        fingerprint(pcm + bytes(2), 8000)


@given(st.binary(max_size=4000).map(lambda data: data[: len(data) // 2 * 2] * 8), st.sampled_from([8000, 16000, 44100]))
def test_any_samples_have_a_fingerprint(pcm: bytes, rate: int) -> None:
    landmarks = fingerprint(pcm, rate)
    assert len(landmarks.hashes) == len(landmarks.frames)
    assert not len(landmarks) or landmarks.frames.max() < landmarks.frame_count
