"""NVIDIA's own client of the Realtime API, as it is, against the running server; and others that it has."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from riva.client.realtime import RealtimeClientASR
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from actors.speech.errors import ServerBusy
from bench.riva import CodedSpeech
from tests.transport.dialects.stage import Stage, score, stage, wav
from transport.settings import Session

T = TypeVar("T")
pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SPEECH = CodedSpeech(words=40, utterance=5, pause=0.8)
FILE_CHUNK = 3200  # bytes, 100 ms: what its command line sends at a time
NOT_GIVEN = -1  # as its command line has it for endpointing


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def nvidias(here: Stage, **given: Any) -> RealtimeClientASR:
    """The client, with the arguments that its command line fills in."""
    endpointing = ("start_history", "stop_history", "stop_history_eou")
    thresholds = ("start_threshold", "stop_threshold", "stop_threshold_eou")
    defaults: dict[str, Any] = {
        "server": here.address,
        "endpoint": "/v1/realtime",
        "query_params": "intent=transcription",
        "use_ssl": False,
        "ssl_root_cert": None,
        "ssl_client_cert": None,
        "ssl_client_key": None,
        "mint_api_key": None,
        "mic": False,
        "language_code": "en-US",
        "model_name": "",
        "sample_rate_hz": SPEECH.rate,
        "num_channels": 1,
        "max_alternatives": 1,
        "automatic_punctuation": True,
        "word_time_offsets": False,
        "profanity_filter": False,
        "no_verbatim_transcripts": False,
        "speaker_diarization": False,
        "boosted_lm_words": ["word"],
        "boosted_lm_score": 4.0,
        "custom_configuration": "a:b,c:d",
        **dict.fromkeys((*endpointing, *thresholds), NOT_GIVEN),
    }
    return RealtimeClientASR(argparse.Namespace(**{**defaults, **given}))


async def apart(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a client in a thread of its own: it posts without letting anybody else run."""
    return await anyio.to_thread.run_sync(lambda: asyncio.run(work()))


async def transcript(client: RealtimeClientASR, chunks: Any) -> str:
    """What it has in the end of these chunks of audio; it sends and listens at the same time, as its script does."""
    await client.connect()
    try:
        await asyncio.gather(client.send_audio_chunks(chunks), client.receive_responses())
    finally:
        await client.disconnect()
    return " ".join(client.final_transcript.split())


def pieces(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + FILE_CHUNK] for at in range(0, len(data), FILE_CHUNK)]


async def microphone(go_on: threading.Event) -> AsyncIterator[bytes]:
    """Chunks as they are recorded; in the middle of the speech something has to happen first."""
    chunks = list(SPEECH.chunks())
    for number, chunk in enumerate(chunks):
        while number == len(chunks) // 2 and not go_on.is_set():  # noqa: ASYNC110  (a thread's)
            await asyncio.sleep(0.005)
        yield chunk


async def test_a_file_is_sent_as_it_is_and_every_word_comes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with stage() as here:
        client = nvidias(here, word_time_offsets=True)
        text = await apart(lambda: transcript(client, pieces(wav(tmp_path, SPEECH))))

        assert score(SPEECH, text).flawless
        assert text == await here.native(SPEECH)
    times = [line.split()[:3] for line in capsys.readouterr().out.splitlines() if line.startswith("w")]
    words = [SPEECH.word(number) for number in range(SPEECH.words)]
    assert times == [[f"w{word.number}", _ms(word.start), _ms(word.end)] for word in words]


def _ms(samples: int) -> str:
    return str(samples * 1000 // SPEECH.rate)


async def test_a_microphone_is_heard_and_no_word_lost_if_its_recogniser_is_killed() -> None:
    async with stage() as here:
        client, killed = nvidias(here, mic=True), threading.Event()
        served: set[str] = set()

        def has_final() -> bool:
            served.update(session.record.endpoint for session in here.app.sessions.live())
            return bool(client.final_transcript)

        async def kill() -> None:
            await here.kill_when(has_final)
            killed.set()
            while here.app.sessions.live():
                has_final()
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill)
            text = await apart(lambda: transcript(client, microphone(killed)))

        assert served >= {"riva-a", "riva-b"}
        assert score(SPEECH, text).flawless
        assert text == await here.native(SPEECH)


async def test_an_utterance_is_ended_where_it_wants_it() -> None:
    async def three_words(client: RealtimeClientASR) -> list[dict[str, Any]]:
        await client.connect()
        pcm = SPEECH.read(0, SPEECH.word(2).end + SPEECH.rate // 20)
        await client.send_audio_chunks([pcm], force_eou_chunks=[True])
        completed = []
        while not completed or not completed[-1]["is_last_result"]:
            event = json.loads(await client.websocket.recv())
            if event["type"].endswith(".completed"):
                completed.append(event)
        await client.disconnect()
        return completed

    async with stage() as here:
        client = nvidias(here, mic=True)
        completed = await apart(lambda: three_words(client))
    assert [event["transcript"] for event in completed] == ["w0 w1 w2", "w0 w1 w2"]


async def test_its_user_is_told_of_a_full_server_in_a_plain_sentence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "riva")

    async def two(one: RealtimeClientASR, other: RealtimeClientASR) -> None:
        await one.connect()
        with pytest.raises(Exception, match="Status: 503"):
            await other.connect()
        await one.disconnect()

    async with stage(session=Session(max_sessions=1)) as here:
        await apart(lambda: two(nvidias(here, mic=True), nvidias(here, mic=True)))
    assert ServerBusy.entry.message in caplog.text


async def test_a_secret_of_somebody_elses_opens_nothing() -> None:
    async with stage() as here:
        url = f"ws://{here.address}/v1/realtime?intent=transcription"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, subprotocols=["realtime", "realtime-token.voxtree_cs_bm90IG91cnM"])  # type: ignore[list-item]
    assert refused.value.response.status_code == 401
    assert "transcription_sessions" in json.loads(refused.value.response.body)["detail"]


async def test_who_opens_the_socket_first_and_posts_never_is_heard_too() -> None:
    """As plug-ins of other people do: a key in a header, append and commit for each chunk."""
    async with (
        stage() as here,
        connect(f"ws://{here.address}/v1/realtime", additional_headers={"Authorization": "Bearer k"}) as client,
    ):
        assert json.loads(await client.recv())["type"] == "conversation.created"
        update = {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16"}}
        await client.send(json.dumps(update))
        assert json.loads(await client.recv())["type"] == "transcription_session.updated"
        for chunk in SPEECH.chunks():
            audio = base64.b64encode(chunk).decode()
            await client.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await client.send('{"type":"input_audio_buffer.commit"}')
        await client.send('{"type":"input_audio_buffer.done"}')
        finals = []
        while not (event := json.loads(await client.recv())).get("is_last_result"):
            assert "error" not in event["type"]
            if event["type"].endswith(".completed"):
                finals.append(event["transcript"])
        assert score(SPEECH, " ".join(finals)).flawless
        assert event["transcript"] == " ".join(finals)
