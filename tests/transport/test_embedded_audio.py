"""From a client's bytes to 16 kHz samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.wavs import wav
from transport.audio.formats import Encoding
from transport.embedded.audio import HEADER_CONTRADICTS, AudioDecoder, InvalidAudio, UnsupportedRate


def noise(samples: int) -> bytes:
    return np.random.default_rng(1).integers(-8_000, 8_000, samples, dtype=np.int16).tobytes()


def decode(decoder: AudioDecoder, data: bytes, lengths: list[int] | None = None) -> list[float]:
    parts, at = [], 0
    for length in lengths or []:
        parts.append(decoder.decode(data[at : at + length]))
        at += length
    parts += [decoder.decode(data[at:]), decoder.finish()]
    return [float(sample) for sample in np.concatenate(parts)]


def test_pcm_at_16_khz_is_scaled_to_one_and_nothing_else() -> None:
    pcm = np.array([0, 16_384, -32_768, 32_767], "<i2").tobytes()
    assert decode(AudioDecoder(Encoding.PCM16, 16_000), pcm) == [0.0, 0.5, -1.0, 32_767 / 32_768]


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_a_second_at_any_rate_is_16000_samples(rate: int) -> None:
    assert len(decode(AudioDecoder(Encoding.PCM16, rate), noise(rate))) == 16_000


@pytest.mark.parametrize(("encoding", "silence"), [(Encoding.MULAW, b"\xff"), (Encoding.ALAW, b"\xd5")])
def test_g711_is_expanded(encoding: Encoding, silence: bytes) -> None:
    samples = decode(AudioDecoder(encoding, 8_000), silence * 8_000)
    assert len(samples) == 16_000
    assert max(map(abs, samples)) < 0.001


@given(
    st.sampled_from([(Encoding.PCM16, 8_000), (Encoding.PCM16, 16_000), (Encoding.MULAW, 8_000), (None, 44_100)]),
    st.lists(st.integers(1, 3_000), max_size=20),
)
def test_how_bytes_are_cut_into_messages_changes_nothing(
    format_: tuple[Encoding | None, int], lengths: list[int]
) -> None:
    data = noise(8_000)
    assert decode(AudioDecoder(*format_), data, lengths) == decode(AudioDecoder(*format_), data)


@pytest.mark.parametrize("first", [1, 3, 11, 30, 43, 44, 45, 400])
def test_a_wav_header_is_not_heard_even_when_messages_cut_it(first: int) -> None:
    pcm = noise(500)
    plain = decode(AudioDecoder(Encoding.PCM16, 16_000), pcm)
    assert decode(AudioDecoder(Encoding.PCM16, 16_000), wav(pcm), [first]) == plain


def test_a_wav_header_tells_what_was_not_declared() -> None:
    assert len(decode(AudioDecoder(None, 0), wav(noise(8_000), rate=8_000))) == 16_000


def test_flushing_gives_the_last_samples_and_more_may_follow() -> None:
    decoder = AudioDecoder(Encoding.PCM16, 8_000)
    first = len(decoder.decode(noise(800))) + len(decoder.flush())
    second = len(decoder.decode(noise(800))) + len(decoder.finish())
    assert (first, second) == (1_600, 1_600)


@pytest.mark.parametrize(
    "data",
    [
        wav(noise(100), tag=7, bits=8),
        wav(noise(100), channels=2),
        wav(noise(100), rate=8_000),
        b"OggS" + bytes(100),
        b"fLaC" + bytes(100),
        b"\x1aE\xdf\xa3" + bytes(100),
    ],
    ids=["mulaw", "stereo", "rate", "ogg", "flac", "webm"],
)
def test_a_header_that_contradicts_the_declaration_is_refused_in_riva_s_words(data: bytes) -> None:
    with pytest.raises(InvalidAudio) as caught:
        decode(AudioDecoder(Encoding.PCM16, 16_000), data)
    assert str(caught.value) == HEADER_CONTRADICTS


@pytest.mark.parametrize("rate", [1, 7_999, 48_001, 192_000])
def test_a_rate_no_model_takes_is_refused_at_once(rate: int) -> None:
    with pytest.raises(UnsupportedRate) as caught:
        AudioDecoder(Encoding.PCM16, rate)
    assert caught.value.rate == rate


def test_raw_audio_of_undeclared_rate_is_refused() -> None:
    with pytest.raises(UnsupportedRate):
        decode(AudioDecoder(None, 0), noise(100))


def test_a_stream_that_ends_inside_its_header_is_refused() -> None:
    with pytest.raises(InvalidAudio, match="inside its WAV header"):
        decode(AudioDecoder(None, 0), wav(noise(100))[:30])
