"""OpenAI's own Python client, as it is, against the running server: today's protocol and the beta's."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
import numpy as np
import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types import realtime as types
from openai.types.websocket_reconnection import is_recoverable_close
from pydantic import BaseModel
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from bench.riva import CodedSpeech
from tests.transport.dialects.stage import Stage, score, stage
from transport.audio.g711 import ALAW, MULAW
from transport.settings import Session

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SPEECH = CodedSpeech(words=40, rate=24_000, utterance=5, pause=0.8)
TELEPHONE = CodedSpeech(words=20, rate=8000, utterance=5, pause=0.8)
WIDEBAND = CodedSpeech(words=10, utterance=5, pause=0.8)
MIDDLE = 70  # of its 144 messages
COMPLETED = "conversation.item.input_audio_transcription.completed"


def sdk(here: Stage, key: str = "no key is needed") -> AsyncOpenAI:
    base = f"{here.address}/v1"
    return AsyncOpenAI(api_key=key, base_url=f"http://{base}", websocket_base_url=f"ws://{base}", max_retries=0)


@asynccontextmanager
async def connected(
    here: Stage, *, key: str = "k", on_reconnecting: Any = None, **settings: Any
) -> AsyncGenerator[Any, None]:
    """A connection of the SDK's, with these settings of the session's audio input."""
    async with (
        sdk(here, key) as client,
        client.realtime.connect(extra_query={"intent": "transcription"}, on_reconnecting=on_reconnecting) as connection,
    ):
        if settings:
            await connection.session.update(session={"type": "transcription", "audio": {"input": settings}})
        yield connection


async def append(connection: Any, chunk: bytes) -> None:
    await connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())


async def events_until(
    connection: Any, is_last: Callable[[Any], bool], on_event: Callable[[Any], object] = id
) -> list[Any]:
    """All events up to one, each checked against the SDK's own type for it."""
    events: list[Any] = []
    async for event in connection:
        events.append(parsed(event))
        on_event(event)
        if is_last(event):
            break
    return events


def parsed(event: Any) -> BaseModel:
    """The event as its type in the SDK requires it; the SDK itself checks nothing."""
    assert isinstance(event, BaseModel)
    return type(event).model_validate(event.model_dump(), strict=True)


def text(events: Iterable[Any]) -> str:
    """The words as most clients collect them."""
    return " ".join(event.transcript for event in events if event.type == COMPLETED)


def deltas(events: Iterable[Any]) -> str:
    items: dict[str, str] = {}
    for event in events:
        if event.type.endswith("transcription.delta"):
            items[event.item_id] = items.get(event.item_id, "") + event.delta
    return " ".join(items.values())


def has_word(number: int) -> Callable[[Any], bool]:
    return lambda event: event.type == COMPLETED and f"w{number}" in event.transcript.split()


async def transcribed(here: Stage, on_event: Callable[[Any], object] = id, *, halt: anyio.Event | None = None) -> str:
    """The words with the server's detection of turns; in the middle of the speech the speaker waits for `halt`."""
    async with connected(here, turn_detection={"type": "server_vad"}) as connection, anyio.create_task_group() as tasks:

        async def send() -> None:
            for number, chunk in enumerate(SPEECH.chunks()):
                if halt is not None and number == MIDDLE:
                    await halt.wait()
                await append(connection, chunk)

        tasks.start_soon(send)
        events = await events_until(connection, has_word(SPEECH.words - 1), on_event)
    assert text(events) == deltas(events)
    return text(events)


def endpoint(here: Stage) -> str:
    """The Riva that the only session has at present."""
    (session,) = here.app.sessions.live()
    return session.record.endpoint


async def test_the_sdk_gets_every_word_once_and_types_it_knows() -> None:
    events: list[Any] = []
    async with stage() as here:
        native = await here.native(SPEECH)
        words = await transcribed(here, events.append)

    assert words == native
    assert score(SPEECH, words).flawless
    assert {type(event) for event in events} == {
        types.SessionCreatedEvent,
        types.SessionUpdatedEvent,
        types.InputAudioBufferSpeechStartedEvent,
        types.InputAudioBufferSpeechStoppedEvent,
        types.InputAudioBufferCommittedEvent,
        types.ConversationItemAdded,
        types.ConversationItemDone,
        types.ConversationItemInputAudioTranscriptionDeltaEvent,
        types.ConversationItemInputAudioTranscriptionCompletedEvent,
    }
    committed = [event for event in events if event.type == "input_audio_buffer.committed"]
    assert [event.previous_item_id for event in committed] == [None, *[event.item_id for event in committed[:-1]]]


async def test_it_gets_the_same_though_its_riva_is_killed_in_mid_stream() -> None:
    served_by: list[str] = []
    killed = anyio.Event()
    async with stage() as here, anyio.create_task_group() as tasks:
        native = await here.native(SPEECH)

        async def kill() -> None:
            await here.kill_when(lambda: bool(served_by))
            killed.set()

        def note(event: Any) -> None:
            if event.type == COMPLETED:
                served_by.append(endpoint(here))

        tasks.start_soon(kill)
        words = await transcribed(here, note, halt=killed)

    assert (served_by[0], served_by[-1]) == ("riva-a", "riva-b")
    assert words == native
    assert score(SPEECH, words).flawless


async def test_a_client_that_commits_gets_one_item_for_each_commit() -> None:
    utterance = round(SPEECH.samples / (SPEECH.words / SPEECH.utterance))
    items: list[str] = []
    async with stage() as here:
        native = await here.native(SPEECH)
        async with connected(here, turn_detection=None) as connection:
            for position in range(0, SPEECH.samples, utterance):
                await append(connection, SPEECH.read(position, utterance))
                await connection.input_audio_buffer.commit()
                events = await events_until(connection, lambda event: event.type == COMPLETED)
                items.append(text(events))
                assert events[-1].usage.seconds == utterance / SPEECH.rate
                assert not [event for event in events if "speech" in event.type]
            await append(connection, bytes(SPEECH.rate))
            await connection.input_audio_buffer.commit()
            silent = await events_until(connection, lambda event: event.type == COMPLETED)

    assert " ".join(items) == native
    assert [len(item.split()) for item in items] == [SPEECH.utterance] * 8
    assert text(silent) == ""


async def test_a_client_that_commits_all_at_once_gets_it_though_its_riva_is_killed() -> None:
    chunks = list(SPEECH.chunks())
    async with stage() as here, connected(here, turn_detection=None) as connection:
        for chunk in chunks[:MIDDLE]:
            await append(connection, chunk)
        await until(lambda: any(each.record.timeline.seq for each in here.app.sessions.live()))
        before = endpoint(here)
        await here.primary.kill()
        for chunk in chunks[MIDDLE:]:
            await append(connection, chunk)
        await connection.input_audio_buffer.commit()
        events = await events_until(connection, lambda event: event.type == COMPLETED)
        after = endpoint(here)

    assert (before, after) == ("riva-a", "riva-b")
    assert score(SPEECH, text(events)).flawless
    assert [event.type for event in events].count(COMPLETED) == 1


async def test_telephone_audio_is_taken_as_it_is() -> None:
    texts = []
    async with stage() as here:
        native = await here.native(TELEPHONE)
        for form in ("audio/pcmu", "audio/pcma"):
            async with connected(here, format={"type": form}) as connection:
                for chunk in TELEPHONE.chunks():
                    await append(connection, g711(chunk, form))
                texts.append(text(await events_until(connection, has_word(TELEPHONE.words - 1))))

    assert texts == [native] * 2


async def test_clients_of_the_beta_get_what_they_know() -> None:
    events: list[Any] = []
    async with stage() as here, sdk(here) as client:
        native = await here.native(SPEECH)
        made = await client.beta.realtime.transcription_sessions.create(input_audio_format="pcm16")
        async with client.beta.realtime.connect(model="gpt-4o-transcribe") as connection:
            await connection.transcription_session.update(
                session={"input_audio_format": "pcm16", "input_audio_transcription": {"language": "en"}}
            )
            for chunk in SPEECH.chunks():
                await append(connection, chunk)
            async for event in connection:
                events.append(event)
                if has_word(SPEECH.words - 1)(event):
                    break

    assert made.client_secret.value
    assert text(events) == deltas(events) == native
    assert [event.type for event in events[:2]] == ["transcription_session.created", "transcription_session.updated"]
    assert type(events[1]).__name__ == "TranscriptionSessionUpdatedEvent"
    assert {event.type for event in events if event.type.startswith("conversation.item.created")}


async def test_a_page_comes_with_a_secret_that_its_server_got() -> None:
    async with stage() as here, sdk(here) as client:
        made = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={"type": "transcription", "audio": {"input": {"turn_detection": None}}},
        )
        parsed(made)
        url = f"ws://{here.address}/v1/realtime?intent=transcription"
        offers = ["realtime", f"openai-insecure-api-key.{made.value}"]
        async with connect(url, subprotocols=offers) as page:  # type: ignore[arg-type]
            chosen, greeting = page.subprotocol, await page.recv()
        async with connected(here, key=made.value) as connection:
            created = await connection.recv()
        with pytest.raises(InvalidStatus) as refused:
            async with connected(here, key=made.value[:-3]):
                pass

    assert chosen == "realtime"
    assert made.value not in str(greeting)
    assert created.session.audio.input.turn_detection is None
    assert made.session.audio.input.turn_detection is None
    assert refused.value.response.status_code == 401
    assert b"invalid_api_key" in refused.value.response.body


async def test_a_plain_client_of_which_nothing_is_known_is_understood_by_its_first_message() -> None:
    settings = {"format": {"type": "audio/pcm", "rate": 16000}, "turn_detection": None}
    told: list[dict[str, Any]] = []
    async with stage() as here, connect(f"ws://{here.address}/v1/realtime?intent=transcription") as socket:
        greeting = json.loads(await socket.recv())
        await say(socket, "session.update", session={"type": "transcription", "audio": {"input": settings}})
        for chunk in WIDEBAND.chunks():
            await say(socket, "input_audio_buffer.append", audio=base64.b64encode(chunk).decode())
        await say(socket, "input_audio_buffer.commit")
        while not told or told[-1]["type"] != COMPLETED:
            told.append(json.loads(await socket.recv()))

    assert greeting["type"] == "conversation.created"
    assert [message["type"] for message in told[:2]] == ["session.created", "session.updated"]
    assert score(WIDEBAND, told[-1]["transcript"]).flawless


async def test_what_users_see_of_a_bad_request() -> None:
    fatal: list[Any] = []
    async with stage() as here:
        async with connected(here) as connection:
            await connection.recv()
            await connection.session.update(session={"type": "realtime"}, event_id="mine")
            error = await connection.recv()
            await append(connection, SPEECH.read(0, SPEECH.rate))  # the session goes on
            await connection.input_audio_buffer.commit()
            events = await events_until(connection, lambda event: event.type == COMPLETED)
        async with connected(here, transcription={"language": "xx"}) as connection:
            with pytest.raises(ConnectionClosedError) as closed:
                await events_until(connection, lambda event: False, fatal.append)
        async with sdk(here) as client:
            with pytest.raises(BadRequestError) as refused:
                await client.realtime.client_secrets.create(session={"type": "realtime"})

    assert isinstance(error, types.RealtimeErrorEvent)
    assert (error.error.type, error.error.code, error.error.event_id) == ("invalid_request_error", "CONN_003", "mine")
    assert "only 'transcription' sessions" in error.error.message
    assert text(events)
    assert (fatal[-1].type, fatal[-1].error.code) == ("error", "RIVA_002")
    assert fatal[-1].error.message.startswith("Language not supported")
    assert closed.value.rcvd is not None
    assert not is_recoverable_close(closed.value.rcvd.code)
    assert refused.value.code == "CONN_003"


async def test_what_users_see_of_a_server_that_is_full_and_of_one_that_stops() -> None:
    full: list[Any] = []
    stopped: list[Any] = []
    recoverable: list[int] = []

    def on_reconnecting(event: Any) -> Any:
        recoverable.append(event.close_code)
        return {"abort": True}

    async def listen(connection: Any, events: list[Any]) -> None:
        with suppress(ConnectionClosedError):
            await events_until(connection, lambda event: False, events.append)

    async with (
        anyio.create_task_group() as tasks,
        AsyncExitStack() as clients,
        stage(session=Session(max_sessions=1)) as here,
    ):
        first, second = [
            await clients.enter_async_context(connected(here, on_reconnecting=on_reconnecting)) for _ in range(2)
        ]
        await append(first, SPEECH.read(0, round(2.5 * SPEECH.rate)))
        tasks.start_soon(listen, first, stopped)
        await until(lambda: any(event.type.endswith("speech_started") for event in stopped))
        await append(second, SPEECH.read(0, SPEECH.rate))
        await listen(second, full)

    assert full[-1].error.code == "CONN_005"
    assert full[-1].error.message.startswith("The service is busy. Please try again shortly.")
    assert text(stopped)  # what was said before is not lost
    assert stopped[-1].error.code == "CONN_006"
    assert recoverable == [1013, 1012]


async def say(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 (what is waited for is anything)
        await anyio.sleep(0.005)


def g711(pcm: bytes, form: str) -> bytes:
    """PCM16 as telephones send it: the nearest of the 256 values that each code stands for."""
    values = np.array(MULAW if form == "audio/pcmu" else ALAW)
    codes = np.argsort(values, kind="stable")
    middles = (values[codes][1:] + values[codes][:-1]) / 2
    return codes[np.searchsorted(middles, np.frombuffer(pcm, "<i2"))].astype(np.uint8).tobytes()
