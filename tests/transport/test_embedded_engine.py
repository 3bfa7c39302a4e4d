"""The models themselves, on real speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.scoring import word_error_rate
from bench.speech import load
from tests.transport.embedded.speech import SPEECH, demo_pcm, needs_speech, pieces
from transport.cli.recording import SENTENCES
from transport.embedded import models
from transport.embedded.aligner import Aligner, by_length, spoken_form
from transport.embedded.engine import Engine
from transport.embedded.hypothesis import Hypothesis, SpokenWord
from transport.embedded.models import EngineUnavailable, moonshine_files
from transport.embedded.moonshine import read_tokens
from transport.embedded.recognise import Recogniser
from transport.embedded.timing import TimedWord, place_words
from transport.embedded.utterance import RATE, Final

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def recogniser(engine: Engine) -> Recogniser:
    return Recogniser(engine)


def floats(pcm: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768


def hypothesis(*words: tuple[str, float]) -> Hypothesis:
    return Hypothesis(tuple(SpokenWord(text, probability) for text, probability in words))


def test_the_demo_recording_is_understood_word_for_word(recogniser: Recogniser) -> None:
    assert [final.text for final in recogniser.transcribe(demo_pcm())] == list(SENTENCES)


@needs_speech
def test_real_speech_is_recognised_with_at_most_8_percent_of_the_words_wrong(recogniser: Recogniser) -> None:
    speech = [one for one in load(SPEECH) if one.seconds < 8]
    said = [" ".join(final.text for final in recogniser.transcribe(one.pcm, one.sample_rate)) for one in speech]
    assert len(speech) >= 10
    assert word_error_rate(zip((one.text for one in speech), said, strict=True)) <= 8


def test_words_follow_each_other_and_the_last_reaches_the_end_of_speech(recogniser: Recogniser) -> None:
    finals = recogniser.transcribe(demo_pcm())
    words = [word for final in finals for word in final.words]
    assert [word.text for word in words] == " ".join(SENTENCES).split()
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert all(0 < word.confidence <= 1 for word in words)


def test_recognising_again_gives_the_same_words_and_times(recogniser: Recogniser) -> None:
    assert recogniser.transcribe(demo_pcm()) == recogniser.transcribe(demo_pcm())


def test_telephone_audio_is_understood(recogniser: Recogniser) -> None:
    telephone = demo_pcm()[: 2 * 3 * RATE]
    every_second = np.frombuffer(telephone, "<i2")[::2].tobytes()  # 8 kHz
    assert [final.text for final in recogniser.transcribe(every_second, 8_000)] == [SENTENCES[0]]


def test_noise_and_silence_are_no_words(recogniser: Recogniser) -> None:
    noise = np.random.default_rng(3).normal(0, 2_000, 5 * RATE).astype("<i2").tobytes()
    assert recogniser.transcribe(noise + bytes(10 * RATE)) == []


def test_the_last_word_lasts_to_the_end_of_speech_and_none_leaves_the_utterance() -> None:
    said = hypothesis(("one", 0.9), ("two", 0.8), ("three", 0.7))
    spans = [(0.5, 1.0), (0.9, 1.5), (1.5, 9.0)]
    assert place_words(Final(1, 1_000, 33_000, 31_000, 45_800), said, spans) == (
        TimedWord("one", 9_000, 17_000, 0.9),
        TimedWord("two", 17_000, 25_000, 0.8),
        TimedWord("three", 25_000, 33_000, 0.7),
    )
    assert place_words(Final(1, 0, 33_000, 31_000, 45_800), said, [(0, 0.1), (0.1, 0.2), (0.2, 0.3)])[-1].end == 31_000
    assert place_words(Final(1, 0, 33_000, 31_000, 45_800), said, ()) == ()


def test_a_repetition_loop_is_decoded_in_halves(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    moonshine = engine._moonshine
    lengths = []

    def decode(samples: object) -> Hypothesis:
        lengths.append(len(samples))  # type: ignore[arg-type]
        return hypothesis(*[("again", 0.9)] * 40) if len(lengths) == 1 else hypothesis((f"half{len(lengths)}", 0.9))

    monkeypatch.setattr(moonshine, "_decode_whole", decode)
    quiet_in_the_middle = np.concatenate([np.ones(30_000), np.zeros(4_000), np.ones(30_000)]).astype(np.float32)
    assert moonshine.decode(quiet_in_the_middle).text == "half2 half3"
    assert lengths[0] == 64_000
    assert lengths[1] + lengths[2] == 64_000
    assert 30_000 <= lengths[1] <= 34_000


def test_the_aligner_does_not_depend_on_what_it_heard_before() -> None:
    aligner = Aligner()
    audio = [floats(piece) for piece in pieces(demo_pcm(), 88_000)[:2]]
    fresh = aligner.align(audio[0], SENTENCES[0].split())
    aligner.align(audio[1] * 0.1, ["something", "zzyzx", "35%"])
    assert aligner.align(audio[0], SENTENCES[0].split()) == fresh


def test_words_the_aligner_cannot_place_share_the_audio() -> None:
    spans = Aligner().align(np.zeros(RATE, np.float32), ["far", "too", "many", "words"] * 20)
    assert len(spans) == 80
    assert spans[-1][1] == 1.0


@pytest.mark.parametrize(
    ("written", "sounds"),
    [
        ("35%,", ["thirty", "five", "percent"]),
        ("1943.", ["nineteen", "forty", "three"]),
        ("$5", ["dollars", "five"]),
        ("2007", ["two", "zero", "zero", "seven"]),
        ("wood-cutters", ["wood", "cutters"]),
        ("don’t", ["don't"]),
        ("—", []),
        ("café", ["cafe"]),
    ],
)
def test_how_a_written_word_sounds(written: str, sounds: list[str]) -> None:
    assert spoken_form(written) == sounds


def test_time_is_shared_out_by_letters() -> None:
    assert by_length(["abc", "a", "a"], 8.0) == [(0.0, 4.0), (4.0, 6.0), (6.0, 8.0)]


def test_punctuation_and_case_can_be_taken_away() -> None:
    said = hypothesis(("“Don't", 0.9), ("—", 0.8), ("3.5%,", 0.7), ("OK!”", 0.6))
    assert said.unpunctuated() == hypothesis(("don't", 0.9), ("3.5", 0.7), ("ok", 0.6))


def test_agreement_is_the_share_of_leading_words_in_common() -> None:
    new = hypothesis(("And", 1), ("so", 1), ("my", 1), ("fellow", 1))
    assert new.agreement(hypothesis(("and", 1), ("so,", 1), ("why", 1))) == 0.5
    assert hypothesis().agreement(new) == 0.0


def test_a_short_unsure_hypothesis_is_noise_and_a_longer_or_surer_one_is_not() -> None:
    unsure = hypothesis(("You", 0.3))
    facts = [unsure.is_noise(1.0), unsure.is_noise(2.0), hypothesis(("Yes.", 0.9)).is_noise(1.0)]
    assert facts == [True, False, False]
    assert hypothesis().is_noise(9.0)


def test_the_vocabulary_is_read_with_long_tokens_too() -> None:
    assert read_tokens(bytes([2]) + b"ab" + bytes([128, 1]) + b"x" * 128) == [b"ab", b"x" * 128]


def test_a_changed_model_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "sha256", lambda path: "0" * 64)
    with pytest.raises(EngineUnavailable, match="is damaged: pip install --force-reinstall"):
        moonshine_files()


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable) as caught:
        moonshine_files()
    expected = "the embedded recogniser needs the package moonshine_voice: pip install 'voxtree[local]'"
    assert str(caught.value) == expected


def test_a_model_folder_without_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=f"model file {tmp_path}/encoder_model.ort does not exist"):
        moonshine_files(tmp_path)
