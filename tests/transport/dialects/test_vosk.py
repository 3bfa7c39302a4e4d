"""The codec of vosk-server's protocol: above all, that a client which counts its answers never miscounts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.errors import AudioLost, GoingAway, InvalidAudioFormat, InvalidMessage, SpeechError
from actors.speech.messages import (
    Ack,
    Done,
    Finalize,
    Gap,
    GoAway,
    Problem,
    Ready,
    Recalled,
    Status,
    Stop,
    Transcript,
)
from actors.speech.ports import RecognitionConfig, Word
from tests.transport.wavs import wav
from transport.audio.formats import AudioFormat, DeclaredFormat, Encoding
from transport.wire.intake import Intake, Open, Refuse, Samples
from transport.wire.port import (
    AnswerDue,
    AudioBytes,
    Await,
    Bad,
    Codec,
    Failed,
    Limits,
    Opened,
    Reply,
    ServerEvent,
    Start,
)
from transport.wire.vosk import Vosk

CHUNK = bytes(3200)  # 0.2 s at 8 kHz
START = Start(
    RecognitionConfig(sample_rate=8000, punctuate=False),
    DeclaredFormat(encoding=Encoding.PCM16, sample_rate=8000, channels=1),
)
PROBLEM = Problem(code="AUDIO_003", detail="odd")


def final(text: str, start: int = 0, confidence: float = 0.9) -> Transcript:
    """A word takes 800 samples, a tenth of a second at vosk's own rate."""
    words = tuple(
        Word(word, start + 800 * at, start + 800 * (at + 1), confidence) for at, word in enumerate(text.split())
    )
    end = start + 800 * len(words)
    return Transcript(is_final=True, seq=1, start=start, end=end, text=text, words=words, confidence=confidence)


def interim(text: str) -> Transcript:
    return Transcript(is_final=False, seq=0, start=0, end=800, text=text)


def word(text: str, start: float) -> dict[str, Any]:
    return {"conf": 0.9, "start": start, "end": round(start + 0.1, 3), "word": text}


def told(codec: Codec, *events: ServerEvent) -> list[Any]:
    return [json.loads(text) for event in events for text in codec.encode(event)]


def answer(codec: Codec) -> Any:
    (text,) = codec.encode(AnswerDue())
    return json.loads(text)


def error(codec: Codec, message: str | bytes) -> SpeechError:
    (bad,) = codec.decode(message)
    assert isinstance(bad, Bad)
    return bad.error


# ---- what a client says


def test_the_first_audio_begins_a_session_at_vosks_own_rate() -> None:
    codec = Vosk()

    assert list(codec.connected()) == []
    assert codec.decode(CHUNK) == (START, AudioBytes(CHUNK), Await(0.1))
    assert codec.decode(CHUNK) == (AudioBytes(CHUNK), Await(0.1))


@pytest.mark.parametrize(
    "text",
    [
        '{ "config" : { "sample_rate" : 16000 } }',
        '{"config":{"sample_rate":16000.0}}',
        '{"config":{"sample_rate":"16000","phrase_list":["one two","[unk]"],"model":"vosk-model-de-0.21","new":1}}',
    ],
)
def test_a_config_is_not_answered_and_holds_for_the_session(text: str) -> None:
    codec = Vosk()

    assert codec.decode(text) == ()
    start, *_ = codec.decode(CHUNK)

    assert isinstance(start, Start)
    assert start.config == RecognitionConfig(sample_rate=16000, punctuate=False)


def test_a_wav_without_a_config_says_itself_what_it_is() -> None:
    file = wav(b"\1\0" * 800, rate=16_000)
    configured = Vosk()
    configured.decode('{"config":{"sample_rate":16000}}')
    (start, _, _), (told, _, _) = Vosk().decode(file), configured.decode(file)

    assert start == Start(START.config, None)
    assert isinstance(told, Start)
    assert told.audio == DeclaredFormat(encoding=Encoding.PCM16, sample_rate=16_000, channels=1)


def test_configs_before_the_audio_add_up() -> None:
    codec = Vosk()
    for config in ({"sample_rate": 16000, "words": 1}, {"words": False}, {"language": "de-DE"}):
        assert codec.decode(json.dumps({"config": config})) == ()

    start, *_ = codec.decode(CHUNK)

    assert start == Start(
        RecognitionConfig(sample_rate=16000, word_times=False, punctuate=False, language="de-DE"),
        DeclaredFormat(encoding=Encoding.PCM16, sample_rate=16000, channels=1),
    )


def test_a_config_after_audio_is_an_error() -> None:
    codec = Vosk()
    codec.decode(CHUNK)

    assert "the audio has begun" in error(codec, '{"config":{"sample_rate":16000}}').detail


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "expected config, eof or reset"),
        ("eof", "expected config, eof or reset"),
        ("[]", "expected config, eof or reset"),
        ('{"config": 1}', "expected config, eof or reset"),
        ("{}", "a message without config, eof or reset"),
        ('{"eof": 0}', "a message without config, eof or reset"),
        ('{"config":{"sample_rate":"high"}}', "config: expected `int`, got `str` - at `$.sample_rate`"),
        ('{"config":{"language":"English, please"}}', "config: expected `str` matching regex"),
    ],
)
def test_what_is_no_message_is_said_to_be_none(text: str, detail: str) -> None:
    refused = error(Vosk(), text)

    assert isinstance(refused, InvalidMessage)
    assert refused.detail.startswith(detail)


def test_a_rate_that_nobody_takes_ends_the_session_before_it_begins() -> None:
    assert isinstance(error(Vosk(), '{"config":{"sample_rate":4000}}'), InvalidAudioFormat)


@pytest.mark.parametrize("text", ['{"eof" : 1}', '{"eof":1}', ' {"eof": true }'])
def test_eof_ends_the_audio_however_it_is_spaced(text: str) -> None:
    codec = Vosk()
    codec.decode(CHUNK)

    assert codec.decode(text) == (Stop(),)


def test_eof_without_audio_begins_a_session_and_ends_it() -> None:
    assert Vosk().decode('{"eof" : 1}') == (START, Stop())


def test_reset_ends_the_utterance_and_waits_for_its_final() -> None:
    codec = Vosk()

    assert codec.decode('{"reset" : 1}') == (Finalize(), Await(0.5))
    assert answer(codec) == {"text": ""}
    assert answer(codec) == {"partial": ""}


@pytest.mark.parametrize(("size", "seconds"), [(160, 0.005), (1600, 0.05), (3200, 0.1), (64_000, 0.1), (0, 0.0)])
def test_an_answer_waits_for_half_of_its_chunk_at_most(size: int, seconds: float) -> None:
    assert Vosk().decode(bytes(size))[-1] == Await(seconds)


@given(st.lists(st.binary(max_size=9)))
def test_odd_chunks_lose_no_byte(chunks: list[bytes]) -> None:
    codec = Vosk()
    events = [event for chunk in chunks for event in codec.decode(chunk)]
    heard = [event.data for event in events if isinstance(event, AudioBytes)]

    said = b"".join(chunks)
    assert b"".join(heard) == said[: len(said) // 2 * 2]
    assert all(data and len(data) % 2 == 0 for data in heard)
    assert sum(isinstance(event, Await) for event in events) == len(chunks)


# ---- what it is told


def test_an_answer_is_the_newest_interim_or_empty() -> None:
    codec = Vosk()

    assert answer(codec) == {"partial": ""}
    assert told(codec, interim("on"), interim("one")) == []
    assert answer(codec) == {"partial": "one"}
    assert answer(codec) == {"partial": "one"}


def test_finals_since_the_last_answer_are_told_as_one_and_once() -> None:
    codec = Vosk()

    assert told(codec, interim("on"), final("one two"), final(""), final("three", 2400)) == []
    assert answer(codec) == {
        "text": "one two three",
        "result": [word("one", 0.0), word("two", 0.1), word("three", 0.3)],
    }
    assert answer(codec) == {"partial": ""}


def test_a_final_for_silence_is_a_result_without_words() -> None:
    codec = Vosk()
    told(codec, interim("hm"), final(""))

    assert answer(codec) == {"text": ""}


def test_eof_is_told_everything_that_is_left() -> None:
    codec = Vosk()
    codec.decode('{"config":{"words":false}}')

    assert told(codec, final("one"), final("two"), Done(position=1, seq=2)) == [{"text": "one two"}]
    assert told(Vosk(), Done(position=0, seq=0)) == [{"text": ""}]


def test_alternatives_are_told_if_asked_for() -> None:
    codec = Vosk()
    codec.decode('{"config":{"max_alternatives":3}}')
    told(codec, final("one"), final("two", 800, confidence=0.5), final(""))

    result = [word("one", 0.0), word("two", 0.1) | {"conf": 0.5}]
    assert answer(codec) == {"alternatives": [{"confidence": 0.5, "result": result, "text": "one two"}]}
    assert answer(codec) == {"partial": ""}
    assert told(codec, Done(position=0, seq=0)) == [{"alternatives": [{"confidence": 0.0, "text": ""}]}]


def test_times_are_seconds_at_the_sessions_rate() -> None:
    codec = Vosk()
    told(codec, Opened(Ready(session_id="s", config=RecognitionConfig(sample_rate=16000)), AudioFormat(), Limits()))
    told(codec, final("one"))

    assert answer(codec)["result"] == [word("one", 0.0) | {"end": 0.05}]


@pytest.mark.parametrize(
    "event",
    [
        Status(state="delayed", code="RIVA_013"),
        Ack(durable=1, received=2, seq=0),
        GoAway(3.0),
        Recalled(start=0, end=8, text="perhaps", similarity=0.9),
    ],
)
def test_what_the_protocol_has_no_place_for_is_not_told(event: ServerEvent) -> None:
    codec = Vosk()

    assert told(codec, event) == []
    assert answer(codec) == {"partial": ""}


def test_an_error_that_is_survived_comes_with_the_next_answer_and_is_none_itself() -> None:
    codec = Vosk()

    assert told(codec, final("one"), Failed(PROBLEM, "ab12")) == []
    assert answer(codec) == {
        "text": "one",
        "result": [word("one", 0.0)],
        "error": {"code": "AUDIO_003", "message": "Failed to process audio", "detail": "odd", "ref": "ab12"},
    }
    assert answer(codec) == {"partial": ""}


def test_an_error_that_ends_the_connection_comes_with_what_was_not_told() -> None:
    codec = Vosk()
    codec.decode('{"config":{"words":false}}')
    told(codec, final("one"))

    assert told(codec, Failed(Problem(code=GoingAway.entry.code, fatal=True), "ab12")) == [
        {
            "text": "one",
            "error": {"code": "CONN_006", "message": "The service is restarting. Please reconnect.", "ref": "ab12"},
        }
    ]
    assert codec.close_code("CONN_006") == 1012


def test_a_gap_is_an_error_that_says_where() -> None:
    codec = Vosk()
    told(codec, interim("hm"), Gap(seq=1, start=4000, end=12_000, code=AudioLost.entry.code))

    assert answer(codec) == {
        "partial": "",
        "error": {"code": "AUDIO_004", "message": AudioLost.entry.message, "detail": "from 0.5 s to 1.5 s"},
    }


# ---- one answer for each binary message, whatever becomes of it


def answers(intake: Intake, codec: Codec, message: str | bytes) -> tuple[list[Any], bytes]:
    """What a connection does with a message: what it sends, and what the session hears."""
    texts: list[Any] = []
    pcm = b""
    for step in intake.receive(message):
        match step:
            case Refuse(refused, fatal):
                texts += told(codec, Failed(Problem(code=refused.code, detail=refused.detail, fatal=fatal), ""))
                if fatal:
                    break
            case Await():
                texts += told(codec, AnswerDue())
            case Samples(data):
                pcm += data
            case Reply(text):
                texts.append(json.loads(text))
    return texts, pcm


def test_a_chunk_that_is_refused_has_one_answer_which_says_why() -> None:
    codec = Vosk()
    intake = Intake(codec, Limits(max_chunk_bytes=4))

    assert [answers(intake, codec, data) for data in (b"\1\2", bytes(5), b"\3\4")] == [
        ([{"partial": ""}], b"\1\2"),
        ([{"partial": ""}], b"\0\0\0\0"),
        ([{"partial": ""}], b"\0\3"),
    ]
    ((said,), pcm) = answers(intake, codec, bytes(8))
    assert said["partial"] == ""
    assert said["error"]["code"] == "AUDIO_002"
    assert pcm == b""
    assert answers(intake, codec, b"\5") == ([{"partial": ""}], b"\0\5")  # … and no half of a sample is lost


MESSAGES = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=12),
    st.sampled_from(
        ['{"reset":1}', '{"config":{"sample_rate":16000}}', '{"config":{"sample_rate":1}}', '{"x":"\ud800"}']
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["config", "eof", "x"]), inner),
    ).map(json.dumps),
)


@given(st.lists(MESSAGES, max_size=12))
def test_whatever_comes_is_understood_and_each_binary_message_answered_once(messages: list[str | bytes]) -> None:
    codec = Vosk()
    intake = Intake(codec, Limits(max_chunk_bytes=8))
    for message in messages:
        steps = list(Vosk().decode(message))
        assert all(isinstance(event, Start | AudioBytes | Finalize | Stop | Await | Bad) for event in steps)
        texts, _ = answers(intake, codec, message)
        if any(step.get("error", {}).get("code") in ("CONN_003", "AUDIO_001") for step in texts) and not isinstance(
            message, bytes
        ):
            return  # it was the last one
        expected = 1 if isinstance(message, bytes) or message == '{"reset":1}' else 0
        assert len(texts) == expected


EVENTS = st.one_of(
    st.builds(final, st.text(max_size=20)),
    st.builds(interim, st.text(max_size=20)),
    st.builds(Gap, seq=st.just(1), start=st.just(0), end=st.integers(0, 10**9), code=st.text(max_size=9)),
    st.builds(
        Failed,
        st.builds(Problem, code=st.text(max_size=9), detail=st.text(max_size=9), fatal=st.booleans()),
        st.text(max_size=8),
    ),
    st.sampled_from([AnswerDue(), Done(position=1, seq=1), GoAway(1.0), Status(state="streaming")]),
)


@given(st.lists(EVENTS), st.booleans())
def test_whatever_is_told_is_a_message_of_the_protocol(events: list[ServerEvent], alternatives: bool) -> None:
    codec = Vosk()
    if alternatives:
        codec.decode('{"config":{"max_alternatives":1}}')
    for event in events:
        texts = told(codec, event)
        owed = isinstance(event, AnswerDue | Done) or (isinstance(event, Failed) and event.problem.fatal)
        assert len(texts) == owed
        for text in texts:
            assert {*text} - {"error", "result"} in ({"partial"}, {"alternatives" if alternatives else "text"})


def test_the_session_is_opened_by_the_first_audio() -> None:
    codec = Vosk()
    intake = Intake(codec, Limits())

    assert intake.receive(CHUNK)[0] == Open(START.config, AudioFormat(sample_rate=8000))
    assert intake.receive('{"eof":1}') == [Stop()]
