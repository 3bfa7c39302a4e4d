from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech.ports import Word
from tests.transport.riva_server import final, interim
from transport.riva.convert import FORCE_FINAL, Resampler, audio_request, read_results


@given(st.integers(0, 70_000))
def test_a_hand_written_audio_message_is_what_protobuf_writes(size: int) -> None:
    pcm = b"\x7f" * size
    assert pb.StreamingRecognizeRequest.FromString(audio_request(pcm)).audio_content == pcm
    assert audio_request(pcm)[1:] == pb.StreamingRecognizeRequest(audio_content=pcm).SerializeToString()[1:]


def test_the_message_that_forces_a_final_holds_no_audio() -> None:
    request = pb.StreamingRecognizeRequest.FromString(FORCE_FINAL)
    assert (dict(request.runtime_config), request.WhichOneof("streaming_request")) == (
        {"force_eou": "true"},
        None,
    )


@pytest.mark.parametrize(("confidence", "expected"), [(0.0, 0.0), (0.5, 0.5), (1.5, 1.0), (-0.6931471805599453, 0.5)])
def test_a_confidence_is_a_probability_whatever_the_model_gives(confidence: float, expected: float) -> None:
    (result,) = read_results(final("a", confidence=confidence), 16000)
    assert result.confidence == pytest.approx(expected)


def test_an_interim_has_no_confidence_and_keeps_its_words() -> None:
    response = interim("a", confidence=0.5)
    response.results[0].alternatives[0].words.add(word="a", start_time=10, end_time=20)
    (result,) = read_results(response, 16000)
    assert (result.confidence, result.words) == (0.0, (Word("a", 160, 320),))


@given(st.integers(0, 10**7), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]))
def test_a_words_time_is_at_most_one_sample_off(time_ms: int, rate: int) -> None:
    (result,) = read_results(final("a", words=[("a", 0, time_ms)]), rate)
    assert 0 <= time_ms * rate / 1000 - result.words[0].end < 1


@pytest.mark.parametrize(("source", "target"), [(8000, 16000), (48000, 16000), (44100, 16000), (16000, 8000)])
def test_resampling_in_chunks_keeps_time_and_tone(source: int, target: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(source) / source)).astype("<i2").tobytes()
    resampler = Resampler(source, target)
    chunk = 2 * (source // 50)
    parts = [resampler.push(tone[at : at + chunk]) for at in range(0, len(tone), chunk)]
    heard = np.frombuffer(b"".join(parts) + resampler.flush(), "<i2")
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(target) / target)
    assert len(heard) == target
    assert np.abs(heard - expected)[target // 20 : -target // 20].max() < 80  # 1 % of full swing: no shift, no seam
