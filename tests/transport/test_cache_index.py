"""The index of fingerprints: what is found, and its bounds in entries, memory and time."""

from __future__ import annotations

import tracemalloc
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.ports import Recollection, Utterance
from actors.speech.utterances import Utterances
from bench.changes import CHANGES, changed
from bench.speech import Speech
from tests.system.speaking import PCM, RATE
from transport.cache import index as index_module
from transport.cache.fingerprint import Landmarks, fingerprint
from transport.cache.index import Index
from transport.cache.similar import SimilarAudio
from transport.cli.recording import SENTENCES

NO_LIMIT = 1 << 40


def an_index(*, max_entries: int = NO_LIMIT, max_bytes: int = NO_LIMIT, ttl: float = 1e9) -> Index:
    return Index(max_entries=max_entries, max_bytes=max_bytes, ttl=ttl)


@cache
def sentences() -> list[Speech]:
    """The demo recording's four, cut as the audio of a session would be."""
    utterances = Utterances(RATE, 0)
    spans = [*utterances.feed(PCM), *utterances.finish()]
    pieces = [PCM[2 * span.start : 2 * span.end] for span in spans]
    return [Speech(text, text, pcm, RATE) for text, pcm in zip(SENTENCES, pieces, strict=True)]


def landmarks_of(speech: Speech) -> Landmarks:
    return fingerprint(speech.pcm, speech.sample_rate)


def noise(seed: int, count: int = 200, frames: int = 600, kinds: int = 1 << 19) -> Landmarks:
    """Landmarks as a recording might have, and with so many kinds of them no other one has."""
    dice = np.random.default_rng(seed)
    at = np.sort(dice.integers(0, frames, count))
    return Landmarks(dice.integers(0, kinds, count).astype(np.uint32), at.astype(np.uint32), frames)


def text_of(index: Index, landmarks: Landmarks, now: float = 0.0) -> str | None:
    match = index.find(landmarks, now)
    return None if match is None else match.text


@pytest.mark.parametrize("change", CHANGES)
def test_a_recording_is_found_after_any_change_and_never_another(change: str) -> None:
    index = an_index()
    for sentence in sentences():
        index.add(landmarks_of(sentence), sentence.text, 0.0)
    found = [text_of(index, landmarks_of(changed(sentence, change))) for sentence in sentences()]
    assert found == list(SENTENCES)


@pytest.mark.parametrize("left_out", range(4))
def test_what_was_never_heard_is_not_found(left_out: int) -> None:
    index = an_index()
    for sentence in [*sentences()[:left_out], *sentences()[left_out + 1 :]]:
        index.add(landmarks_of(sentence), sentence.text, 0.0)
    assert text_of(index, landmarks_of(sentences()[left_out])) is None


def test_a_beginning_of_a_recording_is_not_the_recording() -> None:
    index, sentence = an_index(), sentences()[1]
    index.add(landmarks_of(sentence), sentence.text, 0.0)
    beginning = sentence.pcm[: int(len(sentence.pcm) * 0.6) // 2 * 2]
    assert text_of(index, fingerprint(beginning, RATE)) is None


def test_the_same_sound_in_another_language_is_another_transcript() -> None:
    index = an_index()
    index.add(noise(1), "hello", 0.0, language="en-US")
    assert index.find(noise(1), 0.0, language="de-DE") is None
    index.add(noise(1), "halo", 0.0, language="de-DE")
    found = index.find(noise(1), 0.0, language="de-DE")
    assert found is not None
    assert (found.text, found.score) == ("halo", 1.0)


def test_of_equal_entries_the_newest_is_told() -> None:
    index = an_index()
    for text in ("first", "second"):
        index.add(noise(1), text, 0.0)
    assert text_of(index, noise(1)) == "second"


def test_landmarks_that_agree_but_for_a_rounded_frame_vote_together() -> None:
    index, heard = an_index(), noise(1)
    index.add(heard, "one", 0.0)
    rounded = heard.frames + 10 + np.arange(len(heard), dtype=np.uint32) % 2  # 100 or 110 ms later, by turns
    match = index.find(Landmarks(heard.hashes, rounded, heard.frame_count + 10), 0.0)
    assert match is not None
    assert match.votes == len(heard)


def test_too_few_landmarks_prove_nothing() -> None:
    index = an_index()
    index.add(noise(1, count=4), "four", 0.0)
    assert text_of(index, noise(1, count=4)) is None
    index.add(noise(2, count=5), "five", 0.0)
    assert text_of(index, noise(2, count=5)) == "five"


def test_a_recording_without_landmarks_is_not_kept() -> None:
    index = an_index()
    index.add(fingerprint(bytes(32000), 16000), "silence", 0.0)
    assert (len(index), index.bytes) == (0, 0)


# ---- bounds


def test_past_the_number_of_entries_the_oldest_goes() -> None:
    index = an_index(max_entries=3)
    for number in range(5):
        index.add(noise(number), str(number), 0.0)
    assert [text_of(index, noise(number)) for number in range(5)] == [None, None, "2", "3", "4"]


def test_an_entry_is_forgotten_when_its_time_is_over() -> None:
    index = an_index(ttl=10.0)
    index.add(noise(1), "one", 0.0)
    index.add(noise(2), "two", 5.0)
    assert text_of(index, noise(1), 9.9) == "one"
    assert text_of(index, noise(1), 10.0) is None
    assert (len(index), text_of(index, noise(2), 14.9)) == (1, "two")
    index.expire(15.0)
    assert (len(index), index.bytes) == (0, 0)


def test_past_its_memory_the_oldest_go() -> None:
    index = an_index(max_bytes=200_000)
    for number in range(50):
        index.add(noise(number), str(number), 0.0)
        assert index.bytes <= 200_000
    assert 1 < len(index) < 50
    assert text_of(index, noise(49)) == "49"


def test_one_entry_that_is_larger_than_the_memory_is_not_kept() -> None:
    index = an_index(max_bytes=1000)
    index.add(noise(1), "one", 0.0)
    assert (len(index), index.bytes) == (0, 0)


def test_the_memory_is_estimated_well() -> None:
    """Within a quarter of what Python itself says it gave out."""
    entries = [noise(number, count=400) for number in range(300)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        index = an_index()
        for number, landmarks in enumerate(entries):
            index.add(landmarks, f"{number} " * 20, 0.0)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.75 < index.bytes / grown < 1.25


def test_when_its_numbers_are_used_up_it_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "LAST_NUMBER", 2)
    index = an_index()
    for number in range(4):
        index.add(noise(number), str(number), 0.0)
    assert [text_of(index, noise(number)) for number in range(4)] == [None, None, None, "3"]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40), st.integers(0, 30)), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(2_000, 60_000),
)
def test_whatever_is_added_and_forgotten_nothing_is_left_behind(
    steps: list[tuple[int, int, int]], max_entries: int, max_bytes: int
) -> None:
    """Entries share hashes, and have some twice, so that one's going must not take another's landmarks along."""
    index, now = an_index(max_entries=max_entries, max_bytes=max_bytes, ttl=60.0), 0.0
    held: list[tuple[float, str, Landmarks]] = []
    for seed, count, pause in steps:
        now += pause
        landmarks = noise(seed, count, frames=80, kinds=50)
        text = f"{seed}/{count}/{now}"
        index.add(landmarks, text, now)
        held.append((now, text, landmarks))
        held = [one for one in held if now - one[0] < 60.0][-len(index) :] if len(index) else []
        assert len(index) <= max_entries
        assert index.bytes <= max_bytes
        texts = [text for _, text, _ in held]
        for _, text, landmarks in held:
            found = [match.text for match in index.matches(landmarks, now, fewest=1)]
            assert text in found
            assert set(found) <= set(texts)
    index.expire(now + 60.0)
    assert (len(index), index.bytes, len(index._postings)) == (0, 0, 0)


# ---- as the session sees it


def test_an_utterance_is_found_whatever_its_sample_rate() -> None:
    index = SimilarAudio(max_entries=10, max_bytes=NO_LIMIT, ttl=60.0)
    for sentence in sentences():
        index.add(Utterance(sentence.pcm, RATE, "en-US"), sentence.text, 0.0)
    telephone = changed(sentences()[2], "8 kHz")
    found = index.find(Utterance(telephone.pcm, telephone.sample_rate, "en-US"), 1.0)
    assert isinstance(found, Recollection)
    assert found.text == SENTENCES[2]
    assert 0.5 < found.similarity <= 1.0
    index.expire(60.0)
    assert index.find(Utterance(telephone.pcm, telephone.sample_rate, "en-US"), 60.0) is None
