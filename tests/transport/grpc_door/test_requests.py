"""Riva's requests, read: which audio becomes which session, and that no bytes are too strange."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from actors.speech.errors import ChunkTooLarge, SpeechError
from actors.speech.messages import Finalize, Stop
from tests.transport.grpc_door.house import audio, config, first
from tests.transport.wavs import wav
from transport.audio.g711 import ALAW, MULAW
from transport.grpc_door.requests import Requests, Step, Streaming, Whole
from transport.wire.intake import Open, Samples

PCM = b"\x01\x00\x02\x00\x03\x00\x04\x00"
G711 = b"\x00\x80"


def read(requests: Requests, *messages: Any) -> list[Step]:
    return [
        *itertools.chain.from_iterable(requests.receive(one.SerializeToString()) for one in messages),
        *requests.end(),
    ]


def heard(steps: list[Step]) -> tuple[list[int], bytes]:
    """The rates of the sessions that were begun, and their audio."""
    rates = [step.config.sample_rate for step in steps if isinstance(step, Open)]
    return rates, b"".join(step.pcm for step in steps if isinstance(step, Samples))


def samples(table: Any, coded: bytes) -> bytes:
    return b"".join(table[byte].to_bytes(2, "little", signed=True) for byte in coded)


@pytest.mark.parametrize(
    ("fields", "sent", "rate", "pcm"),
    [
        ({}, PCM, 16_000, PCM),
        (
            {"sample_rate_hertz": 8_000, "encoding": AudioEncoding.MULAW},
            b"\x00\x80",
            8_000,
            samples(MULAW, b"\x00\x80"),
        ),
        ({"encoding": AudioEncoding.ALAW}, G711, 16_000, samples(ALAW, G711)),
        ({"sample_rate_hertz": 48_000, "audio_channel_count": 2}, PCM, 48_000, b"\x01\x00\x03\x00"),
        ({"encoding": AudioEncoding.ENCODING_UNSPECIFIED, "sample_rate_hertz": 0}, PCM, 16_000, PCM),
        ({"sample_rate_hertz": 0, "audio_channel_count": 0}, wav(PCM, rate=22_050), 22_050, PCM),
        ({"sample_rate_hertz": 22_050}, wav(PCM, rate=22_050), 22_050, PCM),
    ],
)
def test_audio_becomes_samples_at_its_own_rate(fields: dict[str, Any], sent: bytes, rate: int, pcm: bytes) -> None:
    whole = pb.RecognizeRequest(config=config(**fields), audio=sent)
    assert heard(read(Whole(), whole)) == ([rate], pcm)
    half = len(sent) // 2 // 4 * 4 or len(sent)
    streamed = [first(**fields), audio(sent[:half]), *([audio(sent[half:])] if sent[half:] else [])]
    assert heard(read(Streaming(10_000), *streamed)) == ([rate], pcm)


def test_a_session_begins_before_its_audio_where_its_rate_is_known() -> None:
    requests = Streaming(10_000)
    (opening,) = requests.receive(first(model="m", enable_word_time_offsets=False).SerializeToString())
    assert isinstance(opening, Open)
    assert (opening.config.model, opening.config.word_times, opening.config.punctuate) == ("m", False, True)


def test_a_wav_header_may_be_cut_anywhere() -> None:
    file = wav(PCM, rate=8_000)
    for cut in range(1, len(file)):
        messages = [first(sample_rate_hertz=0), audio(file[:cut]), audio(file[cut:])]
        assert heard(read(Streaming(10_000), *messages)) == ([8_000], PCM)


def test_a_stream_without_audio_is_a_session_without_words() -> None:
    assert [type(step) for step in read(Streaming(10), first(sample_rate_hertz=0))] == [Open, Stop]


@pytest.mark.parametrize("value", ["true", "True"])
def test_the_end_of_an_utterance_can_be_asked_for_with_its_last_audio(value: str) -> None:
    last = pb.StreamingRecognizeRequest(audio_content=PCM, runtime_config={"force_eou": value})
    assert read(Streaming(10), first(), last)[1:] == [Samples(PCM), Finalize(), Stop()]


def test_messages_without_audio_are_passed_over() -> None:
    assert read(Streaming(10), first(), pb.StreamingRecognizeRequest(), audio(b""))[1:] == [Stop()]


def test_a_whole_recording_may_be_longer_than_a_message_of_a_stream() -> None:
    with pytest.raises(ChunkTooLarge):
        read(Streaming(len(PCM) - 1), first(), audio())
    assert heard(read(Whole(), pb.RecognizeRequest(config=config(), audio=PCM * 1000))) == ([16_000], PCM * 1000)


@given(st.lists(st.binary(max_size=60) | st.builds(audio, st.binary(max_size=60)), max_size=5))
def test_whatever_comes_is_steps_or_an_error_of_the_catalogue(messages: list[Any]) -> None:
    for requests in (Streaming(50), Streaming(50), Whole()):
        opening = [first().SerializeToString()] if isinstance(requests, Streaming) else []
        with suppress(SpeechError):
            for message in [*opening, *messages]:
                requests.receive(message if isinstance(message, bytes) else message.SerializeToString())
            requests.end()
