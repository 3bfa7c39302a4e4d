"""Who comes to /v1/realtime: each system's clients are told apart by how they come, or by what they say first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.client_secrets import KEY_BYTES, ClientSecrets
from transport.wire.dialects import routes
from transport.wire.openai_realtime import OpenAIRealtime
from transport.wire.port import Accepted, Answer, Bad, Reply, Request
from transport.wire.realtime import Realtime, Undecided
from transport.wire.riva_realtime import RivaRealtime

SECRETS = ClientSecrets(bytes(KEY_BYTES))
BOTH = ("riva", "openai")


def come(*, enabled: tuple[str, ...] = BOTH, query: str = "", **headers: str) -> Accepted | Answer:
    """What a client gets; `query` is a name and its value."""
    name, _, value = query.partition("=")
    request = Request(
        path="/v1/realtime",
        query={name: [value]} if name else {},
        headers={key.replace("_", "-"): [text] for key, text in headers.items()},
    )
    return Realtime(enabled, SECRETS).connect(request, "s-1")


def greeting(accepted: Accepted | Answer) -> str:
    assert isinstance(accepted, Accepted)
    kind: str = next(json.loads(e.text)["type"] for e in accepted.codec.connected() if isinstance(e, Reply))
    return kind


def replies(accepted: Accepted | Answer, *messages: dict[str, Any]) -> list[str]:
    """The types that the client is told at once for its messages."""
    assert isinstance(accepted, Accepted)
    events = [event for message in messages for event in accepted.codec.decode(json.dumps(message))]
    return [json.loads(event.text)["type"] for event in events if isinstance(event, Reply)]


@pytest.mark.parametrize(
    "client",
    [
        pytest.param({"query": "model=gpt-4o-transcribe"}, id="a model in the URL"),
        pytest.param({"user_agent": "AsyncOpenAI/Python 3.57.0"}, id="the Python SDK"),
        pytest.param({"x_stainless_lang": "js"}, id="an SDK"),
        pytest.param({"sec_websocket_protocol": "realtime, openai-insecure-api-key.ek_1"}, id="a browser"),
        pytest.param({"authorization": "Bearer sk-proj-1"}, id="a plain client with a key of OpenAI's"),
    ],
)
def test_clients_of_openais_are_known_by_how_they_come(client: dict[str, str]) -> None:
    assert greeting(come(**client)) == "session.created"


@pytest.mark.parametrize(
    "client",
    [
        {"openai_beta": "realtime=v1"},
        {"sec_websocket_protocol": "realtime, openai-insecure-api-key.ek_1, openai-beta.realtime-v1"},
    ],
)
def test_clients_of_the_beta_are_known_too(client: dict[str, str]) -> None:
    assert greeting(come(**client)) == "transcription_session.created"


def test_a_client_with_a_token_of_rivas_is_rivas() -> None:
    offer = f"realtime, realtime-token.{SECRETS.mint().value}"
    accepted = come(sec_websocket_protocol=offer, query="intent=transcription")

    assert isinstance(accepted, Accepted)
    assert isinstance(accepted.codec, RivaRealtime)
    assert accepted.subprotocol == "realtime"


def test_others_are_greeted_as_riva_does() -> None:
    accepted = come(query="intent=transcription", authorization="Bearer nvapi-1")

    assert isinstance(accepted, Accepted)
    assert isinstance(accepted.codec, Undecided)
    assert greeting(accepted) == "conversation.created"


RIVAS = {"input_audio_format": "pcm16", "recognition_config": {}, "input_audio_params": {"sample_rate_hz": 16000}}


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (
            {"type": "session.update", "session": {"type": "transcription"}},
            ["session.created", "session.updated"],
        ),
        (
            {"type": "transcription_session.update", "session": {"turn_detection": None}},
            ["transcription_session.created", "transcription_session.updated"],
        ),
        (
            {
                "type": "transcription_session.update",
                "session": {"input_audio_transcription": {"model": "gpt-4o-transcribe"}},
            },
            ["transcription_session.created", "transcription_session.updated"],
        ),
        (
            {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16"}},
            ["transcription_session.updated"],
        ),
        ({"type": "transcription_session.update", "session": RIVAS}, ["transcription_session.updated"]),
        (
            {"type": "transcription_session.update", "session": {"input_audio_format": "none"}},
            ["transcription_session.updated"],
        ),
        ({"type": "input_audio_buffer.clear"}, ["input_audio_buffer.cleared"]),
    ],
)
def test_the_first_message_tells_the_rest(first: dict[str, Any], told: list[str]) -> None:
    assert replies(come(), first) == told


def test_once_it_is_known_it_stays() -> None:
    rivas = come()
    assert replies(rivas, {"type": "transcription_session.update", "session": RIVAS}) != []
    assert replies(rivas, {"type": "session.update", "session": {}}) == []

    openais = come()
    replies(openais, {"type": "session.update", "session": {}})
    assert replies(openais, {"type": "transcription_session.update", "session": RIVAS}) == [
        "transcription_session.updated"
    ]


def test_what_is_no_message_decides_nothing() -> None:
    accepted = come()
    assert isinstance(accepted, Accepted)

    for message in (b"\0", "nonsense", "[]", '{"type":5}'):
        assert all(isinstance(event, Bad) for event in accepted.codec.decode(message))
    assert "session.created" in replies(accepted, {"type": "session.update", "session": {}})


@given(st.text() | st.binary() | st.dictionaries(st.sampled_from(["type", "session"]), st.text()).map(json.dumps))
def test_no_first_message_raises(message: str | bytes) -> None:
    accepted = come()
    assert isinstance(accepted, Accepted)
    assert isinstance(accepted.codec.decode(message), list | tuple)


@pytest.mark.parametrize(("enabled", "codec"), [(("riva",), RivaRealtime), (("openai", "vosk"), OpenAIRealtime)])
@pytest.mark.parametrize("client", [{}, {"openai_beta": "realtime=v1"}, {"user_agent": "OpenAI/JS"}])
def test_where_one_is_spoken_everybody_gets_it(enabled: tuple[str, ...], codec: type, client: dict[str, str]) -> None:
    accepted = come(enabled=enabled, **client)

    assert isinstance(accepted, Accepted)
    assert isinstance(accepted.codec, codec)


@pytest.mark.parametrize(
    ("enabled", "headers", "body", "has_rivas_fields"),
    [
        (BOTH, {}, {}, True),
        (BOTH, {}, RIVAS, True),
        (BOTH, {"authorization": ["Bearer nvapi-1"]}, {}, True),
        (BOTH, {}, {"input_audio_transcription": {"model": "whisper-1"}}, False),
        (BOTH, {"openai-beta": ["assistants=v2"]}, {}, False),
        (("riva",), {"openai-beta": ["assistants=v2"]}, {}, True),
        (("openai",), {}, {}, False),
    ],
)
def test_a_session_is_made_as_its_client_knows_it(
    enabled: tuple[str, ...], headers: dict[str, list[str]], body: dict[str, Any], has_rivas_fields: bool
) -> None:
    request = Request(path="/", headers=headers, body=json.dumps(body).encode())
    answer = Realtime(enabled, SECRETS).transcription_session(request)

    assert answer.status == 200
    assert ("recognition_config" in json.loads(answer.body)) is has_rivas_fields
    assert SECRETS.knows(json.loads(answer.body)["client_secret"]["value"])


@pytest.mark.parametrize(
    ("enabled", "posts"),
    [
        (("riva",), {"/v1/realtime/transcription_sessions"}),
        (("openai",), {"/v1/realtime/transcription_sessions", "/v1/realtime/client_secrets"}),
        (("vosk",), set()),
    ],
)
def test_only_what_is_enabled_has_paths(enabled: tuple[str, ...], posts: set[str]) -> None:
    found = routes(enabled)

    assert {path for path in found.posts if path.startswith("/v1/realtime")} == posts
    assert ("/v1/realtime" in found.sockets) is bool(posts)
