"""The receiving side of a connection: which steps follow from which messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.speech.errors import AudioProcessingFailed, InvalidAudioFormat, SpeechError
from actors.speech.messages import Finalize, Stop
from actors.speech.ports import RecognitionConfig
from tests.transport.wavs import wav
from transport.audio.formats import AudioFormat, Encoding
from transport.wire.intake import MAX_STRIKES, Intake, Open, Refuse, Samples, Step
from transport.wire.port import Limits, Reply
from transport.wire.voxtree_v1 import VoxtreeV1

PCM = b"\x01\x00\x02\x00"
DEFAULT = Open(RecognitionConfig(), AudioFormat())


def intake(**limits: Any) -> Intake:
    return Intake(VoxtreeV1(), Limits(**limits))


def steps(*messages: str | bytes, to: Intake | None = None) -> list[Step | tuple[str, str, bool]]:
    """What all the messages lead to; a refusal as (code, detail, fatal), since exceptions do not compare."""
    receiver = to or intake()
    found = [step for message in messages for step in receiver.receive(message)]
    return [(step.error.code, step.error.detail, step.fatal) if isinstance(step, Refuse) else step for step in found]


def start(**config: Any) -> str:
    return json.dumps({"event": "start", "config": config})


STOP, FINALIZE = '{"event":"stop"}', '{"event":"finalize"}'


def test_start_opens_the_session_with_what_it_asks_for() -> None:
    assert steps(start(language="de-DE", sample_rate=8000, encoding="mulaw"), b"\xff\xff") == [
        Open(
            RecognitionConfig(language="de-DE", sample_rate=8000),
            AudioFormat(encoding=Encoding.MULAW, sample_rate=8000),
        ),
        Samples(b"\x00\x00\x00\x00"),
    ]


def test_audio_without_start_opens_a_session_with_the_defaults() -> None:
    assert steps(PCM, PCM, FINALIZE, STOP) == [DEFAULT, Samples(PCM), Samples(PCM), Finalize(), Stop()]


def test_stop_as_the_first_word_opens_and_ends_an_empty_session() -> None:
    assert steps(STOP) == [DEFAULT, Stop()]


def test_finalize_before_any_session_has_nothing_to_end() -> None:
    assert steps(FINALIZE) == []


def test_ping_is_answered_before_and_after_the_session_opens() -> None:
    assert steps('{"event":"ping","t":1}', start(), '{"event":"ping"}') == [
        Reply('{"event":"pong","t":1}'),
        DEFAULT,
        Reply('{"event":"pong"}'),
    ]


def test_a_wav_header_without_start_chooses_the_format() -> None:
    file = wav(PCM, rate=44100, channels=2)

    assert steps(file) == [
        Open(RecognitionConfig(sample_rate=44100), AudioFormat(sample_rate=44100, channels=2)),
        Samples(b"\x01\x00"),
    ]


def test_a_wav_header_fills_in_what_start_left_open() -> None:
    file = wav(b"\xff", rate=16000, tag=7, bits=8)

    assert steps(start(), file) == [DEFAULT, Samples(b"\x00\x00")]


def test_a_wav_header_that_contradicts_start_is_refused_with_both_values() -> None:
    file = wav(PCM, rate=8000)

    assert steps(start(sample_rate=16000), file)[1:] == [
        ("AUDIO_001", "sample_rate is 16000 as declared, but 8000 in the WAV header", True)
    ]


def test_a_wav_header_cannot_change_the_rate_the_session_was_announced_with() -> None:
    file = wav(PCM, rate=8000)

    assert steps(start(language="en-GB"), file)[1:] == [
        (
            "AUDIO_001",
            "the session runs at 16000 Hz, since start gave no sample_rate, but the WAV header says 8000: "
            "give sample_rate in start",
            True,
        )
    ]


def test_a_header_cut_in_pieces_opens_the_session_once_it_is_whole() -> None:
    file = wav(PCM, rate=8000)

    assert steps(*(file[i : i + 7] for i in range(0, len(file), 7))) == [
        Open(RecognitionConfig(sample_rate=8000), AudioFormat(sample_rate=8000)),
        Samples(PCM),
    ]


def test_audio_held_back_as_a_possible_header_is_not_lost_at_stop() -> None:
    assert steps(b"RIFF", STOP) == [DEFAULT, Samples(b"RIFF"), Stop()]


def test_a_message_with_half_a_sample_is_refused_whole_and_the_next_is_heard() -> None:
    assert steps(PCM, b"\x00" * 641, PCM) == [
        DEFAULT,
        Samples(PCM),
        ("AUDIO_003", "641 bytes: pcm16 with 1 channel(s) takes a multiple of 2", False),
        Samples(PCM),
    ]


def test_an_odd_first_message_opens_nothing() -> None:
    assert [step if isinstance(step, Open) else step[0] for step in steps(b"\x00", b"")] == [  # type: ignore[index]
        "AUDIO_003",
        "AUDIO_003",
    ]


def test_a_chunk_too_large_is_refused_and_the_session_goes_on() -> None:
    receiver = intake(max_chunk_bytes=4)

    assert steps(PCM, PCM * 2, PCM, to=receiver) == [
        DEFAULT,
        Samples(PCM),
        ("AUDIO_002", "8 bytes of audio in one message: allowed are 4", False),
        Samples(PCM),
    ]


def test_a_mishap_costs_the_message_it_befalls_and_no_other() -> None:
    mishaps: Iterator[SpeechError | None] = iter([None, AudioProcessingFailed("injected"), None])
    receiver = Intake(VoxtreeV1(), Limits(), lambda: next(mishaps))
    found = steps(start(), PCM, FINALIZE, PCM, PCM, STOP, to=receiver)
    assert found[1:] == [Samples(PCM), Finalize(), ("AUDIO_003", "injected", False), Samples(PCM), Stop()]


def test_a_mishap_without_remedy_is_fatal() -> None:
    receiver = Intake(VoxtreeV1(), Limits(), lambda: InvalidAudioFormat("injected"))
    assert steps(PCM, to=receiver) == [("AUDIO_001", "injected", True)]


def test_a_second_start_is_refused() -> None:
    assert steps(start(), start()) == [DEFAULT, ("CONN_003", "start: the session has already begun", False)]


def test_audio_that_crosses_with_stop_is_mentioned_once_and_is_no_strike() -> None:
    late = ("AUDIO_003", "audio after stop: it was not used", False)

    assert steps(PCM, STOP, *[PCM] * 9, STOP)[2:] == [
        Stop(),
        late,
        ("CONN_003", "stop: it has been said before", False),
    ]


def test_the_fifth_invalid_message_is_fatal() -> None:
    verdicts = [refusal[2] for refusal in steps(*["nonsense"] * MAX_STRIKES)]  # type: ignore[index]

    assert verdicts == [False] * 4 + [True]


def test_audio_that_can_never_be_understood_is_fatal_at_once() -> None:
    assert steps(b"\x1a\x45\xdf\xa3" + bytes(20)) == [
        (
            "AUDIO_001",
            "this is WebM or Matroska: send PCM16, mu-law or A-law samples, or a WAV of them",
            True,
        )
    ]


@given(st.lists(st.binary(max_size=64) | st.sampled_from([STOP, FINALIZE, start(), "x"]), max_size=12))
def test_a_session_is_opened_at_most_once_and_before_anything_is_meant_for_it(
    messages: list[str | bytes],
) -> None:
    receiver = intake()
    meant = [
        step
        for message in messages
        for step in receiver.receive(message)
        if isinstance(step, Open | Samples | Finalize | Stop)
    ]

    assert [isinstance(step, Open) for step in meant] == [True] * bool(meant) + [False] * (len(meant) - 1)
    assert sum(isinstance(step, Stop) for step in meant) <= 1
