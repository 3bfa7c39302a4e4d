"""A client as vosk-server's protocol prescribes it, in lock-step, against a server before two Rivas."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from actors.speech.errors import ServerBusy
from actors.speech.messages import Problem
from bench.riva import CodedSpeech, RivaProcess
from tests.transport.dialects.stage import Stage, score, stage, wav
from tests.transport.test_front_door import House, rest, running
from transport.app import serving
from transport.listener import CannotListen
from transport.riva.channel import Endpoint
from transport.settings import Dialects, Session, Settings
from transport.starting import CannotStart
from transport.web import site
from transport.wire import vosk
from transport.wire.dialects import routes

pytestmark = pytest.mark.anyio

PCM = b"\1\0" * 800
SPEECH = CodedSpeech(words=60, utterance=5, pause=0.4, rate=16_000)


class LockStep:
    """Sends, then waits for the one answer, as clients of vosk-server do. Keeps what it was told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answers: list[dict[str, Any]] = []

    async def say(self, message: str | bytes) -> dict[str, Any]:
        await self.socket.send(message)
        self.answers.append(json.loads(await self.socket.recv()))
        return self.answers[-1]

    async def end(self) -> dict[str, Any]:
        """The last result, and then the close."""
        last = await self.say('{"eof" : 1}')
        with pytest.raises(ConnectionClosed):
            await self.socket.recv()
        assert self.socket.close_code == 1000
        return last

    @property
    def text(self) -> str:
        """All results in a row."""
        return " ".join(answer["text"] for answer in self.answers if answer.get("text"))

    @property
    def starts(self) -> list[float]:
        """When the words began, in seconds."""
        return [word["start"] for answer in self.answers for word in answer.get("result", ())]


@asynccontextmanager
async def lock_step(address: str, path: str = "/", **config: Any) -> AsyncGenerator[LockStep, None]:
    async with connect(f"ws://{address}{path}", ping_interval=None) as socket:
        if config:
            await socket.send(json.dumps({"config": config}))
        yield LockStep(socket)


async def transcribed(here: Stage, after: Callable[[LockStep], object] = id) -> LockStep:
    async with lock_step(here.address, sample_rate=SPEECH.rate) as client:
        for chunk in SPEECH.chunks(0.2):
            await client.say(chunk)
            after(client)
        await client.end()
    return client


# ---- before two Rivas


@pytest.mark.slow
async def test_a_lock_step_client_hears_what_the_native_one_does() -> None:
    async with stage() as here:
        native = await here.native(SPEECH)
        client = await transcribed(here)

    assert client.text == native
    assert score(SPEECH, client.text).flawless
    assert len(client.answers) == -(-SPEECH.samples // round(0.2 * SPEECH.rate)) + 1
    assert client.starts == pytest.approx([SPEECH.word(at).start / SPEECH.rate for at in range(SPEECH.words)], abs=0.01)
    assert any(answer.get("partial") for answer in client.answers)


@pytest.mark.slow
async def test_a_file_that_is_sent_as_it_is_needs_no_config(tmp_path: Path) -> None:
    file = wav(tmp_path, SPEECH).read_bytes()
    async with stage() as here, lock_step(here.address) as client:
        await say_all(client, (file[at : at + 8000] for at in range(0, len(file), 8000)))
        await client.end()

    assert score(SPEECH, client.text).flawless
    assert client.starts[1] == pytest.approx(SPEECH.word(1).start / SPEECH.rate, abs=0.01)


@pytest.mark.slow
async def test_it_loses_no_word_and_no_answer_when_its_riva_is_killed() -> None:
    async with stage() as here, anyio.create_task_group() as tasks:
        seen: list[LockStep] = []
        endpoints: list[str] = []

        def watch(client: LockStep) -> None:
            seen.append(client)
            endpoints.append(here.app.sessions.live()[0].record.endpoint)

        tasks.start_soon(here.kill_when, lambda: bool(seen and seen[0].text))
        client = await transcribed(here, watch)

    assert "riva-a" in endpoints
    assert endpoints[-1] == "riva-b"
    assert score(SPEECH, client.text).flawless
    assert len(client.answers) == len(endpoints) + 1


@pytest.mark.slow
async def test_answers_keep_coming_while_no_riva_is_there_and_the_words_follow() -> None:
    async with RivaProcess() as riva_a, RivaProcess() as riva_b:
        backends = tuple(
            Endpoint(name=f"riva-{at}", address=riva.address, max_streams=50, catch_up=50.0)
            for at, riva in enumerate((riva_a, riva_b))
        )
        async with (
            serving(Settings(backends=backends), private=True) as app,
            lock_step(app.url.split("/")[2], sample_rate=SPEECH.rate) as client,
        ):
            chunks = list(SPEECH.chunks(0.2))
            await say_all(client, chunks[:20])
            await riva_a.kill()
            await riva_b.kill()
            before = len(client.answers)
            await say_all(client, chunks[20:50])
            alone = client.answers[before + 3 :]  # the first may still tell what was known
            await riva_b.start()
            await say_all(client, chunks[50:])
            await client.end()

    assert len(alone) == 27
    assert not any(answer.get("text") for answer in alone)
    assert len(client.answers) == len(chunks) + 1
    assert score(SPEECH, client.text).flawless


async def say_all(client: LockStep, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        await client.say(chunk)


# ---- at the door


async def test_vosk_is_spoken_at_the_root_and_the_page_stays_there() -> None:
    async with running(routes=routes(["vosk"]), site=site()) as house:
        async with lock_step(address(house)) as client:
            assert await client.say(PCM) == {"partial": ""}
            assert await client.end() == {"text": ""}
        page = await house.request(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")

    assert page.startswith(b"HTTP/1.1 200 OK")
    assert b"text/html" in page


async def test_a_chunk_that_is_refused_is_answered_once_and_says_why() -> None:
    session = Session(max_chunk_bytes=1600)
    async with running(routes=routes(["vosk"]), session=session) as house, lock_step(address(house)) as client:
        answers = [await client.say(data) for data in (PCM, b"", PCM + PCM, PCM)]
        await client.end()

    assert [answer.get("error", {}).get("code") for answer in answers] == [None, None, "AUDIO_002", None]
    assert (await house.sessions.last()).pcm == PCM * 2


async def test_who_finds_no_place_is_told_so_in_the_answer_to_its_first_chunk() -> None:
    async with running(routes=routes(["vosk"])) as house:
        house.sessions.refusal = ServerBusy("2 of 2 sessions", retry_after=5.0)
        async with lock_step(address(house), sample_rate=16_000) as client:
            answer = await client.say(PCM)
            assert await rest(client.socket) == ([], 1013)

    error = answer.pop("error")
    assert answer == {"partial": ""}
    assert (error["code"], error["retry_after"]) == ("CONN_005", 5.0)


async def test_settings_that_nobody_takes_are_the_answer_to_the_first_chunk() -> None:
    async with running(routes=routes(["vosk"])) as house, lock_step(address(house), sample_rate=96_000) as client:
        (answer,), code = await rest(client.socket)

    assert (answer["error"]["code"], code) == ("AUDIO_001", 1003)
    assert "sample_rate 96000" in answer["error"]["detail"]


async def test_it_has_a_port_of_its_own_whatever_the_path_and_both_drain() -> None:
    async with running(doors={0: vosk.connect}) as house:
        own = "{}:{}".format(*house.life.value.result()[1])
        assert own != address(house)
        async with lock_step(own, "/any", sample_rate=8000) as client, house.connect() as native:
            assert await client.say(PCM) == {"partial": ""}
            session = await house.sessions.last()
            await native.send('{"event":"start"}')
            await native.recv()
            house.life.stop.set()
            await session.draining.wait()
            for each in house.sessions.opened:
                each.say(Problem(code="CONN_006", fatal=True))
            ends = [await rest(client.socket), await rest(native)]
        await house.task

    assert [code for _, code in ends] == [1012, 1012]
    assert ends[0][0][-1]["error"]["code"] == ends[1][0][-1]["code"] == "CONN_006"


async def test_a_taken_port_is_named() -> None:
    async with running() as house:
        port = house.address.port
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            async with running(doors={port: vosk.connect}):
                pass


@pytest.mark.slow
async def test_the_settings_give_it_its_port() -> None:
    backends = (Endpoint(name="nobody", address="127.0.0.1:1"),)
    async with serving(Settings(backends=backends, dialects=Dialects(vosk_port=0)), private=True) as app:
        _, own = app.tree.value("front door")
        async with lock_step(f"{own.host}:{own.port}") as client:
            assert await client.say(PCM) == {"partial": ""}
        taken = Settings(backends=backends, dialects=Dialects(vosk_port=own.port))
        with pytest.raises(CannotStart, match=f"cannot listen on 127.0.0.1:{own.port}"):
            async with serving(taken, private=True):
                pass


def address(house: House) -> str:
    return "{}:{}".format(*house.address)
