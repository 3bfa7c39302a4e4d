"""The codec of Riva's Realtime API: what a client's messages mean, and what it is told."""

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
from actors.speech.messages import Ack, Done, Finalize, Gap, GoAway, Problem, Ready, Recalled, Status, Stop, Transcript
from actors.speech.ports import RecognitionConfig, Word
from tests.transport.wavs import wav
from transport.audio.formats import AudioFormat, DeclaredFormat, Encoding
from transport.wire.client_secrets import KEY_BYTES, ClientSecrets
from transport.wire.intake import Intake, Refuse
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
from transport.wire.riva_realtime import RivaRealtime, connect, mint
from transport.wire.riva_realtime_schema import NoticeMessage, ServerMessage

PCM = b"\1\0\2\0"
SECRETS = ClientSecrets(bytes(KEY_BYTES))
UPDATE = "transcription_session.update"
MINT = Request(path="/v1/realtime/transcription_sessions", body=b"{}")
MINTED = json.loads(mint(MINT, secrets=SECRETS).body)  # its secret has expired when tests take more than ten minutes
ITEM = "conversation.item.input_audio_transcription."


class Client:
    """A codec, and what its client was told so far."""

    def __init__(self) -> None:
        self.codec = RivaRealtime("c0de")
        self.told: list[Any] = []
        self._take(self.codec.connected())

    def say(self, kind: str, **fields: Any) -> list[ClientEvent]:
        """What a message means, but for what is told at once."""
        return self._take(self.codec.decode(json.dumps({"type": kind, **fields})))

    def hear(self, *events: ServerEvent) -> list[Any]:
        """What it is told of these."""
        texts = [text for event in events for text in self.codec.encode(event)]
        self.told += map(json.loads, texts)
        return self.told[len(self.told) - len(texts) :]

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.told]

    def _take(self, events: typing.Sequence[ClientEvent]) -> list[ClientEvent]:
        self.told += [json.loads(event.text) for event in events if isinstance(event, Reply)]
        return [event for event in events if not isinstance(event, Reply)]


def opened(**config: Any) -> Opened:
    return Opened(Ready(session_id="c0de", config=RecognitionConfig(**config)), AudioFormat(), Limits())


def final(text: str, *words: Word, seq: int = 1) -> Transcript:
    return Transcript(is_final=True, seq=seq, start=0, end=16_000, text=text, words=words)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_client_is_greeted_before_it_has_said_anything() -> None:
    client = Client()
    assert client.types == ["conversation.created"]
    assert client.told[0]["conversation"] == {"id": "conv_c0de", "object": "realtime.conversation"}


def test_the_minted_object_holds_when_it_is_sent_back_whole() -> None:
    client = Client()
    (start,) = client.say(UPDATE, session=MINTED)
    config = RecognitionConfig(word_times=False, punctuate=False)
    assert start == Start(config, DeclaredFormat(encoding=Encoding.PCM16, sample_rate=16_000, channels=1))
    assert client.types == ["conversation.created", "transcription_session.updated"]
    given, effective = ({**each, "id": "", "client_secret": None} for each in (MINTED, client.told[1]["session"]))
    assert effective == given


@pytest.mark.parametrize(
    "changes",
    [
        {"custom_configuration": {"a": "b"}},  # as version 2.25 has it, with all endpointing fields once one is set
        {"endpointing_config": dict.fromkeys(MINTED["endpointing_config"], -1)},
        {"recognition_config": {**MINTED["recognition_config"], "custom_configuration": "a:b,c:d"}},  # as 2.28 has it
        {"endpointing_config": {"stop_threshold": 0.5}},
        {"word_boosting": {"enable_word_boosting": True, "word_boosting_list": [{"phrases": ["x"], "boost": 4.0}]}},
        {"speaker_diarization": {"enable_speaker_diarization": True, "max_speaker_count": 2}},
        {"something": {"new": [1, None]}},
        {"input_audio_transcription": None, "recognition_config": None},
    ],
)
def test_what_other_versions_send_is_taken(changes: dict[str, Any]) -> None:
    client = Client()
    (event,) = client.say(UPDATE, session={**MINTED, **changes})
    assert isinstance(event, Start)
    assert client.types[-1] == "transcription_session.updated"


def test_settings_become_those_of_the_session() -> None:
    client = Client()
    (start,) = client.say(
        UPDATE,
        session={
            "input_audio_format": "mulaw",
            "input_audio_transcription": {"language": "de-DE", "model": "parakeet"},
            "input_audio_params": {"sample_rate_hz": 8000, "num_channels": 2},
            "recognition_config": {"enable_word_time_offsets": True, "enable_automatic_punctuation": True},
        },
    )
    assert start == Start(
        RecognitionConfig(sample_rate=8000, language="de-DE", model="parakeet"),
        DeclaredFormat(encoding=Encoding.MULAW, sample_rate=8000, channels=2),
    )


def test_a_file_says_its_own_format() -> None:
    (start,) = Client().say(UPDATE, session={**MINTED, "input_audio_format": "none"})
    assert isinstance(start, Start)
    assert start.audio is None


def test_a_file_without_a_header_is_what_the_settings_say() -> None:
    client = Client()
    client.say(UPDATE, session={"input_audio_format": "none", "input_audio_params": {"sample_rate_hz": 8000}})
    audio = b64(PCM * 100)
    config = RecognitionConfig(sample_rate=8000, word_times=False, punctuate=False)
    assert client.say("input_audio_buffer.append", audio=audio) == [
        Start(config, DeclaredFormat(encoding=Encoding.PCM16, sample_rate=8000, channels=1)),
        AudioBytes(PCM * 100),
    ]
    assert client.say("input_audio_buffer.append", audio=audio) == [AudioBytes(PCM * 100)]


@pytest.mark.parametrize("cut", [1, 3, 8, 11, 12, 44])
def test_a_file_with_one_is_left_to_its_header_wherever_it_is_cut(cut: int) -> None:
    client = Client()
    client.say(UPDATE, session={"input_audio_format": "none"})
    file = wav(PCM * 100, rate=8000)
    for part in (file[:cut], file[cut:]):
        assert client.say("input_audio_buffer.append", audio=b64(part)) == [AudioBytes(part)]


def test_audio_is_taken_and_only_asked_for_are_utterances_ended() -> None:
    client = Client()
    client.say(UPDATE, session=MINTED)
    assert client.say("input_audio_buffer.append", audio=b64(PCM)) == [AudioBytes(PCM)]
    assert client.say("input_audio_buffer.commit") == []
    forced = {"force_eou": "true"}
    assert client.say("input_audio_buffer.append", audio=b64(PCM), runtime_config=forced) == [
        AudioBytes(PCM),
        Finalize(),
    ]
    assert client.say("input_audio_buffer.append", audio="", runtime_config=forced) == [Finalize()]
    assert client.say("input_audio_buffer.clear") == []
    assert client.say("input_audio_buffer.done") == [Stop()]
    assert client.types[2:] == ["input_audio_buffer.committed", "input_audio_buffer.cleared"]


def test_finals_are_items_and_the_last_has_all_of_them() -> None:
    client = Client()
    client.hear(opened(word_times=True))
    word = Word("hello", 1600, 4800, 0.91234)
    told = client.hear(
        Transcript(is_final=False, seq=0, start=0, end=9, text="hel"),
        final("hello", word),
        final("", seq=2),
        final("world", seq=3),
        Done(position=1, seq=3),
    )
    assert [(m["type"].removeprefix(ITEM), m["item_id"], m.get("is_last_result")) for m in told] == [
        ("delta", "item_1", None),
        ("completed", "item_1", False),
        ("completed", "item_2", False),
        ("completed", "item_3", True),
    ]
    assert told[0]["delta"] == "hel"
    assert [m["transcript"] for m in told[1:]] == ["hello", "world", "hello world"]
    times = {"word": "hello", "start_time": 100, "end_time": 300, "confidence": 0.9123, "speaker_tag": 0}
    assert told[1]["words_info"] == {"words": [times]}


def test_the_last_result_comes_though_nothing_was_said() -> None:
    (last,) = Client().hear(Done(position=1, seq=0))
    assert (last["transcript"], last["is_last_result"], last["words_info"]) == ("", True, {"words": []})


def test_only_the_end_of_a_session_has_error_in_its_type() -> None:
    client = Client()
    client.say(UPDATE, session=MINTED)
    told = client.hear(
        Status(state="recovering", code="RIVA_001", message="A moment."),
        Status(state="delayed"),
        Status(state="degraded"),
        Status(state="streaming"),
        GoAway(2.5),
        Gap(seq=1, start=0, end=16_000, code="AUDIO_004"),
        Failed(Problem(code="AUDIO_003", detail="what"), "r1"),
        Recalled(start=0, end=1, text="no", similarity=0.5),
    )
    assert [message["type"] for message in told] == [
        "transcription_session.recovering",
        "transcription_session.delayed",
        "transcription_session.degraded",
        "transcription_session.recovered",
        "transcription_session.going_away",
        f"{ITEM}failed",
        f"{ITEM}failed",
    ]
    assert told[4]["deadline_ms"] == 2500
    assert told[5]["error"]["code"] == "AUDIO_004"
    (error,) = client.hear(Failed(Problem(code="CONN_005", retry_after=5.0, fatal=True), "r2"))
    assert error["type"] == "error"
    assert error["error"] == {
        "type": "server_error",
        "code": "CONN_005",
        "message": CATALOGUE["CONN_005"].message,
        "param": None,
        "retryable": True,
        "retry_after_ms": 5000,
        "ref": "r2",
    }


def test_an_update_that_cannot_be_is_answered_by_an_error_and_nothing_else() -> None:
    client = Client()
    (event,) = client.say(UPDATE, session={**MINTED, "input_audio_format": "opus"})
    assert isinstance(event, Bad)
    assert event.error.code == "AUDIO_001"
    (told,) = client.hear(Failed(Problem(code=event.error.code, detail=event.error.detail), "r"))
    assert told["type"] == "error"


@pytest.mark.parametrize(
    ("message", "code", "detail"),
    [
        ("{", "CONN_003", "text that is not JSON"),
        ("[]", "CONN_003", "expected `object`, got `array`"),
        ("{}", "CONN_003", "object missing required field `type`"),
        ('{"type":"response.create"}', "CONN_003", "unknown type 'response.create': known are"),
        (f'{{"type":"{UPDATE}"}}', "CONN_003", f"{UPDATE}: object missing required field `session`"),
        ('{"type":"input_audio_buffer.append","audio":"a"}', "AUDIO_003", "audio is not base64"),
        ('{"type":"input_audio_buffer.append","audio":1}', "CONN_003", "input_audio_buffer.append: expected `bytes`"),
        (b"\0\0", "CONN_003", "a binary message: audio goes into input_audio_buffer.append"),
        (
            f'{{"type":"{UPDATE}","session":{{"input_audio_transcription":{{"language":"!"}}}}}}',
            "RIVA_002",
            "language '!': expected a BCP-47 tag such as 'en-US'",
        ),
        (
            f'{{"type":"{UPDATE}","session":{{"input_audio_params":{{"sample_rate_hz":1}}}}}}',
            "AUDIO_001",
            "sample_rate 1: allowed are 8000 to 48000 Hz",
        ),
    ],
)
def test_what_is_wrong_with_a_message_is_named(message: str | bytes, code: str, detail: str) -> None:
    (event,) = RivaRealtime("s").decode(message)
    assert isinstance(event, Bad)
    assert event.error.code == code
    assert event.error.detail.startswith(detail)


def test_settings_stay_as_they_are_behind_the_end_of_the_audio() -> None:
    client = Client()
    client.say(UPDATE, session={"input_audio_format": "none"})
    client.say("input_audio_buffer.done")
    (event,) = client.say(UPDATE, session={"input_audio_format": "pcm16"})
    assert isinstance(event, Bad)
    assert client.types == ["conversation.created", "transcription_session.updated"]


def test_a_client_that_just_sends_audio_is_not_told_of_an_end_that_is_none() -> None:
    client = Client()
    client.say("input_audio_buffer.append", audio=b64(PCM))
    told = client.hear(Failed(Problem(code="AUDIO_003"), "r1"), Failed(Problem(code="CONN_005", fatal=True), "r2"))
    assert [message["type"] for message in told] == [f"{ITEM}failed", "error"]


def test_settings_stay_as_they_are_once_there_was_audio() -> None:
    client = Client()
    client.say(UPDATE, session=MINTED)
    client.say("input_audio_buffer.append", audio=b64(PCM))
    assert client.say(UPDATE, session=MINTED) == []
    (event,) = client.say(UPDATE, session={"input_audio_params": {"sample_rate_hz": 8000}})
    assert isinstance(event, Bad)
    assert event.error.code == "CONN_003"


def test_a_secret_opens_the_socket_and_is_not_sent_back() -> None:
    value = json.loads(mint(MINT, secrets=SECRETS).body)["client_secret"]["value"]
    asked = Request(path="/v1/realtime", headers={"sec-websocket-protocol": (f"realtime, realtime-token.{value}",)})
    accepted = connect(asked, "s", secrets=SECRETS)
    assert isinstance(accepted, Accepted)
    assert accepted.subprotocol == "realtime"

    for other in (ClientSecrets(), ClientSecrets(bytes(KEY_BYTES), clock=lambda: 1e12)):
        refused = connect(asked, "s", secrets=other)
        assert isinstance(refused, Answer)
        assert refused.status == 401
        assert value.encode() not in refused.body


def test_another_intent_is_refused() -> None:
    refused = connect(Request(path="/v1/realtime", query={"intent": ("conversation",)}), "s", secrets=SECRETS)
    assert isinstance(refused, Answer)
    assert refused.status == 400


_kinds = st.sampled_from([UPDATE, *(f"input_audio_buffer.{name}" for name in ("append", "commit", "clear", "done"))])
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)
_sessions = st.fixed_dictionaries({}, optional=dict.fromkeys(MINTED, _json))
_fields = st.fixed_dictionaries({"type": _kinds}, optional={"session": _sessions | _json, "audio": _json})
_messages = st.binary(max_size=20) | st.text(max_size=40) | _fields.map(json.dumps) | _json.map(json.dumps)


@given(st.lists(_messages, max_size=8))
def test_whatever_a_client_says_follows_something_that_is_typed(messages: list[str | bytes]) -> None:
    codec = RivaRealtime("s")
    intake = Intake(codec, Limits())
    intake.connected()
    for message in messages:
        for step in intake.receive(message):
            if isinstance(step, Reply):
                assert json.loads(step.text)["event_id"]
            if isinstance(step, Refuse):
                problem = Problem(code=step.error.code, detail=step.error.detail, fatal=step.fatal)
                assert all(json.loads(text)["error"]["message"] for text in codec.encode(Failed(problem, "r")))


_count = st.integers(0, 2**53)
_unit = st.floats(0, 1)
_codes = st.sampled_from([*CATALOGUE, "NO_SUCH"])
_words = st.lists(st.builds(Word, st.text(max_size=9), _count, _count, _unit), max_size=3).map(tuple)
_problems = st.builds(Problem, code=_codes, detail=st.text(), retry_after=st.none() | st.floats(0, 1e6))
_events = st.one_of(
    st.builds(Transcript, is_final=st.booleans(), seq=_count, start=_count, end=_count, text=st.text(), words=_words),
    st.builds(Status, state=st.sampled_from(["streaming", "recovering", "degraded", "delayed"]), message=st.text()),
    st.builds(Failed, _problems, st.text()),
    st.builds(Gap, seq=_count, start=_count, end=_count, code=_codes),
    st.builds(GoAway, st.floats(0, 3600)),
    st.builds(Recalled, start=_count, end=_count, text=st.text(), similarity=_unit),
    st.builds(Ack, durable=_count, received=_count, seq=_count),
    st.sampled_from([opened(), opened(sample_rate=48_000), AnswerDue()]),
)
_KNOWN: Any = typing.Union[tuple(each for each in typing.get_args(ServerMessage) if each is not NoticeMessage)]  # noqa: UP007


@given(st.lists(_events, max_size=8))
def test_whatever_a_client_is_told_is_of_the_protocol_and_has_one_end_with_all_words(events: list[ServerEvent]) -> None:
    codec = RivaRealtime("s")
    codec.decode(json.dumps({"type": UPDATE, "session": MINTED}))
    texts = [text for event in [*events, Done(position=0, seq=0)] for text in codec.encode(event)]
    messages = [json.loads(text) for text in texts]
    for text, message in zip(texts, messages, strict=True):
        assert "error" not in message["type"]
        if not message["type"].startswith("transcription_session."):  # ours
            assert msgspec.json.encode(msgspec.json.decode(text, type=_KNOWN)).decode() == text
    assert [at for at, message in enumerate(messages) if message.get("is_last_result")] == [len(messages) - 1]
    finals = [event.text for event in events if isinstance(event, Transcript) and event.is_final and event.text]
    assert messages[-1]["transcript"] == " ".join(finals)


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_error_of_the_catalogue_has_its_sentence_and_a_close_code(code: str) -> None:
    codec = RivaRealtime("s")
    (text,) = codec.encode(Failed(Problem(code=code, fatal=True), "r"))
    assert json.loads(text)["error"]["message"] == CATALOGUE[code].message
    assert 1000 <= codec.close_code(code) < 5000
