"""The codec of Deepgram's `/v1/listen`: what its clients' requests and messages mean, and the JSON they are told."""

from __future__ import annotations

import hashlib
import itertools
import json
import typing
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.catalogue import CATALOGUE
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
from actors.speech.ports import RecognitionConfig, Tier, Word
from tests.transport.wavs import wav
from transport.audio.formats import AudioFormat, DeclaredFormat, Encoding
from transport.version import version
from transport.wire.deepgram import Deepgram, connect
from transport.wire.deepgram_query import Options, read
from transport.wire.deepgram_schema import CLIENT_TYPES, NO_MODEL, ClientMessage, ServerMessage
from transport.wire.dialects import routes
from transport.wire.intake import Intake, Open, Refuse, Samples, Step
from transport.wire.port import (
    Accepted,
    Answer,
    AnswerDue,
    AudioBytes,
    Bad,
    ClientEvent,
    Failed,
    Limits,
    Opened,
    Reply,
    Request,
    ServerEvent,
    Start,
)

RAW = "encoding=linear16&sample_rate=16000"
KEEP_ALIVE, FINALIZE, CLOSE = ('{"type":"KeepAlive"}', '{"type":"Finalize"}', '{"type":"CloseStream"}')


def asked(query: str) -> Options:
    return read(parse_qs(query))


def codec(query: str = RAW) -> Deepgram:
    return Deepgram(asked(query), "r-1", datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))


def requested(query: str = RAW, **headers: Sequence[str]) -> Accepted | Answer:
    return connect(Request(path="/v1/listen", query=parse_qs(query), headers=headers), "r-1")


def told(spoken: Deepgram, *events: ServerEvent) -> list[Any]:
    return [json.loads(text) for event in events for text in spoken.encode(event)]


def steps(spoken: Deepgram, *messages: str | bytes) -> list[Step | tuple[str, str]]:
    """What messages lead to; a refusal as (code, detail)."""
    intake = Intake(spoken, Limits())
    found = [*intake.connected(), *(step for message in messages for step in intake.receive(message))]
    return [(step.error.code, step.error.detail) if isinstance(step, Refuse) else step for step in found]


def opened(rate: int = 16000, **audio: Any) -> Opened:
    ready = Ready(session_id="r-1", config=RecognitionConfig(sample_rate=rate))
    return Opened(ready, AudioFormat(sample_rate=rate, **audio), Limits())


def interim(start: int, end: int, text: str = "hi") -> Transcript:
    return Transcript(is_final=False, seq=0, start=start, end=end, text=text, stability=0.8)


def final(start: int, end: int, *words: Word, **changes: Any) -> Transcript:
    text = " ".join(word.text for word in words)
    given = Transcript(is_final=True, seq=1, start=start, end=end, text=text, words=words, confidence=0.9)
    return msgspec.structs.replace(given, **changes)


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Pieces of these sizes, and the rest."""
    places = itertools.pairwise(itertools.accumulate([*sizes, len(data)], initial=0))
    return [data[begin:end] for begin, end in places if data[begin:end]]


def flags(message: Any) -> Any:
    """What is worth comparing of a message when it is about the order of things."""
    if message["type"] != "Results":
        return {key: value for key, value in message.items() if key in ("type", "timestamp", "last_word_end")}
    text = message["channel"]["alternatives"][0]["transcript"]
    return text, *(name for name in ("is_final", "speech_final", "from_finalize") if message[name])


# ---- the request


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", Options(config=RecognitionConfig(interim_results=False, punctuate=False))),
        (
            "model=nova-3&encoding=mulaw&sample_rate=8000&language=de&smart_format=true&interim_results=true",
            Options(
                config=RecognitionConfig(sample_rate=8000, language="de-DE"),
                audio=DeclaredFormat(encoding=Encoding.MULAW, sample_rate=8000, channels=1),
                interim_results=True,
            ),
        ),
        (
            "model=riva:parakeet&encoding=linear16&sample_rate=48000&channels=2&language=es-419&punctuate=True"
            "&vad_events=true&endpointing=false&utterance_end_ms=1000",
            Options(
                config=RecognitionConfig(sample_rate=48000, language="es-419", model="parakeet"),
                audio=DeclaredFormat(encoding=Encoding.PCM16, sample_rate=48000, channels=2),
                endpointing=False,
                utterance_end=True,
                vad_events=True,
            ),
        ),
        (
            "encoding=&language=&channels=x&diarize=maybe&keyterm=a&keyterm=b&tag=t&endpointing=300&new=1"
            "&redact=false&multichannel=false&utterance_end_ms=false",
            Options(config=RecognitionConfig(interim_results=False, punctuate=False)),
        ),
    ],
)
def test_the_query_says_what_the_session_is_to_be(query: str, options: Options) -> None:
    assert asked(query) == options


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("encoding=opus&sample_rate=1", "encoding 'opus': there are linear16, mulaw, alaw; none for a WAV file"),
        ("encoding=linear16", "sample_rate is missing: encoding=linear16 takes one, in Hz"),
        ("encoding=alaw&sample_rate=fast", "sample_rate 'fast': expected a whole number"),
        ("encoding=alaw&sample_rate=٣", "sample_rate '\\u0663': expected a whole number"),
        ("encoding=alaw&sample_rate=4000", "sample_rate 4000: allowed are 8000 to 48000 Hz"),
        (RAW + "&channels=6", "channels 6: allowed are 1 and 2"),
        (RAW + "&channels=0", "channels 0: allowed are 1 and 2"),
        ("language=e%0d%0an", "language 'e\\r\\nn': expected a BCP-47 tag such as 'en-US'"),
        ("interim_results=1", "interim_results '1': expected true or false"),
        ("punctuate=yes", "punctuate 'yes': expected true or false"),
        ("endpointing=-1", "endpointing '-1': expected a number of milliseconds, or false"),
        (
            "utterance_end_ms=1s",
            "utterance_end_ms '1s': expected a number of milliseconds, or false",
        ),
        (
            "multichannel=true",
            "multichannel=true: channels are mixed; open one connection for each to keep them apart",
        ),
        ("callback=http://a.example/", "callback: results are sent over this connection only"),
        ("redact=pci", "redact: nothing is redacted here, so leave it out only if the words may be seen"),
    ],
)
def test_what_cannot_be_is_refused_in_the_handshake(query: str, text: str) -> None:
    answer = requested(query)

    assert isinstance(answer, Answer)
    assert answer.status == 400
    assert json.loads(answer.body) == {
        "err_code": "INVALID_QUERY_PARAMETER",
        "err_msg": text,
        "request_id": "r-1",
    }
    assert answer.headers == {"dg-request-id": "r-1", "dg-error": text}


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["token, SECRET"], "token"),
        (["bearer", "SECRET"], "bearer"),
        (["SECRET, token"], None),
        (["voxtree.v1"], None),
    ],
)
def test_the_scheme_is_answered_and_never_the_key(offered: list[str], chosen: str | None) -> None:
    accepted = requested(**{"sec-websocket-protocol": offered, "authorization": ["Token SECRET"]})

    assert isinstance(accepted, Accepted)
    assert (accepted.subprotocol, accepted.headers) == (chosen, {"dg-request-id": "r-1"})


def test_the_path_is_there_if_it_is_enabled() -> None:
    assert routes(["deepgram"]).sockets["/v1/listen"] is connect
    assert "/v1/listen" not in routes([]).sockets


# ---- from the client


def test_declared_audio_begins_the_session_at_once() -> None:
    spoken = codec("encoding=mulaw&sample_rate=8000&channels=2")

    assert list(spoken.connected()) == [
        Start(
            RecognitionConfig(sample_rate=8000, interim_results=False, punctuate=False),
            DeclaredFormat(encoding=Encoding.MULAW, sample_rate=8000, channels=2),
        )
    ]
    assert not spoken.resumable


@pytest.mark.parametrize(
    ("message", "events"),
    [
        (b"\x01\x02", [AudioBytes(b"\x01\x02")]),
        (b"\x01", []),
        (b"", [Stop()]),
        (KEEP_ALIVE, []),
        (FINALIZE, [Finalize()]),
        ('{"type": "Finalize", "channel": 0}', [Finalize()]),
        (CLOSE, [Stop()]),
    ],
)
def test_each_message_means_one_event_at_most(message: str | bytes, events: list[ClientEvent]) -> None:
    assert list(codec().decode(message)) == events


@pytest.mark.parametrize("end", [b"", CLOSE])
def test_what_follows_the_end_is_ignored(end: str | bytes) -> None:
    spoken = codec()
    spoken.decode(end)

    assert [list(spoken.decode(message)) for message in (b"\x01\x02", b"", CLOSE, FINALIZE, "{")] == [[]] * 5


def test_settings_do_not_change_in_mid_stream() -> None:
    (event,) = codec().decode('{"type":"Configure","keyterms":["a"]}')

    assert isinstance(event, Reply)
    assert json.loads(event.text) == {
        "type": "ConfigureFailure",
        "request_id": "r-1",
        "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
        "description": "The settings are those of the query, until the end.",
    }


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ("", "text that is not JSON (input data was truncated); audio goes into binary messages"),
        ("[]", "expected `object`, got `array`"),
        ("{}", "object missing required field `type`"),
        (
            '{"type":"Flush"}',
            "unknown type 'Flush': known are KeepAlive, Finalize, CloseStream, Configure",
        ),
        ("\ud800", None),
        ('{"type":' + "[" * 100_000, None),
    ],
)
def test_what_is_wrong_with_a_message_is_named(message: str, detail: str | None) -> None:
    (event,) = codec().decode(message)

    assert isinstance(event, Bad)
    assert event.error.code == "CONN_003"
    if detail is not None:
        assert event.error.detail.lower() == detail.lower()


def test_the_list_of_known_types_is_the_schema() -> None:
    tags = {message.__struct_config__.tag for message in typing.get_args(ClientMessage)}

    assert tags == set(CLIENT_TYPES)


@given(st.binary(min_size=64, max_size=200), st.lists(st.integers(1, 9)))
def test_no_sample_is_lost_wherever_raw_audio_is_cut(audio: bytes, sizes: list[int]) -> None:
    audio = b"\x00" + audio  # no container's mark

    found = steps(codec(), *cut(audio, sizes))

    assert found[0] == Open(RecognitionConfig(interim_results=False, punctuate=False), AudioFormat())
    assert b"".join(step.pcm for step in found[1:] if isinstance(step, Samples)) == audio[: len(audio) // 2 * 2]
    assert all(isinstance(step, Samples) for step in found[1:])


@given(st.lists(st.integers(1, 30)))
def test_a_wav_file_says_itself_what_it_is(sizes: list[int]) -> None:
    file = wav(bytes(range(100)), rate=44100, channels=2)

    (first, *others) = steps(codec(""), *cut(file, sizes))

    config = RecognitionConfig(sample_rate=44100, interim_results=False, punctuate=False)
    assert first == Open(config, AudioFormat(sample_rate=44100, channels=2))
    assert sum(len(step.pcm) for step in others if isinstance(step, Samples)) == 50


@pytest.mark.parametrize(
    ("audio", "detail"),
    [
        (bytes(100), "this is no WAV file: raw audio takes encoding and sample_rate in the query"),
        (
            b"OggS" + bytes(100),
            "this is Ogg (Opus, Vorbis): send PCM16, mu-law or A-law samples, or a WAV of them",
        ),
    ],
)
def test_without_an_encoding_only_a_wav_file_is_taken(audio: bytes, detail: str) -> None:
    spoken = codec("")

    assert steps(spoken, audio) == [("AUDIO_001", detail)]
    assert spoken.close_code("AUDIO_001") == 1008


# ---- to the client


def test_results_have_seconds_and_the_request() -> None:
    spoken = codec(RAW + "&punctuate=true&model=riva:parakeet")
    words = (Word("Hello,", 8001, 12000, 0.98765), Word("Zoë.", 16000, 23999))

    assert told(spoken, opened(8000), final(8000, 24000, *words, source=Tier.FALLBACK)) == [
        {
            "type": "Results",
            "channel_index": [0, 1],
            "duration": 2.0,
            "start": 1.0,
            "is_final": True,
            "speech_final": True,
            "from_finalize": False,
            "channel": {
                "alternatives": [
                    {
                        "transcript": "Hello, Zoë.",
                        "confidence": 0.9,
                        "words": [
                            {
                                "word": "hello",
                                "start": 1.000125,
                                "end": 1.5,
                                "confidence": 0.9877,
                                "punctuated_word": "Hello,",
                            },
                            {
                                "word": "zoë",
                                "start": 2.0,
                                "end": 2.999875,
                                "confidence": 0.0,
                                "punctuated_word": "Zoë.",
                            },
                        ],
                    }
                ]
            },
            "metadata": {
                "request_id": "r-1",
                "model_info": {"name": "parakeet", "version": version(), "arch": "fallback"},
                "model_uuid": NO_MODEL,
            },
        }
    ]


W1, W2, W3 = Word("w1", 1600, 3200), Word("w2", 4800, 6400), Word("w3", 20000, 22000)
SPEECH = (interim(0, 4000), interim(0, 7000), final(0, 6400, W1, W2), final(6400, 16000), final(16000, 22000, W3))


@pytest.mark.parametrize(
    ("query", "messages"),
    [
        (
            RAW,
            [
                ("w1 w2", "is_final", "speech_final"),
                ("", "is_final"),
                ("w3", "is_final", "speech_final"),
            ],
        ),
        (RAW + "&endpointing=false", [("w1 w2", "is_final"), ("", "is_final"), ("w3", "is_final")]),
        (
            RAW + "&interim_results=true&vad_events=true&utterance_end_ms=1000&endpointing=false",
            [
                {"type": "SpeechStarted", "timestamp": 0.25},
                ("hi",),
                ("hi",),
                ("w1 w2", "is_final"),
                {"type": "UtteranceEnd", "last_word_end": 0.4},
                ("", "is_final"),
                {"type": "SpeechStarted", "timestamp": 1.25},
                ("w3", "is_final"),
                {"type": "UtteranceEnd", "last_word_end": 1.375},
            ],
        ),
        (
            RAW + "&vad_events=true",
            [
                {"type": "SpeechStarted", "timestamp": 0.25},
                ("w1 w2", "is_final", "speech_final"),
                ("", "is_final"),
                {"type": "SpeechStarted", "timestamp": 1.25},
                ("w3", "is_final", "speech_final"),
            ],
        ),
    ],
)
def test_a_client_is_told_what_it_asked_for(query: str, messages: list[Any]) -> None:
    assert [flags(message) for message in told(codec(query), opened(), *SPEECH)] == messages


def test_the_final_that_was_asked_for_is_marked_and_ends_no_utterance() -> None:
    spoken = codec(RAW + "&utterance_end_ms=1000")
    spoken.decode(bytes(2 * 5000))
    spoken.decode(FINALIZE)

    assert [flags(message) for message in told(spoken, opened(), final(0, 3200, W1), final(3200, 6400, W2))] == [
        ("w1", "is_final", "from_finalize"),
        ("w2", "is_final", "speech_final"),
        {"type": "UtteranceEnd", "last_word_end": 0.4},
    ]


def test_silence_ends_the_utterance_that_a_wanted_final_left_open() -> None:
    spoken = codec(RAW + "&utterance_end_ms=1000")
    spoken.decode(bytes(2 * 5000))
    spoken.decode(FINALIZE)

    assert [flags(message) for message in told(spoken, opened(), final(0, 3200, W1), final(3200, 16000))] == [
        ("w1", "is_final", "from_finalize"),
        ("", "is_final", "speech_final"),
        {"type": "UtteranceEnd", "last_word_end": 0.2},
    ]


def test_finalize_in_silence_marks_no_later_final() -> None:
    spoken = codec()
    spoken.decode(bytes(2 * 16000))
    spoken.decode(FINALIZE)

    assert [flags(message) for message in told(spoken, opened(), final(0, 15000), final(15000, 22000, W3))] == [
        ("", "is_final"),
        ("w3", "is_final", "speech_final"),
    ]


def test_a_provisional_final_does_not_end_the_utterance() -> None:
    messages = told(codec(), opened(), final(0, 3200, W1, provisional=True), final(3200, 6400, W2))

    assert [flags(message) for message in messages] == [
        ("w1", "is_final"),
        ("w2", "is_final", "speech_final"),
    ]


def test_metadata_sums_the_audio_up() -> None:
    spoken = codec(RAW + "&channels=2")
    for message in (b"\x01", b"\x02\x03\x04\x05", KEEP_ALIVE, CLOSE):
        spoken.decode(message)

    assert told(spoken, opened(channels=2), Done(position=24000, seq=1)) == [
        {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": "r-1",
            "sha256": hashlib.sha256(b"\x01\x02\x03\x04\x05").hexdigest(),
            "created": "2026-01-02T03:04:05.678Z",
            "duration": 1.5,
            "channels": 2,
            "models": [NO_MODEL],
            "model_info": {NO_MODEL: {"name": "default", "version": version(), "arch": "voxtree"}},
        }
    ]


@pytest.mark.parametrize(
    ("code", "fatal", "variant", "close"),
    [
        ("CONN_002", True, "NET-0001", 1011),
        ("CONN_003", False, "SchemaError", 1008),
        ("CONN_005", True, "CONN_005", 1013),
        ("CONN_006", True, "CONN_006", 1012),
        ("RIVA_002", True, "RIVA_002", 1008),
        ("AUDIO_001", True, "DATA-0000", 1008),
        ("AUDIO_003", False, "DATA-0000", 1011),
        ("SYS_001", True, "NET-0000", 1011),
        ("NO_SUCH", True, "NET-0000", 1011),
    ],
)
def test_errors_have_deepgrams_names_where_there_are_any(code: str, fatal: bool, variant: str, close: int) -> None:
    spoken = codec()
    (message,) = told(spoken, Failed(Problem(code=code, detail="why", fatal=fatal), "ab12"))

    known = CATALOGUE.get(code, CATALOGUE["UNKNOWN"])
    assert message == {
        "type": "Error",
        "variant": variant,
        "description": known.message,
        "message": "why",
        "code": known.code,
        "request_id": "r-1",
    }
    assert spoken.close_code(code) == close


def test_a_gap_is_told_as_an_error_with_its_place() -> None:
    (message,) = told(codec(), opened(), Gap(seq=4, start=16000, end=40000, code="AUDIO_004"))

    assert (message["type"], message["variant"], message["message"]) == (
        "Error",
        "AUDIO_004",
        "from 1.0 s to 2.5 s",
    )


@pytest.mark.parametrize(
    "event",
    [
        Ack(durable=1, received=2, seq=3),
        Status(state="delayed"),
        GoAway(2.0),
        Recalled(start=0, end=1, text="a", similarity=0.9),
        AnswerDue(),
    ],
)
def test_what_has_no_words_in_this_protocol_is_not_said(event: ServerEvent) -> None:
    assert told(codec(), opened(), event) == []


# ---- whatever comes

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_almost = st.builds(
    lambda type_, fields: json.dumps({**fields, "type": type_}),
    st.sampled_from(CLIENT_TYPES) | _json,
    st.dictionaries(st.text(max_size=8), _json, max_size=3),
)
_queries = st.dictionaries(
    st.sampled_from(["encoding", "sample_rate", "channels", "language", "model", "endpointing", "punctuate", "redact"])
    | st.text(),
    st.lists(st.sampled_from(["true", "linear16", "16000", "2", "en"]) | st.text(), min_size=1, max_size=2),
)


@given(st.lists(st.binary() | st.text() | _json.map(json.dumps) | _almost), st.sampled_from(["", RAW]))
def test_no_message_raises(messages: list[str | bytes], query: str) -> None:
    spoken = codec(query)

    for message in messages:
        assert all(isinstance(event, ClientEvent) for event in spoken.decode(message))


@given(_queries)
def test_no_query_raises(query: dict[str, list[str]]) -> None:
    answer = connect(Request(path="/v1/listen", query=query), "r-1")

    if isinstance(answer, Answer):
        assert answer.headers["dg-error"].isascii()
        assert answer.headers["dg-error"].isprintable()


_count = st.integers(0, 2**40)
_unit = st.floats(0, 1)
_transcripts = st.builds(
    lambda start, length, **fields: Transcript(start=start, end=start + length, **fields),
    _count,
    _count,
    is_final=st.booleans(),
    seq=_count,
    text=st.text(),
    words=st.lists(st.builds(Word, st.text(max_size=9), _count, _count, _unit), max_size=3).map(tuple),
    confidence=_unit,
    stability=_unit,
    source=st.sampled_from(Tier),
    provisional=st.booleans(),
)
_problems = st.builds(
    Problem, code=st.sampled_from(sorted(CATALOGUE)) | st.text(), detail=st.text(), fatal=st.booleans()
)
_events = st.one_of(
    _transcripts,
    st.builds(Failed, _problems, st.text()),
    st.builds(Gap, seq=_count, start=_count, end=_count, code=st.sampled_from(sorted(CATALOGUE))),
    st.builds(Done, position=_count, seq=_count),
    st.sampled_from([opened(8000), opened(44100, channels=2)]),
    st.builds(Status, state=st.text()),
)


@given(st.lists(_events))
def test_every_event_is_told_in_messages_of_the_protocol(events: list[ServerEvent]) -> None:
    spoken = codec(RAW + "&interim_results=true&vad_events=true&utterance_end_ms=1000&punctuate=true")

    for event in events:
        for text in spoken.encode(event):
            again = msgspec.json.decode(text, type=ServerMessage)
            assert msgspec.json.encode(again).decode() == text
