"""A scripted Riva without faults is a Riva: over a real channel, as its clients see it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import numpy as np
import pytest
from riva.client.proto import health_pb2
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.health_pb2_grpc import HealthStub

from bench.riva.plan import Plan, read
from bench.riva.server import AddressUnavailable, ScriptedRiva
from bench.riva.words import CodedSpeech, silence
from tests.bench.riva.caller import OK, Caller, config_request, connected, eventually
from transport.audio.g711 import ALAW, MULAW

pytestmark = pytest.mark.anyio

SPEECH = CodedSpeech(words=5, utterance=3, pause=0.5)
PCM = SPEECH.read(0, SPEECH.samples)
STEPS = SPEECH.samples // 1600


@pytest.fixture
async def riva() -> AsyncIterator[ScriptedRiva]:
    async with ScriptedRiva() as riva:
        yield riva


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def caller(riva: ScriptedRiva) -> AsyncIterator[Caller]:
    async with connected(riva) as caller:
        yield caller


async def test_words_come_back_as_interims_and_as_finals_with_their_times(caller: Caller) -> None:
    async with caller.call() as call:
        await call.say(PCM)
        assert await call.finish() == OK
    assert call.finals == ["w0 w1 w2", "w3 w4"]
    assert len(call.responses) == STEPS
    first = call.results[8]
    assert (first.is_final, round(first.audio_processed, 3), first.channel_tag) == (True, 0.9, 1)
    assert [(word.word, word.start_time, word.end_time) for word in first.alternatives[0].words] == [
        ("w0", 40, 120),
        ("w1", 240, 320),
        ("w2", 440, 520),
    ]
    assert first.alternatives[0].confidence > 0.9
    interim = call.results[3]
    assert (interim.is_final, interim.alternatives[0].transcript, len(interim.alternatives[0].words)) == (
        False,
        "w0 w1",
        0,
    )
    assert interim.stability == pytest.approx(0.8)
    silent = call.results[10]
    assert (silent.is_final, len(silent.alternatives), round(silent.audio_processed, 3)) == (False, 0, 1.1)


async def test_the_later_words_times_are_the_streams_too(caller: Caller) -> None:
    async with caller.call() as call:
        await call.say(PCM)
        await call.finish()
    words = [word for result in call.results if result.is_final for word in result.alternatives[0].words]
    assert [(word.start_time, word.end_time) for word in words] == [
        (SPEECH.word(number).start // 16, SPEECH.word(number).end // 16) for number in range(5)
    ]


async def test_half_close_gives_the_last_words_and_ends_well(caller: Caller) -> None:
    async with caller.call() as call:
        await call.say(PCM[: 2 * SPEECH.word(1).end])
        assert await call.finish() == OK
    assert call.finals == ["w0 w1"]


async def test_force_eou_ends_the_utterance_and_the_stream_goes_on(caller: Caller) -> None:
    async with caller.call() as call:
        await call.say(PCM[: 2 * SPEECH.word(2).start])
        await call.send(pb.StreamingRecognizeRequest(runtime_config={"force_eou": "true"}))
        await call.until_final(1)
        await call.say(PCM[2 * SPEECH.word(2).start :])
        assert await call.finish() == OK
    assert call.finals == ["w0 w1", "w2", "w3 w4"]


async def test_the_clients_id_is_echoed(caller: Caller) -> None:
    async with caller.call() as call:
        await call.say(silence(0.1))
        await call.until(1)
        await call.send(pb.StreamingRecognizeRequest(audio_content=silence(0.1), id={"value": "s1/2"}))
        await call.until(2)
    assert [response.id.value for response in call.responses] == ["", "s1/2"]


async def test_a_client_that_wants_no_interims_gets_finals_only(caller: Caller) -> None:
    async with caller.call(interims=False) as call:
        await call.say(PCM)
        await call.finish()
    assert [len(call.responses), call.finals] == [2, ["w0 w1 w2", "w3 w4"]]


async def test_a_client_that_wants_no_word_times_gets_none(caller: Caller) -> None:
    async with caller.call(enable_word_time_offsets=False) as call:
        await call.say(PCM)
        await call.finish()
    assert [len(result.alternatives[0].words) for result in call.results if result.is_final] == [0, 0]


@pytest.mark.parametrize(("name", "table"), [("MULAW", MULAW), ("ALAW", ALAW)])
async def test_telephone_coded_audio_is_understood(caller: Caller, name: str, table: tuple[int, ...]) -> None:
    speech = CodedSpeech(words=3, rate=8000)
    samples = np.frombuffer(speech.read(0, speech.samples), "<i2").astype(int)
    nearest = np.abs(samples[:, None] - np.array(table)).argmin(axis=1)
    async with caller.call(rate=8000, encoding=name) as call:
        await call.say(nearest.astype(np.uint8).tobytes())
        await call.finish()
    assert call.finals == ["w0 w1 w2"]


@pytest.mark.parametrize(("in_silence", "expected"), [("progress", (10, 10)), ("empty", (10, 0)), ("nothing", (0, 0))])
async def test_silence_is_answered_as_the_plan_wants_it(in_silence: Any, expected: tuple[int, int]) -> None:
    async with ScriptedRiva(Plan(in_silence=in_silence)) as riva, connected(riva) as caller, caller.call() as call:
        await call.say(silence(1.0))
        await call.finish()
    assert (len(call.responses), len(call.results)) == expected


async def test_pause_and_step_are_the_plans() -> None:
    async with ScriptedRiva(Plan(pause=0.6, step=0.2)) as riva, connected(riva) as caller, caller.call() as call:
        await call.say(PCM)
        await call.finish()
    assert [len(call.responses), call.finals] == [STEPS // 2 + 1, ["w0 w1 w2", "w3 w4"]]  # the last by the half-close
    ends = [round(result.audio_processed, 3) for result in call.results if result.is_final]
    assert ends == [1.2, 2.0]


async def test_it_says_what_it_can_recognise() -> None:
    async with ScriptedRiva(Plan(model="m", languages=("en-US", "de-DE"))) as riva, connected(riva) as caller:
        (config,) = (await caller.ask()).model_config
    assert (config.model_name, dict(config.parameters)) == (
        "m",
        {"language_code": "en-US,de-DE", "type": "online", "streaming": "True"},
    )


UNAVAILABLE = (
    "Error: Unavailable model requested given these parameters: language_code={}; sample_rate={}; type=online; "
)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"language_code": "fr-FR"}, UNAVAILABLE.format("fr-FR", 16_000)),
        ({"model": "other"}, UNAVAILABLE.format("en-US", 16_000)),
        ({"rate": 11_025}, UNAVAILABLE.format("en-US", 11_025)),
        ({"encoding": "FLAC"}, "Error: encoding 2 is not supported"),
    ],
)
async def test_a_stream_that_asks_for_what_is_not_there_is_refused(
    caller: Caller, config: dict[str, Any], text: str
) -> None:
    async with caller.call(**config) as call:
        assert await call.ended() == ("INVALID_ARGUMENT", text)


async def test_a_stream_must_begin_with_its_config_and_has_one_only(caller: Caller) -> None:
    without = caller.stub.StreamingRecognize()
    await without.write(pb.StreamingRecognizeRequest(audio_content=b"xx"))
    assert (await without.code(), "must hold its streaming_config" in await without.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        True,
    )
    async with caller.call() as call:
        await call.send(config_request())
        assert (await call.ended())[0] == "INVALID_ARGUMENT"


async def test_half_a_sample_is_refused(caller: Caller) -> None:
    async with caller.call() as call:
        await call.say(b"\0\0\0")
        assert await call.ended() == ("INVALID_ARGUMENT", "Error: a message holds half a sample")


async def test_health_is_serving(riva: ScriptedRiva) -> None:
    async with grpc.aio.insecure_channel(riva.address) as channel:
        answer = await HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_unary_recognition_is_not_implemented(caller: Caller) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await caller.stub.Recognize(pb.RecognizeRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_what_happened_is_counted(riva: ScriptedRiva, caller: Caller) -> None:
    await caller.ask()
    async with caller.call() as call:
        await call.say(PCM)
        await call.finish()
    async with caller.call(language_code="xx") as call:
        await call.ended()
    async with caller.call() as call:
        await call.say(PCM[2000 : 2 * SPEECH.word(1).end + 2400])
        await call.until(3)
        assert (riva.report().served, riva.report().waiting) == (1, 0)
    await eventually(lambda: riva.report().served == 0)
    report = riva.report()
    assert (report.questions, report.opened, report.ended) == (
        1,
        3,
        {"CANCELLED": 1, "INVALID_ARGUMENT": 1, "OK": 1},
    )
    assert (report.words, report.scraps, report.finals, report.responses) == (6, 1, 2, STEPS + 3)
    assert report.audio_seconds == pytest.approx(SPEECH.samples / 16_000 + 0.3, abs=0.05)


async def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressUnavailable, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            async with ScriptedRiva(port=port):
                pass
    async with ScriptedRiva(port=port) as riva:
        assert riva.port == port
        with pytest.raises(AddressUnavailable):
            async with ScriptedRiva(port=port):
                pass


async def test_leaving_ends_the_streams_that_still_run(stack: AsyncExitStack) -> None:
    plan = read({"faults": [{"action": "freeze"}]})
    async with ScriptedRiva(plan) as riva:
        caller = await stack.enter_async_context(connected(riva))
        call = await stack.enter_async_context(caller.call())
        await call.say(silence(0.1))
    assert (await call.ended())[0] in ("UNAVAILABLE", "CANCELLED")  # as the one or the other packet comes first
