"""The codec of voxtree.v1: what a client's messages mean, and the exact JSON it is told."""

from __future__ import annotations

import base64
import json
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.catalogue import CATALOGUE
from actors.speech.journal.port import Durability
from actors.speech.messages import (
    Ack,
    Acknowledge,
    Done,
    Finalize,
    Gap,
    GoAway,
    Problem,
    Ready,
    Recalled,
    Resume,
    Status,
    Stop,
    Transcript,
)
from actors.speech.ports import RecognitionConfig, Tier, Word
from transport.audio.formats import AudioFormat, DeclaredFormat, Encoding
from transport.wire.port import (
    AudioBytes,
    Bad,
    ClientEvent,
    Codec,
    Failed,
    Limits,
    Opened,
    Reply,
    ServerEvent,
    Start,
)
from transport.wire.voxtree_v1 import VoxtreeV1
from transport.wire.voxtree_v1_schema import CLIENT_EVENTS, ClientMessage, ServerMessage


def decode(message: str | bytes) -> ClientEvent:
    (event,) = VoxtreeV1().decode(message)
    return event


def told(*events: ServerEvent) -> Any:
    codec: Codec = VoxtreeV1()
    return [json.loads(text) for event in events for text in codec.encode(event)][-1]


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (b"\x01\x02", AudioBytes(b"\x01\x02")),
        (b"", AudioBytes(b"")),
        ('{"event":"audio","data":"AQI="}', AudioBytes(b"\x01\x02")),
        ('{"event":"finalize"}', Finalize()),
        ('{"event":"stop"}', Stop()),
        ('{"event":"ping"}', Reply('{"event":"pong"}')),
        ('{"event":"ping","t":17}', Reply('{"event":"pong","t":17}')),
        ('{"event":"ping","t":"a"}', Reply('{"event":"pong","t":"a"}')),
        ('{"event":"start"}', Start()),
        ('{"event":"start","config":{},"new":1}', Start()),
        ('{"event":"start","resume":{"token":"x"}}', Start(resume=Resume(token="x"))),
        (
            '{"event":"start","resume":{"token":"x","seq":3,"end":8,"oldest":7,"new":1}}',
            Start(resume=Resume(token="x", seq=3, end=8, oldest=7)),
        ),
        ('{"event":"ack","seq":3}', Acknowledge(3)),
        ('{"new":[1],"event":"stop"}', Stop()),
    ],
)
def test_each_client_message_means_one_event(message: str | bytes, event: ClientEvent) -> None:
    assert decode(message) == event


def test_start_knows_what_was_given_from_what_was_left_open() -> None:
    config = {
        "language": "de-DE",
        "encoding": "mulaw",
        "interim_results": False,
        "model": "m",
        "word_times": False,
    }

    assert decode(json.dumps({"event": "start", "config": config})) == Start(
        RecognitionConfig(language="de-DE", interim_results=False, model="m", word_times=False),
        DeclaredFormat(encoding=Encoding.MULAW),
    )


def test_start_takes_the_whole_config() -> None:
    config = {
        "language": "multi",
        "encoding": "pcm16",
        "sample_rate": 48000,
        "channels": 2,
        "punctuate": False,
    }

    assert decode(json.dumps({"event": "start", "config": config})) == Start(
        RecognitionConfig(sample_rate=48000, language="multi", punctuate=False),
        DeclaredFormat(encoding=Encoding.PCM16, sample_rate=48000, channels=2),
    )


@pytest.mark.parametrize(
    ("message", "code", "detail"),
    [
        ("", "CONN_003", "text that is not JSON (input data was truncated); audio goes into binary messages"),
        (
            "UklGRiQ=",
            "CONN_003",
            "text that is not JSON (JSON is malformed: invalid character (byte 0)); audio goes into binary messages",
        ),
        ("[]", "CONN_003", "expected `object`, got `array`"),
        ("{}", "CONN_003", "object missing required field `event`"),
        ('{"event":5}', "CONN_003", "expected `str`, got `int` - at `$.event`"),
        (
            '{"event":"begin"}',
            "CONN_003",
            "unknown event 'begin': known are start, audio, ack, finalize, stop, ping",
        ),
        ('{"event":"audio"}', "CONN_003", "audio: Object missing required field `data`"),
        ('{"event":"audio","data":7}', "CONN_003", "audio: expected `bytes`, got `int` - at `$.data`"),
        ('{"event":"audio","data":"a"}', "AUDIO_003", "data is not base64 (RFC 4648, with padding)"),
        (
            '{"event":"start","config":{"sample_rate":"16000"}}',
            "CONN_003",
            "start: expected `int | null`, got `str` - at `$.config.sample_rate`",
        ),
        (
            '{"event":"start","config":null}',
            "CONN_003",
            "start: expected `object`, got `null` - at `$.config`",
        ),
        (
            '{"event":"start","config":{"interim_results":1}}',
            "CONN_003",
            "start: expected `bool`, got `int` - at `$.config.interim_results`",
        ),
        (
            '{"event":"start","config":{"encoding":"opus"}}',
            "AUDIO_001",
            "encoding 'opus': allowed are pcm16, mulaw, alaw",
        ),
        (
            '{"event":"start","config":{"sample_rate":4000}}',
            "AUDIO_001",
            "sample_rate 4000: allowed are 8000 to 48000 Hz",
        ),
        (
            '{"event":"start","config":{"sample_rate":0}}',
            "AUDIO_001",
            "sample_rate 0: allowed are 8000 to 48000 Hz",
        ),
        ('{"event":"start","config":{"channels":6}}', "AUDIO_001", "channels 6: allowed are 1 and 2"),
        (
            '{"event":"start","config":{"language":"en_US"}}',
            "RIVA_002",
            "language 'en_US': expected a BCP-47 tag such as 'en-US'",
        ),
        ("\ud800", "CONN_003", None),
        ('{"event":"ping","x":' + "[" * 100_000, "CONN_003", None),
        ('{"event":"ping","t":' + "9" * 5000 + "}", "CONN_003", None),
    ],
)
def test_what_is_wrong_with_a_message_is_named(message: str, code: str, detail: str | None) -> None:
    event = decode(message)

    assert isinstance(event, Bad)
    assert event.error.code == code
    if detail is not None:
        assert event.error.detail.lower() == detail.lower()
    assert 0 < len(event.error.detail) <= 300
    assert "\n" not in event.error.detail


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_fields = st.dictionaries(
    st.sampled_from(["data", "config", "t", "resume", "x"]),
    _json
    | st.dictionaries(
        st.sampled_from(["language", "encoding", "sample_rate", "channels", "model", "interim_results"]),
        _json,
    ),
)
_almost = st.builds(
    lambda event, fields: json.dumps({"event": event, **fields}),
    st.sampled_from(CLIENT_EVENTS) | _json,
    _fields,
)


@given(st.binary() | st.text() | _json.map(json.dumps) | _almost)
def test_no_message_raises(message: str | bytes) -> None:
    assert isinstance(decode(message), typing.get_args(ClientEvent))


@given(st.binary())
def test_audio_in_base64_is_the_audio(data: bytes) -> None:
    text = base64.b64encode(data).decode()

    assert decode(f'{{"event":"audio","data":"{text}"}}') == AudioBytes(data)


def test_ready_says_what_is_in_force() -> None:
    ready = Ready(
        session_id="s-1",
        config=RecognitionConfig(sample_rate=8000, language="de-DE"),
        token="secret",
        window=60.0,
        credit=32000,
        durability=Durability.PROCESS,
    )
    audio = AudioFormat(encoding=Encoding.ALAW, sample_rate=8000, channels=2)

    assert told(Opened(ready, audio, Limits())) == {
        "event": "ready",
        "session_id": "s-1",
        "resume_token": "secret",
        "epoch": 1,
        "position": 0,
        "seq": 0,
        "resumed": False,
        "config": {
            "language": "de-DE",
            "encoding": "alaw",
            "sample_rate": 8000,
            "channels": 2,
            "interim_results": True,
            "word_times": True,
            "punctuate": True,
            "model": "",
        },
        "limits": {"max_chunk_bytes": 1048576, "max_message_bytes": 4194304, "idle_timeout_ms": 60000},
        "credit": 32000,
        "resume_window_ms": 60000,
        "durability": "process",
    }


def test_going_away_is_told_with_its_time() -> None:
    assert told(GoAway(2.5)) == {
        "event": "goaway",
        "code": "CONN_006",
        "message": "The service is restarting. Please reconnect.",
        "deadline_ms": 2500,
    }


def _final(**changes: Any) -> Transcript:
    final = Transcript(
        is_final=True,
        seq=3,
        start=8000,
        end=24000,
        text="hello there",
        words=(Word("hello", 8001, 12000, 0.98765), Word("there", 16000, 23999)),
        confidence=0.8999999761581421,
        source=Tier.EMBEDDED,
    )
    return msgspec.structs.replace(final, **changes)


def _opened(**config: Any) -> Opened:
    ready = Ready(session_id="s", config=RecognitionConfig(**config))
    return Opened(ready, AudioFormat(sample_rate=ready.config.sample_rate), Limits())


def test_a_final_has_positions_in_samples_and_word_times_in_milliseconds() -> None:
    assert told(_opened(sample_rate=8000), _final()) == {
        "event": "transcript",
        "is_final": True,
        "seq": 3,
        "start": 8000,
        "end": 24000,
        "text": "hello there",
        "words": [
            {"text": "hello", "start_ms": 1000, "end_ms": 1500, "confidence": 0.9877},
            {"text": "there", "start_ms": 2000, "end_ms": 2999, "confidence": 0.0},
        ],
        "confidence": 0.9,
        "source": "embedded",
    }


def test_a_client_that_wants_no_word_times_gets_none() -> None:
    assert "words" not in told(_opened(word_times=False), _final())


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            Transcript(is_final=False, seq=0, start=0, end=160, text="he", stability=0.1),
            {
                "event": "transcript",
                "is_final": False,
                "seq": 0,
                "start": 0,
                "end": 160,
                "text": "he",
                "stability": 0.1,
                "source": "primary",
            },
        ),
        (
            Recalled(start=16, end=160, text="hello", similarity=0.43219),
            {
                "event": "transcript",
                "is_final": False,
                "seq": 0,
                "start": 16,
                "end": 160,
                "text": "hello",
                "source": "cache",
                "similarity": 0.4322,
            },
        ),
        (
            Transcript(is_final=True, seq=1, start=0, end=160, text="he", provisional=True),
            {
                "event": "transcript",
                "is_final": True,
                "seq": 1,
                "start": 0,
                "end": 160,
                "text": "he",
                "source": "primary",
                "provisional": True,
            },
        ),
        (
            Gap(seq=4, start=1, end=2, code="AUDIO_004"),
            {"event": "gap", "seq": 4, "start": 1, "end": 2, "code": "AUDIO_004"},
        ),
        (Ack(durable=1, received=2, seq=3), {"event": "ack", "durable": 1, "received": 2, "seq": 3}),
        (Status(state="streaming"), {"event": "status", "state": "streaming", "message": ""}),
        (
            Status(state="delayed", code="RIVA_013", message="wait"),
            {"event": "status", "state": "delayed", "code": "RIVA_013", "message": "wait"},
        ),
        (Done(position=9, seq=2), {"event": "done", "position": 9, "seq": 2}),
        (
            Failed(Problem(code="CONN_005", detail="all 4 taken", retry_after=1.5, fatal=True), "ab12"),
            {
                "event": "error",
                "code": "CONN_005",
                "name": "CONN_SERVER_BUSY",
                "category": "CONN",
                "severity": "WARNING",
                "message": "The service is busy. Please try again shortly.",
                "action": "retry",
                "detail": "all 4 taken",
                "retry_after_ms": 1500,
                "fatal": True,
                "ref": "ab12",
            },
        ),
        (
            Failed(Problem(code="NO_SUCH"), "ff"),
            {
                "event": "error",
                "code": "UNKNOWN",
                "name": "UNKNOWN",
                "category": "UNKNOWN",
                "severity": "CRITICAL",
                "message": "An unexpected error occurred",
                "action": "new_session",
                "fatal": False,
                "ref": "ff",
            },
        ),
    ],
)
def test_each_server_event_has_its_exact_json(event: ServerEvent, message: dict[str, Any]) -> None:
    assert told(event) == message


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_error_of_the_catalogue_is_told_as_the_catalogue_has_it(code: str) -> None:
    message = told(Failed(Problem(code=code), "r"))

    entry = CATALOGUE[code]
    assert (message["name"], message["message"], message["action"], message["severity"]) == (
        entry.name,
        entry.message,
        entry.action.value,
        entry.severity.value,
    )


_count = st.integers(0, 2**53)
_unit = st.floats(0, 1)
_word = st.builds(Word, st.text(max_size=9), _count, _count, _unit)
_transcripts = st.builds(
    Transcript,
    is_final=st.booleans(),
    seq=_count,
    start=_count,
    end=_count,
    text=st.text(),
    words=st.lists(_word, max_size=3).map(tuple),
    confidence=_unit,
    stability=_unit,
    source=st.sampled_from(Tier),
    provisional=st.booleans(),
)
_problems = st.builds(
    Problem,
    code=st.sampled_from(sorted(CATALOGUE)),
    detail=st.text(),
    retry_after=st.none() | st.floats(0, 1e6),
)


@given(_transcripts | st.builds(Failed, _problems, st.text()))
def test_what_is_encoded_reads_back_as_one_of_the_messages(event: ServerEvent) -> None:
    (text,) = VoxtreeV1().encode(event)

    again = msgspec.json.decode(text, type=ServerMessage)
    assert msgspec.json.encode(again).decode() == text


def test_the_list_of_known_events_is_the_schema() -> None:
    tags = {message.__struct_config__.tag for message in typing.get_args(ClientMessage)}

    assert tags == set(CLIENT_EVENTS)
