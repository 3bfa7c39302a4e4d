"""NVIDIA's own client before the door, scripted Rivas behind it: it never hears of what happens to them."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
import riva.client
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from actors.speech.ports import Tier
from bench.riva import CodedSpeech, Ledger, Plan, ScriptedRiva
from bench.riva.faults import At, Down, Status
from tests.transport.dialects.stage import Stage, stage
from tests.transport.grpc_door.house import Answer, House, audio, before, config, first, streaming
from transport.app import serving
from transport.audio import read_wav
from transport.client import Client, transcribe
from transport.riva import Endpoint
from transport.settings import Settings

pytestmark = pytest.mark.anyio

SPEECH = CodedSpeech(words=40, utterance=8, pause=0.6)


def endpoint(riva_: ScriptedRiva, **fields: Any) -> Endpoint:
    return Endpoint(**({"name": "riva", "address": riva_.address, "catch_up": 20.0} | fields))


@asynccontextmanager
async def behind(*backends: Endpoint) -> AsyncGenerator[House, None]:
    """The door of a server with these backends."""
    async with serving(Settings(backends=backends), private=True) as app, before(app) as house:
        yield house


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SPEECH.rate, 0, "NONE", ""))
        file.writeframes(b"".join(SPEECH.chunks()))
    return path


def read(path: Path) -> Iterator[bytes]:
    """A file as Riva's own examples read one, its header included."""
    with riva.client.AudioChunkFileIterator(path, 1600) as chunks:
        yield from chunks


def account(results: Iterable[Any]) -> Ledger:
    ledger = Ledger(SPEECH)
    for result in results:
        best = result.alternatives[0]
        starts = [word.start_time * SPEECH.rate // 1000 for word in best.words]
        ledger.final(best.transcript, starts)
    return ledger


def text(results: Iterable[Any]) -> str:
    return "".join(result.alternatives[0].transcript for result in results)


def finals(results: Iterable[Any]) -> list[Any]:
    return [result for result in results if result.is_final]


async def test_a_riva_client_gets_what_a_client_of_the_native_protocol_gets(recording: Path) -> None:
    async with ScriptedRiva() as backend, serving(Settings(backends=(endpoint(backend),)), private=True) as app:
        native = await transcribe(Client(app.url), read_wav(recording))
        async with before(app) as house:
            results = await house.stream(read(recording), streaming())
    said = finals(results)
    assert account(said).score().flawless
    assert text(said).split() == native.text.split()
    assert [segment.text for segment in native.segments] == [one.alternatives[0].transcript.strip() for one in said]
    assert [0.0 < one.alternatives[0].confidence <= 1.0 for one in said] == [True] * len(said)
    assert all(one.audio_processed < two.audio_processed for one, two in pairwise(said))
    assert 0 < said[-1].audio_processed <= SPEECH.samples / SPEECH.rate
    assert all(0.0 <= one.stability <= 1.0 for one in results)


async def test_a_backend_that_dies_in_mid_stream_is_not_noticed(recording: Path) -> None:
    dying = Plan(faults=(Down(at=At(position=4.0), seconds=60.0),))
    async with ScriptedRiva(dying) as primary, ScriptedRiva() as fallback:
        second = endpoint(fallback, name="fallback", tier=Tier.FALLBACK)
        async with behind(endpoint(primary, name="primary"), second) as house:
            results = await house.stream(read(recording), streaming(enable_word_time_offsets=False))
            assert primary.report().opened == fallback.report().opened == 1
    assert account(finals(results)).score().flawless
    assert not any(result.alternatives[0].words for result in results)


async def test_a_backend_process_that_is_killed_in_mid_stream_costs_no_word(recording: Path) -> None:
    killed, results = threading.Event(), list[Any]()

    def chunks() -> Iterator[bytes]:
        first_half = recording.stat().st_size // 2
        for chunk in read(recording):
            yield chunk
            first_half -= len(chunk)
            if first_half <= 0:
                killed.wait(10)

    async def kill(server: Stage) -> None:
        await server.kill_when(lambda: bool(finals(results)))
        killed.set()

    async with stage() as server, before(server.app) as house, anyio.create_task_group() as tasks:
        tasks.start_soon(kill, server)
        await house.stream(chunks(), streaming(), into=results)
        lost = {"error_code": "RIVA_005", "severity": "ERROR"}
        assert server.app.registry.get_sample_value("transcription_errors_total", lost) == 1
    assert account(finals(results)).score().flawless


async def test_a_stream_that_the_backend_ends_is_replaced(recording: Path) -> None:
    failing = Plan(faults=(Status(preset="streaming_timed_out", at=At(position=3.0), times=2),))
    async with ScriptedRiva(failing) as backend, behind(endpoint(backend)) as house:
        results = await house.stream(read(recording), streaming(interim_results=False))
    assert account(results).score().flawless
    assert all(result.is_final for result in results)


async def test_a_whole_recording_is_recognised_in_one_call(recording: Path) -> None:
    wanted = config(encoding=AudioEncoding.ENCODING_UNSPECIFIED, sample_rate_hertz=0, audio_channel_count=0)
    async with ScriptedRiva() as backend, behind(endpoint(backend)) as house:
        response = await house.ask(lambda service: service.offline_recognize(recording.read_bytes(), wanted))
    assert account(response.results).score().flawless
    assert len(text(response.results).split()) == SPEECH.words  # strung together as `print_offline` does


async def test_the_models_of_all_backends_are_told_once() -> None:
    german = Plan(model="german", languages=("de-DE",))
    async with ScriptedRiva() as one, ScriptedRiva() as same, ScriptedRiva(german) as other:
        there = [endpoint(each, name=name) for name, each in zip("abc", (one, same, other), strict=True)]
        gone = Endpoint(name="d", address="127.0.0.1:1")
        async with behind(*there, gone) as house:
            all_of_them = await house.ask(lambda service: loaded(service, ""))
            just_one = await house.ask(lambda service: loaded(service, "german"))
    english = ("scripted-en", {"language_code": "en-US", "type": "online", "streaming": "True"})
    assert just_one == [("german", {"language_code": "de-DE", "type": "online", "streaming": "True"})]
    assert all_of_them == [english, *just_one]


def loaded(service: riva.client.ASRService, name: str) -> list[tuple[str, dict[str, str]]]:
    told = service.stub.GetRivaSpeechRecognitionConfig(pb.RivaSpeechRecognitionConfigRequest(model_name=name))
    return [(model.model_name, dict(model.parameters)) for model in told.model_config]


async def test_a_language_that_nobody_has_is_refused_as_riva_does(recording: Path) -> None:
    async with ScriptedRiva() as backend, behind(endpoint(backend)) as house:
        with pytest.raises(grpc.RpcError) as failed:
            await house.stream(read(recording), streaming(language_code="fr-FR"))
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert failed.value.details() == "Language not supported (no streaming model for language 'fr-FR')"
    assert dict(failed.value.trailing_metadata())["voxtree-code"] == "RIVA_002"


async def test_a_call_that_its_client_gives_up_leaves_no_session() -> None:
    async with ScriptedRiva() as backend, serving(Settings(backends=(endpoint(backend),)), private=True) as app:
        async with before(app) as house:
            async with house.stream_call() as call:
                await call.write(first().SerializeToString())
                await call.write(audio(SPEECH.read(0, SPEECH.rate)).SerializeToString())
                await call.read()
                assert (len(app.sessions), house.door.calls) == (1, 1)
            while app.sessions.live():  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert house.door.calls == 0
        assert backend.report().served == 0


async def test_a_door_that_stops_gives_the_words_for_what_it_heard() -> None:
    async with ScriptedRiva() as backend, behind(endpoint(backend)) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        await call.write(audio(SPEECH.read(0, 2 * SPEECH.rate)).SerializeToString())
        await call.read()
        stopping = asyncio.create_task(house.tree.terminate_child("riva door"))
        answer = await Answer.of(call)
        await stopping
    score = account(finals(answer.results)).score(2 * SPEECH.rate)
    assert (score.received, score.doubled, score.foreign) == (score.sent, 0, 0)
    assert (answer.code, answer.facts["voxtree-code"]) == (grpc.StatusCode.UNAVAILABLE, "CONN_006")


async def test_a_voxtree_is_a_riva_to_another_voxtree(recording: Path) -> None:
    async with ScriptedRiva() as backend, behind(endpoint(backend)) as house:
        inner = Endpoint(name="inner", address=house.address, catch_up=20.0)
        async with serving(Settings(backends=(inner,)), private=True) as outer:
            native = await transcribe(Client(outer.url), read_wav(recording))
    ledger = Ledger(SPEECH)
    for word in native.words:
        ledger.final(word.text, [word.start_ms * SPEECH.rate // 1000])
    assert ledger.score().flawless
