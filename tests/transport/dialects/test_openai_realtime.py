"""The codec of OpenAI's Realtime transcription: what a client's messages mean, and which items it gets."""

from __future__ import annotations

import base64
import json
import re
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.catalogue import CATALOGUE
from actors.speech.messages import Ack, Done, Finalize, Gap, GoAway, Problem, Ready, Recalled, Status, Transcript
from actors.speech.ports import RecognitionConfig, Tier, Word
from transport.audio.formats import AudioFormat, DeclaredFormat, Encoding
from transport.wire.client_secrets import KEY_BYTES, ClientSecrets
from transport.wire.openai_realtime import OpenAIRealtime, connect
from transport.wire.openai_realtime_schema import CLIENT_TYPES, ClientMessage, ServerMessage
from transport.wire.openai_secrets import client_secret, transcription_session
from transport.wire.openai_settings import LOCALES
from transport.wire.port import (
    Accepted,
    Answer,
    AnswerDue,
    AudioBytes,
    Bad,
    ClientEvent,
    Codec,
    Failed,
    Limits,
    Opened,
    Remind,
    Reply,
    Request,
    ServerEvent,
    Start,
)

RATE = 24_000
SECOND = b"\0\0" * RATE
_COMMON = re.compile(r"^(input_audio_buffer|conversation(\.item\.input_audio_transcription)?)\.")
SECRETS = ClientSecrets(bytes(KEY_BYTES))


class Session:
    """A codec, and what its client was told so far."""

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec = codec or OpenAIRealtime("0b9ce3d6-0000-4000-8000-00000000c0de")
        self.told: list[Any] = []
        self._take(self.codec.connected())

    def say(self, kind: str, **fields: Any) -> list[ClientEvent]:
        """What a message means, but for what is told at once."""
        return self._take(self.codec.decode(json.dumps({"type": kind, **fields})))

    def append(self, audio: bytes) -> list[ClientEvent]:
        return self.say("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    def update(self, event_id: str | None = None, **fields: Any) -> list[ClientEvent]:
        return self.say(
            "session.update", event_id=event_id, session={"type": "transcription", "audio": {"input": fields}}
        )

    def hear(self, *events: ServerEvent) -> list[Any]:
        """What the client is told of events."""
        news = [json.loads(text) for event in events for text in self.codec.encode(event)]
        self.told += news
        return news

    def _take(self, events: typing.Sequence[ClientEvent]) -> list[ClientEvent]:
        self.told += [json.loads(event.text) for event in events if isinstance(event, Reply)]
        return [event for event in events if not isinstance(event, Reply)]


def types(messages: list[Any]) -> list[str]:
    """Their types without what most of them begin with."""
    return [_COMMON.sub("", message["type"]) for message in messages]


def final(start: float, end: float, text: str, *, seq: int = 1) -> Transcript:
    """One second a word, ending at `end`; times in seconds."""
    spoken = text.split()
    words = tuple(
        Word(word, round((end - len(spoken) + n) * RATE), round((end - len(spoken) + n + 1) * RATE))
        for n, word in enumerate(spoken)
    )
    return Transcript(is_final=True, seq=seq, start=round(start * RATE), end=round(end * RATE), text=text, words=words)


def interim(start: float, end: float, text: str) -> Transcript:
    return Transcript(is_final=False, seq=0, start=round(start * RATE), end=round(end * RATE), text=text)


def transcripts(messages: list[Any]) -> dict[str, str]:
    """The text of each completed item."""
    return {m["item_id"]: m["transcript"] for m in messages if m["type"].endswith(".completed")}


# ---- settings


def test_a_client_is_greeted_with_the_session_as_it_would_be() -> None:
    (created,) = Session().told

    assert created == {
        "type": "session.created",
        "event_id": "event_00000000c0de_1",
        "session": {
            "type": "transcription",
            "id": "sess_0b9ce3d6-0000-4000-8000-00000000c0de",
            "object": "realtime.transcription_session",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": {"type": "server_vad"},
                }
            },
        },
    }


def test_the_first_audio_begins_a_session_with_the_defaults() -> None:
    session = Session()

    assert session.append(b"\1\2") == [
        Start(
            RecognitionConfig(sample_rate=RATE), DeclaredFormat(encoding=Encoding.PCM16, sample_rate=RATE, channels=1)
        ),
        AudioBytes(b"\1\2"),
    ]
    assert session.append(b"\3\4") == [AudioBytes(b"\3\4")]


@pytest.mark.parametrize(
    ("form", "audio"),
    [
        ({"type": "audio/pcm"}, (Encoding.PCM16, RATE)),
        ({"type": "audio/pcm", "rate": 16000}, (Encoding.PCM16, 16000)),
        ({"type": "audio/pcmu"}, (Encoding.MULAW, 8000)),
        ({"type": "audio/pcma"}, (Encoding.ALAW, 8000)),
        (None, (Encoding.PCM16, RATE)),
    ],
)
def test_the_first_update_begins_a_session_with_its_format(form: Any, audio: tuple[Encoding, int]) -> None:
    encoding, rate = audio

    assert Session().update(format=form) == [
        Start(RecognitionConfig(sample_rate=rate), DeclaredFormat(encoding=encoding, sample_rate=rate, channels=1))
    ]


@pytest.mark.parametrize(
    ("wanted", "language", "model"),
    [
        ({"model": "gpt-4o-transcribe", "language": "de", "prompt": "p"}, "de-DE", ""),
        ({"model": "riva:parakeet", "language": "es-ES"}, "es-ES", "parakeet"),
        ({"language": "EN"}, "en-US", ""),
        ({"language": "cy"}, "cy", ""),
        ({"language": ""}, "en-US", ""),
        (None, "en-US", ""),
    ],
)
def test_languages_are_mapped_and_openais_models_stand_for_none(wanted: Any, language: str, model: str) -> None:
    (start,) = Session().update(transcription=wanted)

    assert isinstance(start, Start)
    assert (start.config.language, start.config.model) == (language, model)


def test_every_locale_is_of_its_language() -> None:
    assert all(locale.split("-")[0] in (code, "nb") for code, locale in LOCALES.items())


def test_an_update_is_answered_with_all_settings_and_changes_no_others() -> None:
    session = Session()
    session.update(transcription={"model": "whisper-1"}, noise_reduction={"type": "near_field"})
    session.update(turn_detection=None)

    assert types(session.told) == ["session.created", "session.updated", "session.updated"]
    assert session.told[-1]["session"]["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": {"model": "whisper-1"},
        "noise_reduction": {"type": "near_field"},
        "turn_detection": None,
    }


def test_what_a_session_has_begun_with_stays_and_the_error_names_the_message() -> None:
    session = Session()
    session.append(SECOND)
    (bad,) = session.update("mine", format={"type": "audio/pcmu"})

    assert isinstance(bad, Bad)
    (error,) = session.hear(Failed(Problem(code=bad.error.code, detail=bad.error.detail), "ab12"))
    assert error == {
        "type": "error",
        "event_id": "event_00000000c0de_2",
        "error": {
            "type": "invalid_request_error",
            "code": "CONN_003",
            "message": "Invalid message format (session.update: audio format, language and model cannot change once "
            "the session has begun, with its first update or audio: connect again)",
            "param": None,
            "event_id": "mine",
            "ref": "ab12",
            "retry_after_ms": None,
        },
    }
    assert session.update(transcription={"language": "en"}) == []  # which it has anyway


def test_only_the_error_for_a_clients_message_has_its_id() -> None:
    session = Session()
    session.append(b"")
    session.say("input_audio_buffer.commit", event_id="mine")

    (ours, theirs, later) = session.hear(
        *(Failed(Problem(code=code), "r") for code in ("RIVA_013", "AUDIO_003", "AUDIO_003"))
    )
    assert [ours["error"]["type"], theirs["error"]["type"]] == ["server_error", "invalid_request_error"]
    assert [m["error"]["event_id"] for m in (ours, theirs, later)] == [None, "mine", None]


@pytest.mark.parametrize(
    ("message", "code", "detail"),
    [
        (b"\0", "CONN_003", "binary message: audio goes, in base64, into input_audio_buffer.append"),
        ("{", "CONN_003", "text that is not JSON (input data was truncated)"),
        ("{}", "CONN_003", "object missing required field `type`"),
        (
            '{"type":"response.create"}',
            "CONN_003",
            f"unknown type 'response.create': known are {', '.join(CLIENT_TYPES)}",
        ),
        ('{"type":"session.update"}', "CONN_003", "session.update: object missing required field `session`"),
        (
            '{"type":"input_audio_buffer.append","audio":"a"}',
            "AUDIO_003",
            "audio is not base64 (RFC 4648, with padding)",
        ),
        (
            '{"type":"input_audio_buffer.commit"}',
            "AUDIO_003",
            "input_audio_buffer.commit: no audio was appended since the last one",
        ),
        (
            '{"type":"session.update","session":{"type":"realtime"}}',
            "CONN_003",
            "session.type 'realtime': only 'transcription' sessions are served here",
        ),
        (
            '{"type":"session.update","session":{"audio":{"input":{"format":{"type":"audio/opus"}}}}}',
            "AUDIO_001",
            "format.type 'audio/opus': allowed are audio/pcm, audio/pcmu, audio/pcma",
        ),
        (
            '{"type":"session.update","session":{"audio":{"input":{"format":{"type":"audio/pcm","rate":96000}}}}}',
            "AUDIO_001",
            "sample_rate 96000: allowed are 8000 to 48000 Hz",
        ),
        (
            '{"type":"session.update","session":{"audio":{"input":{"turn_detection":{"type":"magic"}}}}}',
            "CONN_003",
            "turn_detection.type 'magic': allowed are server_vad, semantic_vad, or null for turn_detection",
        ),
        (
            '{"type":"session.update","session":{"audio":{"input":{"transcription":{"language":"english!"}}}}}',
            "RIVA_002",
            "language 'english!': expected a BCP-47 tag such as 'en-US'",
        ),
        (
            '{"type":"transcription_session.update","session":{"input_audio_format":"opus"}}',
            "AUDIO_001",
            "input_audio_format 'opus': allowed are pcm16, g711_ulaw, g711_alaw",
        ),
    ],
)
def test_what_is_wrong_with_a_message_is_named(message: str | bytes, code: str, detail: str) -> None:
    (bad,) = OpenAIRealtime("s").decode(message)

    assert isinstance(bad, Bad)
    assert (bad.error.code, bad.error.detail) == (code, detail)


def test_clients_of_the_beta_are_spoken_to_as_they_know_it() -> None:
    session = Session(OpenAIRealtime("s-1", is_beta=True))
    started = session.say(
        "transcription_session.update",
        session={"input_audio_format": "g711_ulaw", "input_audio_transcription": {"language": "fr"}},
    )
    session.append(bytes(8000))
    news = session.hear(Transcript(is_final=True, seq=1, start=0, end=8000, text="oui"))

    assert started == [
        Start(
            RecognitionConfig(sample_rate=8000, language="fr-FR"),
            DeclaredFormat(encoding=Encoding.MULAW, sample_rate=8000, channels=1),
        )
    ]
    assert types(session.told[:2]) == ["transcription_session.created", "transcription_session.updated"]
    assert session.told[1]["session"] == {
        "id": "sess_s-1",
        "object": "realtime.transcription_session",
        "modalities": ["text"],
        "input_audio_format": "g711_ulaw",
        "input_audio_transcription": {"language": "fr"},
        "input_audio_noise_reduction": None,
        "turn_detection": {"type": "server_vad"},
        "client_secret": None,
    }
    assert types(news) == ["speech_started", "speech_stopped", "committed", "item.created", "delta", "completed"]


# ---- items where the server detects turns


def test_a_turn_is_an_item_from_its_first_interim_to_its_final() -> None:
    session = Session()
    session.append(SECOND)
    begun = session.hear(interim(0, 2.5, "hello"), interim(0, 3, "hello there"))
    ended = session.hear(final(0, 3.2, "hello there"))
    second = session.hear(final(3.2, 6, "bye", seq=2))

    item = "item_00000000c0de_1"
    assert begun == [
        {
            "type": "input_audio_buffer.speech_started",
            "event_id": "event_00000000c0de_2",
            "audio_start_ms": 1500,
            "item_id": item,
        }
    ]
    assert [{k: v for k, v in m.items() if k not in ("type", "event_id")} for m in ended] == [
        {"audio_end_ms": 3200, "item_id": item},
        {"previous_item_id": None, "item_id": item},
        *[
            {
                "previous_item_id": None,
                "item": {
                    "id": item,
                    "object": "realtime.item",
                    "type": "message",
                    "status": "completed",
                    "role": "user",
                    "content": [{"type": "input_audio", "transcript": None}],
                },
            }
        ]
        * 2,
        {"item_id": item, "content_index": 0, "delta": "hello there"},
        {
            "item_id": item,
            "content_index": 0,
            "transcript": "hello there",
            "usage": {"type": "duration", "seconds": 3.2},
        },
    ]
    turn = ["speech_stopped", "committed", "item.added", "item.done", "delta", "completed"]
    assert types(ended) == turn
    assert types(second) == ["speech_started", *turn]
    assert second[0]["audio_start_ms"] == 5000
    assert second[2]["previous_item_id"] == item


def test_silence_is_no_item_but_ends_a_turn_of_which_nothing_is_left() -> None:
    session = Session()
    session.append(SECOND)

    assert session.hear(final(0, 9, "")) == []
    session.hear(interim(9, 10, "uh"))
    assert types(session.hear(final(9, 11, "")))[-1] == "completed"


def test_a_gap_is_a_failed_item_of_its_own() -> None:
    session = Session()
    session.append(SECOND)
    news = session.hear(Gap(seq=1, start=0, end=RATE, code="AUDIO_004"))

    assert types(news) == ["committed", "item.added", "item.done", "failed"]
    assert news[-1]["item_id"] == news[0]["item_id"]
    assert news[-1]["error"]["code"] == "AUDIO_004"
    assert news[-1]["error"]["message"] == "Part of the audio could not be transcribed."


def test_a_commit_while_the_server_detects_turns_waits_for_all_turns_before_it() -> None:
    session = Session()
    session.append(SECOND * 9)

    assert session.say("input_audio_buffer.commit") == [Finalize(), Remind(1.0)]
    assert transcripts(session.hear(final(0, 3, "a"))) == {"item_00000000c0de_1": "a"}
    assert transcripts(session.hear(final(3, 8, "b"))) == {"item_00000000c0de_2": "b"}
    assert session.hear(*[AnswerDue()] * 9) == []


def test_a_commit_behind_which_nobody_spoke_is_answered_all_the_same() -> None:
    session = Session()
    session.append(SECOND * 9)
    session.hear(final(0, 3, "a"))
    session.say("input_audio_buffer.commit")

    assert session.hear(AnswerDue(), AnswerDue()) == []
    assert transcripts(session.hear(AnswerDue())) == {"item_00000000c0de_2": ""}


# ---- items where the client commits


def manual() -> Session:
    session = Session()
    session.update(turn_detection=None)
    session.told.clear()
    return session


def test_what_lies_between_two_commits_is_one_item() -> None:
    session = manual()
    session.append(SECOND * 10)
    assert session.hear(interim(0, 2, "a"), final(0, 3, "a")) == []
    assert session.say("input_audio_buffer.commit") == [Finalize(), Remind(1.0)]
    session.append(SECOND * 5)
    assert session.say("input_audio_buffer.commit") == [Finalize()]
    news = session.hear(final(3, 6, "b"), final(6, 9, "c"), final(9, 14.5, "d"))

    first, second = "item_00000000c0de_1", "item_00000000c0de_2"
    assert types(session.told[:6]) == ["committed", "item.added", "item.done"] * 2
    assert [m["previous_item_id"] for m in session.told[:6]] == [None] * 3 + [first] * 3
    assert types(news) == ["delta", "completed"] * 2
    assert transcripts(news) == {first: "a b c", second: "d"}
    assert [m["usage"]["seconds"] for m in news if "usage" in m] == [10.0, 5.0]


def test_a_commit_right_behind_a_final_is_complete_at_once() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.hear(final(0, 3, "a"))
    session.say("input_audio_buffer.commit")

    assert transcripts(session.told) == {"item_00000000c0de_1": "a"}


def test_words_behind_a_commit_complete_it_and_wait_for_the_next() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.say("input_audio_buffer.commit")
    session.append(SECOND * 4)

    assert transcripts(session.hear(final(0, 7, "a"))) == {"item_00000000c0de_1": ""}
    session.say("input_audio_buffer.commit")
    assert transcripts(session.told) == {"item_00000000c0de_1": "", "item_00000000c0de_2": "a"}


def test_a_commit_is_complete_when_nothing_is_heard_for_a_while_and_the_recogniser_is_there() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.say("input_audio_buffer.commit")

    assert session.hear(Status(state="recovering"), *[AnswerDue()] * 9) == []
    assert session.hear(Status(state="streaming"), *[AnswerDue()] * 2) == []
    assert session.hear(interim(0, 2, "a"), *[AnswerDue()] * 9) == []
    assert session.hear(final(0, 2, "a"), *[AnswerDue()] * 2) == []
    assert transcripts(session.hear(AnswerDue())) == {"item_00000000c0de_1": "a"}


def test_words_that_were_not_final_when_the_recogniser_went_keep_no_item_open() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.say("input_audio_buffer.commit")
    session.hear(interim(0, 2, "a"), Status(state="recovering"), Status(state="degraded"))

    assert transcripts(session.hear(*[AnswerDue()] * 3)) == {"item_00000000c0de_1": ""}


def test_words_that_come_too_late_for_their_item_are_one_of_their_own() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.say("input_audio_buffer.commit")
    session.hear(*[AnswerDue()] * 3)

    assert transcripts(session.hear(final(0, 3, "a"))) == {"item_00000000c0de_2": "a"}


def test_what_is_cleared_is_not_told() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.hear(final(0, 2, "a"))
    assert session.say("input_audio_buffer.clear") == [Finalize(), Remind(1.0)]
    session.append(SECOND * 4)
    session.say("input_audio_buffer.commit")
    session.hear(final(2, 3.5, "b"), final(3.5, 7.5, "c"))

    assert types(session.told)[0] == "cleared"
    assert transcripts(session.told) == {"item_00000000c0de_1": "c"}


def test_a_lost_stretch_fails_the_items_of_which_nothing_is_left() -> None:
    session = manual()
    for _ in range(3):
        session.append(SECOND * 4)
        session.hear(*([final(0, 2, "a")] if len(session.told) == 0 else []))
        session.say("input_audio_buffer.commit")
    news = session.hear(Gap(seq=2, start=2 * RATE, end=9 * RATE, code="AUDIO_004"))

    assert types(news) == ["delta", "completed", "failed"]
    assert [m["item_id"][-1] for m in news] == ["1", "1", "2"]


def test_an_error_that_ends_the_session_leaves_no_item_open() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.say("input_audio_buffer.commit")
    session.append(SECOND * 4)
    session.hear(final(0, 7, "a"))
    news = session.hear(Failed(Problem(code="CONN_006", fatal=True), "ab12"))

    assert types(news) == ["committed", "item.added", "item.done", "delta", "completed", "error"]
    assert news[-1]["error"]["type"] == "server_error"
    assert news[-1]["error"]["message"] == "The service is restarting. Please reconnect."


def test_when_the_server_begins_to_detect_turns_what_was_said_is_an_item() -> None:
    session = manual()
    session.append(SECOND * 4)
    session.hear(final(0, 2, "a"))
    session.update(turn_detection={"type": "semantic_vad"})

    assert types(session.told)[0] == "session.updated"
    assert transcripts(session.told) == {"item_00000000c0de_1": "a"}


# ---- whatever comes

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_names = [
    "event_id", "audio", "session", "type", "input", "format", "rate", "transcription", "language", "model",
    "turn_detection", "input_audio_format", "input_audio_transcription",
]  # fmt: skip
_session = st.recursive(
    _json | st.sampled_from(["transcription", "audio/pcm", "pcm16", "server_vad", "AAAA"]),
    lambda inner: st.dictionaries(st.sampled_from(_names), inner, max_size=4),
    max_leaves=12,
)
_almost = st.builds(
    lambda kind, fields: json.dumps({**fields, "type": kind}),
    st.sampled_from(CLIENT_TYPES) | _json,
    st.dictionaries(st.sampled_from(_names), _session, max_size=4),
)
_commands = st.sampled_from([
    '{"type":"input_audio_buffer.commit"}', '{"type":"input_audio_buffer.clear"}',
    '{"type":"input_audio_buffer.append","audio":"AAAAAAAAAAA="}',
    '{"type":"session.update","session":{"audio":{"input":{"turn_detection":null}}}}',
    '{"type":"session.update","session":{"audio":{"input":{"turn_detection":{"type":"server_vad"}}}}}',
])  # fmt: skip
_messages = st.binary() | st.text() | _json.map(json.dumps) | _almost | _commands
_count = st.integers(0, 30)
_unit = st.floats(0, 1)
_events = st.one_of(
    st.builds(
        Transcript, is_final=st.booleans(), seq=_count, start=_count, end=_count, text=st.text(max_size=9),
        words=st.lists(st.builds(Word, st.text(max_size=9), _count, _count, _unit), max_size=2).map(tuple),
        source=st.sampled_from(Tier), provisional=st.booleans(),
    ),
    st.builds(Recalled, start=_count, end=_count, text=st.text(), similarity=_unit),
    st.builds(Gap, seq=_count, start=_count, end=_count, code=st.sampled_from([*CATALOGUE, "NO_SUCH"])),
    st.builds(Ack, durable=_count, received=_count, seq=_count),
    st.builds(Status, state=st.sampled_from(["streaming", "recovering", "degraded", "delayed"]), message=st.text()),
    st.builds(GoAway, _unit),
    st.builds(
        Failed,
        st.builds(
            Problem, code=st.sampled_from([*CATALOGUE, "NO_SUCH"]), detail=st.text(), fatal=st.booleans(),
            retry_after=st.none() | st.floats(0, 1e6),
        ),
        st.text(max_size=8),
    ),
    st.builds(Done, position=_count, seq=_count),
    st.just(AnswerDue()),
    st.just(Opened(Ready(session_id="s", config=RecognitionConfig()), AudioFormat(), Limits())),
)  # fmt: skip


@given(st.lists(_messages | _events, max_size=12), st.booleans())
def test_nothing_raises_and_all_that_is_told_are_messages_of_the_protocol(steps: list[Any], is_beta: bool) -> None:
    codec: Codec = OpenAIRealtime("s", is_beta=is_beta)
    texts = [event.text for event in codec.connected() if isinstance(event, Reply)]
    for step in steps:
        if isinstance(step, str | bytes):
            events = codec.decode(step)
            assert all(isinstance(event, typing.get_args(ClientEvent)) for event in events)
            texts += [event.text for event in events if isinstance(event, Reply)]
        else:
            texts += codec.encode(step)
    told = [msgspec.json.decode(text, type=ServerMessage) for text in texts]

    assert [msgspec.json.encode(message).decode() for message in told] == texts
    assert len({message.event_id for message in told}) == len(told)


_utterances = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["", "commit", "clear"])), min_size=1, max_size=8)


@given(_utterances, st.booleans())
def test_every_word_is_in_one_item_and_every_item_is_completed_once(
    script: list[tuple[int, str]], is_manual: bool
) -> None:
    session = manual() if is_manual else Session()
    wanted: list[str] = []
    waiting: list[str] = []
    position = 0
    for number, (seconds, command) in enumerate([*script, (1, "commit")]):
        session.append(SECOND * seconds)
        word = f"w{number}"
        session.hear(final(position, position + seconds, word, seq=number + 1))
        waiting.append(word)
        position += seconds
        if command == "clear" and is_manual:
            waiting.clear()
        if command:
            session.say(f"input_audio_buffer.{command}")
            wanted += waiting
            waiting.clear()
    session.hear(*[AnswerDue()] * 4)

    completed = [m["item_id"] for m in session.told if m["type"].endswith(".completed")]
    committed = [m["item_id"] for m in session.told if m["type"] == "input_audio_buffer.committed"]
    assert " ".join(filter(None, transcripts(session.told).values())).split() == wanted
    assert completed == committed
    assert len(set(completed)) == len(completed)


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_error_of_the_catalogue_has_its_sentence(code: str) -> None:
    (error,) = Session().hear(Failed(Problem(code=code, retry_after=1.5), "r"))

    assert error["error"]["message"] == CATALOGUE[code].message
    assert error["error"]["code"] == code
    assert error["error"]["retry_after_ms"] == 1500
    assert OpenAIRealtime("s").close_code(code) in (CATALOGUE[code].close, 1011)


def test_the_list_of_known_types_is_the_schema() -> None:
    tags = tuple(message.__struct_config__.tag for message in typing.get_args(ClientMessage))

    assert tags == CLIENT_TYPES


# ---- secrets


def _post(respond: Any, body: Any) -> tuple[int, Any]:
    answer = respond(Request(path="/", body=msgspec.json.encode(body)), secrets=SECRETS)
    return answer.status, json.loads(answer.body)


def _with_key(key: str) -> Accepted | Answer:
    headers = {"sec-websocket-protocol": [f"realtime, openai-insecure-api-key.{key}"]}
    return connect(Request(path="/v1/realtime", headers=headers), "s-1", secrets=SECRETS)


def test_a_secret_opens_sessions_with_the_settings_it_was_made_for() -> None:
    status, made = _post(
        client_secret,
        {
            "expires_after": {"anchor": "created_at", "seconds": 60},
            "session": {
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcmu"},
                        "transcription": {"model": "whisper-1", "language": "de", "prompt": "long " * 999},
                        "turn_detection": None,
                    }
                },
            },
        },
    )
    accepted = _with_key(made["value"])

    assert status == 200
    assert made["session"]["audio"]["input"]["transcription"]["prompt"] == "long " * 999
    assert isinstance(accepted, Accepted)
    assert accepted.subprotocol == "realtime"
    session = Session(accepted.codec)
    assert session.told[0]["session"]["audio"]["input"]["turn_detection"] is None
    assert session.append(b"\0")[0] == Start(
        RecognitionConfig(sample_rate=8000, language="de-DE"),
        DeclaredFormat(encoding=Encoding.MULAW, sample_rate=8000, channels=1),
    )


def test_the_beta_has_its_secret_in_the_session() -> None:
    status, session = _post(transcription_session, {"input_audio_format": "g711_alaw", "turn_detection": None})

    assert status == 200
    assert session["input_audio_format"] == "g711_alaw"
    assert SECRETS.knows(session["client_secret"]["value"])


def test_wrong_settings_get_no_secret() -> None:
    status, answer = _post(client_secret, {"session": {"type": "realtime"}})

    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert "only 'transcription'" in answer["error"]["message"]
    assert _post(client_secret, {"expires_after": {"seconds": 5}})[0] == 400
    assert _post(client_secret, [])[0] == 400
    assert _post(transcription_session, {"turn_detection": 5})[0] == 400


def test_a_wrong_secret_is_refused_and_not_repeated_while_other_keys_are_not_looked_at() -> None:
    wrong = SECRETS.mint().value[:-3] + "abc"
    refused = _with_key(wrong)

    assert isinstance(refused, Answer)
    assert refused.status == 401
    assert wrong.encode() not in refused.body
    assert json.loads(refused.body)["error"]["code"] == "invalid_api_key"
    assert isinstance(_with_key("sk-anything"), Accepted)
    bearer = Request(path="/v1/realtime", headers={"authorization": [f"Bearer {wrong}"]})
    assert isinstance(connect(bearer, "s", secrets=SECRETS), Answer)
