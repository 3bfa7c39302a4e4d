"""Deepgram's own Python package, as it is, before voxtree: what its users' code gets and sees."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it uses the old half of `websockets`
    from deepgram import AsyncDeepgramClient, DeepgramClient, DeepgramClientEnvironment
    from deepgram.core.api_error import ApiError
    from deepgram.core.events import EventType
    from deepgram.listen.v1.types import (
        ListenV1Error,
        ListenV1Metadata,
        ListenV1Results,
        ListenV1SpeechStarted,
        ListenV1UtteranceEnd,
    )

from bench.riva import CodedSpeech
from tests.transport.dialects.stage import score, stage, wav
from transport.settings import Session

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning"),  # … and asks for it again while it connects
]
RAW: dict[str, Any] = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16000}
TYPES = (ListenV1Results, ListenV1SpeechStarted, ListenV1UtteranceEnd, ListenV1Metadata, ListenV1Error)


def at(address: str) -> DeepgramClientEnvironment:
    http, ws = f"http://{address}", f"ws://{address}"
    return DeepgramClientEnvironment(base=http, production=ws, agent=ws, agent_rest=http)


class Heard:
    """What the package tells its user, message by message.

    Attributes:
        messages: as its own types.
        ending: `close`, and before it the error there was.
    """

    def __init__(self, connection: Any) -> None:
        self.messages: list[Any] = []
        self.ending: list[Any] = []
        connection.on(EventType.MESSAGE, self.messages.append)
        connection.on(EventType.ERROR, self.ending.append)
        connection.on(EventType.CLOSE, lambda _: self.ending.append("close"))

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def finals(self) -> list[Any]:
        return [message for message in self.of(ListenV1Results) if message.is_final]

    @property
    def text(self) -> str:
        return " ".join(" ".join(said(final) for final in self.finals).split())


def said(results: Any) -> str:
    text: str = results.channel.alternatives[0].transcript
    return text


async def transcribed(
    address: str, audio: AsyncIterator[bytes], clients: list[tuple[Heard, Any]] | None = None, **options: Any
) -> Heard:
    """Everything the asynchronous client is told about some audio; it is put into `clients` when it has connected."""
    client = AsyncDeepgramClient(api_key="x", environment=at(address))
    async with client.listen.v1.connect(**options) as connection, anyio.create_task_group() as tasks:
        heard = Heard(connection)
        if clients is not None:
            clients.append((heard, connection))
        tasks.start_soon(connection.start_listening)
        with suppress(ConnectionClosed):  # the listener is told of it too
            async for chunk in audio:
                await connection.send_media(chunk)
            await connection.send_close_stream()
    return heard


async def until(is_so: Callable[[], Any]) -> None:
    with anyio.fail_after(10):
        while not is_so():  # noqa: ASYNC110 (what is waited for is the package's)
            await anyio.sleep(0.005)


async def each(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


async def test_the_async_client_gets_every_word_and_every_kind_of_message() -> None:
    speech = CodedSpeech(words=30, utterance=5, pause=0.6)
    audio = speech.read(0, speech.samples)
    options = {"interim_results": True, "vad_events": True, "utterance_end_ms": 1000, "smart_format": True}
    async with stage() as here:
        native = await here.native(speech)
        heard = await transcribed(here.address, each(in_pieces(audio, 1601)), **RAW, **options)

    assert heard.ending == ["close"]
    assert heard.text == native
    assert score(speech, heard.text).flawless
    assert all(isinstance(message, TYPES) for message in heard.messages)
    assert not heard.of(ListenV1Error)
    ends = [final for final in heard.finals if final.speech_final]
    assert [len(said(final).split()) for final in ends] == [5] * 6
    assert len(heard.of(ListenV1SpeechStarted)) == 6
    last_words = [final.channel.alternatives[0].words[-1] for final in ends]
    assert [each.last_word_end for each in heard.of(ListenV1UtteranceEnd)] == [word.end for word in last_words]
    assert (last_words[0].word, last_words[0].punctuated_word, last_words[0].start) == ("w4", "w4", 0.84)
    interims = [message for message in heard.of(ListenV1Results) if not message.is_final]
    assert all(said(interim).startswith("w") for interim in interims)
    reach = 0.0
    for final in heard.finals:
        assert final.start == pytest.approx(reach)
        reach = final.start + final.duration
    metadata = heard.messages[-1]
    assert isinstance(metadata, ListenV1Metadata)
    assert metadata.sha256 == hashlib.sha256(audio).hexdigest()
    assert metadata.duration == pytest.approx(speech.samples / speech.rate) == pytest.approx(reach)
    assert {final.metadata.request_id for final in heard.finals} == {metadata.request_id}


async def test_the_sync_client_sends_a_wav_file_as_it_is(tmp_path: Path) -> None:
    speech = CodedSpeech(words=30, utterance=5, pause=0.6, rate=8000)
    file = wav(tmp_path, speech).read_bytes()

    def transcribe(address: str) -> Heard:
        client = DeepgramClient(api_key="x", environment=at(address))
        with client.listen.v1.connect(model="nova-3", language="en") as connection:
            heard = Heard(connection)
            listening = threading.Thread(target=connection.start_listening)
            listening.start()
            for piece in in_pieces(file, 3333):
                connection.send_media(piece)
            connection.send_keep_alive()
            connection.send_close_stream()
            listening.join()
        return heard

    async with stage() as here:
        native = await here.native(speech)
        heard = await anyio.to_thread.run_sync(transcribe, here.address)

    assert heard.ending == ["close"]
    assert heard.text == native
    assert score(speech, heard.text).flawless
    assert all(message.is_final for message in heard.of(ListenV1Results))
    assert heard.messages[-1].sha256 == hashlib.sha256(file).hexdigest()


async def test_no_word_is_lost_if_the_primary_riva_is_killed_while_the_client_speaks() -> None:
    speech = CodedSpeech(words=60, utterance=5, pause=0.4)
    chunks = list(speech.chunks())
    killed = anyio.Event()
    clients: list[tuple[Heard, Any]] = []

    async def halting() -> AsyncIterator[bytes]:
        for number, chunk in enumerate(chunks):
            if number == len(chunks) // 2:
                await killed.wait()
            yield chunk

    async with stage() as here:
        native = await here.native(speech)

        async def kill() -> None:
            await here.kill_when(lambda: any(heard.finals for heard, _ in clients))
            killed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill)
            heard = await transcribed(here.address, halting(), clients, **RAW)

    assert heard.ending == ["close"]
    assert heard.text == native
    assert score(speech, heard.text).flawless
    served_by = [final.metadata.model_info.arch for final in heard.finals]
    assert (served_by[0], served_by[-1]) == ("primary", "fallback")


async def test_finalize_gives_the_words_so_far() -> None:
    speech = CodedSpeech(words=10, utterance=10, pause=0.6)
    middle = 2 * speech.word(4).end + 2 * 2000  # … and a little silence

    clients: list[tuple[Heard, Any]] = []

    async def asking() -> AsyncIterator[bytes]:
        audio = speech.read(0, speech.samples)
        yield audio[:middle]
        heard, connection = clients[0]
        await connection.send_finalize()
        await until(lambda: heard.finals)
        yield audio[middle:]

    async with stage() as here:
        heard = await transcribed(here.address, asking(), clients, **RAW)

    assert [(said(final), final.from_finalize, final.speech_final) for final in heard.finals if said(final)] == [
        ("w0 w1 w2 w3 w4", True, False),
        ("w5 w6 w7 w8 w9", False, True),
    ]


async def test_what_is_refused_reaches_the_users_code() -> None:
    async with stage(session=Session(max_sessions=1)) as here:
        with pytest.raises(ApiError) as refused:
            await transcribed(here.address, each(()), model="nova-3", encoding="opus", sample_rate=48000)
        with pytest.raises(InvalidStatus) as seen_by_sync:  # which this version of the package does not translate
            await anyio.to_thread.run_sync(_connect, here.address)
        ogg = await transcribed(here.address, each([b"OggS" + bytes(100)]), model="nova-3")
        full: list[int | None] = []

        async def meanwhile() -> AsyncIterator[bytes]:
            yield bytes(3200)
            with pytest.raises(ApiError) as busy:
                await transcribed(here.address, each(()), **RAW)
            full.append(busy.value.status_code)

        await transcribed(here.address, meanwhile(), **RAW)

    assert refused.value.status_code == 400
    assert seen_by_sync.value.response.headers["dg-error"] == "channels 6: allowed are 1 and 2"
    assert _told(ogg) == ("DATA-0000", "Invalid audio format. Please use PCM16.", 1008)
    assert full == [503]


def _connect(address: str) -> None:
    with DeepgramClient(api_key="x", environment=at(address)).listen.v1.connect(**RAW, channels=6):
        pass


def _told(heard: Heard) -> tuple[str, str, int]:
    """The error, and the close code that the package's exception shows."""
    (error,) = heard.messages
    exception, end = heard.ending
    assert isinstance(error, ListenV1Error)
    assert isinstance(exception, ConnectionClosedError)
    assert end == "close"
    assert exception.rcvd is not None
    return error.variant, error.description, exception.rcvd.code


async def test_a_server_that_stops_gives_the_words_for_what_it_heard_and_says_so() -> None:
    speech = CodedSpeech(words=5, utterance=5, pause=0.6)
    clients: list[tuple[Heard, Any]] = []

    async def unended() -> AsyncIterator[bytes]:
        yield speech.read(0, speech.samples)
        await until(lambda: clients[0][0].ending)

    async with anyio.create_task_group() as tasks, stage() as here:
        tasks.start_soon(partial(transcribed, here.address, unended(), clients, **RAW))
        await until(lambda: clients and clients[0][0].finals)
    heard = clients[0][0]

    assert score(speech, heard.text).flawless
    error = heard.messages[-1]
    assert (error.variant, error.description) == ("CONN_006", "The service is restarting. Please reconnect.")
    assert heard.ending[0].rcvd.code == 1012
