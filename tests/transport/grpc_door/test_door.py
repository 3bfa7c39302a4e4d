"""The gRPC door over real sockets: what its clients see, whatever they send, and what becomes of their sessions."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import grpc
import pytest
from prometheus_client import CollectorRegistry
from riva.client.proto import health_pb2
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import ConnectionFailed, ServerBusy
from actors.speech.messages import Ack, Gap, Problem, Recalled, Status, Transcript
from actors.speech.ports import RecognitionConfig, Word
from supervisor.errors import StartFailed
from supervisor.spec import Child
from supervisor.tree import Supervisor
from tests.transport.grpc_door.house import PCM, RIVA, Answer, audio, config, first, opened
from tests.transport.test_front_door import FakeSession, FakeSessions
from transport.admission import Admission
from transport.front_door import Patience
from transport.grpc_door import GrpcDoor
from transport.listener import CannotListen
from transport.settings import Server as ServerSettings
from transport.wire.port import Limits

pytestmark = pytest.mark.anyio

OK, INVALID, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAVAILABLE
FORCE = pb.StreamingRecognizeRequest(runtime_config={"force_eou": "true"})


class Reported:
    """An error handler that remembers."""

    def __init__(self) -> None:
        self.errors: list[ErrorContext] = []
        self.handler = ErrorHandler(CollectorRegistry(), listener=self.errors.append)

    @property
    def codes(self) -> list[str]:
        return [error.error_code for error in self.errors]


class BusySessions(FakeSessions):
    """Their sessions take no audio until there is `room`."""

    async def open(
        self, session_id: str, config: RecognitionConfig, *, user: str = "", resumable: bool = True
    ) -> FakeSession:
        session = await super().open(session_id, config, resumable=resumable)
        session.room.clear()
        return session


def final(seq: int, text: str, start: int = 0, end: int = 16_000, **fields: Any) -> Transcript:
    return Transcript(is_final=True, seq=seq, start=start, end=end, text=text, **fields)


def interim(text: str, end: int = 8_000, **fields: Any) -> Transcript:
    return Transcript(is_final=False, seq=0, start=0, end=end, text=text, **fields)


# ---- a session


async def test_a_call_is_a_session() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house:
        answer = await house.answers(first(), audio(), FORCE, audio(), metadata=[("voxtree-session-id", "s-1")])
        (session,) = sessions.opened
        assert (answer.code, answer.responses, answer.initial["voxtree-session-id"]) == (OK, [], "s-1")
        assert session.id == "s-1"
        assert session.config == RecognitionConfig(language="en-US", sample_rate=16_000)
        assert session.pcm == PCM * 2
        assert session.calls == ["audio", "finalize", "audio", "stop", "delivered", "disconnected"]
        assert house.door.calls == 0


async def test_events_become_responses() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house, house.stream_call() as call:
        request = first()
        request.id.value = "r-1"
        await call.write(request.SerializeToString())
        session = await sessions.last()
        word = Word("hello", 1_600, 6_400, confidence=0.75)
        session.say(
            Ack(durable=0, received=1600, seq=0),
            interim("hel", stability=0.5),
            Status(state="recovering"),
            final(1, "hello", confidence=0.5, words=(word,)),
            final(2, "", 16_000, 32_000),
            Recalled(start=32_000, end=40_000, text="guessed", similarity=0.9),
        )
        heartbeat, shown, said = [await call.read() for _ in range(3)]
        await session.called("acknowledge 2")
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert session.calls == ["acknowledge 1", "acknowledge 2", "stop", "delivered", "disconnected"]
    assert (len(heartbeat.results), heartbeat.id.value, said.id.value) == (0, "r-1", "r-1")
    (shown,), (said,) = shown.results, said.results
    assert (shown.is_final, shown.alternatives[0].transcript, shown.stability) == (False, "hel", 0.5)
    assert (shown.audio_processed, said.audio_processed, said.channel_tag) == (0.5, 1.0, 1)
    best = said.alternatives[0]
    assert (said.is_final, best.transcript, best.confidence, best.language_code) == (True, "hello ", 0.5, ["en-US"])
    assert [(one.word, one.start_time, one.end_time, one.confidence) for one in best.words] == [
        ("hello", 100, 400, 0.75)
    ]


async def test_a_gap_is_a_final_without_words_and_named_at_the_end() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        session = await sessions.last()
        session.say(interim("so"), Gap(seq=1, start=0, end=8_000, code="AUDIO_004"))
        _, gap = (await call.read()).results, (await call.read()).results[0]
        await session.called("acknowledge 1")
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert (gap.is_final, gap.alternatives[0].transcript, gap.audio_processed) == (True, "", 0.5)
        assert ("voxtree-gap", "0-500;AUDIO_004") in list(await call.trailing_metadata())


async def test_words_that_were_shown_are_taken_back_when_they_were_none() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        (await sessions.last()).say(interim("cough"), final(1, ""))
        texts = [(await call.read()).results[0].alternatives[0].transcript for _ in range(2)]
    assert texts == ["cough", ""]


async def test_what_has_no_effect_is_named() -> None:
    async with opened(FakeSessions()) as house:
        answer = await house.answers(first(profanity_filter=True, verbatim_transcripts=True))
    assert answer.initial["voxtree-ignored"] == "profanity_filter,verbatim_transcripts"


async def test_a_client_is_not_read_from_while_its_session_takes_no_more() -> None:
    sessions, seconds = BusySessions(), 100
    second = audio(b"\x01\x00" * 16_000).SerializeToString()
    async with opened(sessions) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        session = await sessions.last()

        async def write() -> None:
            for _ in range(seconds):
                await call.write(second)

        writing = asyncio.create_task(write())
        await asyncio.sleep(0.3)
        assert (session.calls, writing.done()) == (["audio"], False)
        session.room.set()
        await writing
        await session.heard(seconds * 16_000)


async def test_a_client_that_cancels_ends_its_session() -> None:
    sessions, reported = BusySessions(), Reported()
    async with opened(sessions, reported.handler) as house:
        async with house.stream_call() as call:
            await call.write(first().SerializeToString())
            session = await sessions.last()
            await call.write(audio().SerializeToString())
            await session.called("audio")
        await session.gone.wait()
        await asyncio.sleep(0)
        assert (house.door.calls, reported.codes, "delivered" in session.calls) == (0, ["CONN_001"], False)


async def test_a_whole_recording_that_its_client_does_not_wait_for_ends_its_session() -> None:
    sessions = BusySessions()
    async with opened(sessions) as house, house.channel() as channel:
        ask = channel.unary_unary(f"{RIVA}/Recognize")
        call = ask(pb.RecognizeRequest(config=config(), audio=PCM).SerializeToString())
        session = await sessions.last()
        await session.called("audio")
        call.cancel()
        await session.gone.wait()


async def test_a_gap_in_a_whole_recording_is_named_and_is_no_result() -> None:
    sessions = BusySessions()
    async with opened(sessions) as house, house.channel() as channel:
        ask = channel.unary_unary(f"{RIVA}/Recognize", response_deserializer=pb.RecognizeResponse.FromString)
        request = pb.RecognizeRequest(config=config(), audio=PCM)
        request.id.value = "r-1"
        call = ask(request.SerializeToString())
        session = await sessions.last()
        session.say(Gap(seq=1, start=0, end=8_000, code="AUDIO_004"), final(2, "rest", 8_000, 16_000))
        session.room.set()
        response = await call
        assert [result.alternatives[0].transcript for result in response.results] == ["rest "]
        assert response.id.value == "r-1"
        assert ("voxtree-gap", "0-500;AUDIO_004") in list(await call.trailing_metadata())
        assert {"acknowledge 1", "acknowledge 2", "delivered", "disconnected"} < set(session.calls)


async def test_calls_that_break_off_leave_nothing_behind() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house, house.channel() as channel:
        before = len(asyncio.all_tasks())
        for _ in range(20):
            call = channel.stream_stream(f"{RIVA}/StreamingRecognize")()
            await call.write(first().SerializeToString())
            await call.initial_metadata()
            call.cancel()
        for session in sessions.opened:
            await session.gone.wait()
        await asyncio.sleep(0.05)
        assert (len(sessions.opened), house.door.calls, len(asyncio.all_tasks())) == (20, 0, before)


# ---- refusals


@pytest.mark.parametrize(
    ("requests", "code", "text"),
    [
        ([], "CONN_003", "the stream ended before its streaming_config"),
        ([audio()], "CONN_003", "the first message of a stream must hold its streaming_config"),
        ([first(), first()], "CONN_003", "streaming_config may only be in the first message of a stream"),
        ([b"\xff\xff\xff"], "CONN_003", "3 bytes that are no StreamingRecognizeRequest"),
        ([first(), b"\x12\xff"], "CONN_003", "2 bytes that are no StreamingRecognizeRequest"),
        ([first(language_code="")], "RIVA_002", "language_code '': expected a BCP-47 tag such as 'en-US'"),
        ([first(model="m" * 300)], "CONN_003", "model: a name of 300 characters; allowed are 256"),
        (
            [first(encoding=AudioEncoding.FLAC)],
            "AUDIO_001",
            "encoding FLAC is not taken: send LINEAR_PCM (16 bit), MULAW or ALAW, raw or as a WAV",
        ),
        (
            [first(encoding=77)],
            "AUDIO_001",
            "encoding 77 is not taken: send LINEAR_PCM (16 bit), MULAW or ALAW, raw or as a WAV",
        ),
        ([first(sample_rate_hertz=4000)], "AUDIO_001", "sample_rate 4000: allowed are 8000 to 48000 Hz"),
        ([first(audio_channel_count=3)], "AUDIO_001", "channels 3: allowed are 1 and 2"),
        ([first(), audio(b"fLaC" + bytes(60))], "AUDIO_001", "this is FLAC: "),
        ([first(), audio(b"\x01")], "AUDIO_003", "1 bytes: pcm16 with 1 channel(s) takes a multiple of 2"),
        ([first(), audio(bytes(2002))], "AUDIO_002", "2002 bytes of audio in one message: allowed are 2000"),
    ],
)
async def test_a_bad_request_is_refused_with_what_to_do_about_it(
    requests: list[Any], code: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    reported = Reported()
    async with opened(FakeSessions(), reported.handler, limits=Limits(max_chunk_bytes=2000)) as house:
        answer = await house.answers(*requests)
    assert (answer.code, answer.facts["voxtree-code"], reported.codes) == (INVALID, code, [code])
    assert text in answer.text
    assert answer.facts["voxtree-ref"] == reported.errors[0].ref
    assert [record for record in caplog.records if record.name.startswith(("grpc", "asyncio"))] == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{RIVA}/Recognize", INVALID),
        (f"{RIVA}/GetRivaSpeechRecognitionConfig", INVALID),
        (f"{RIVA}/StreamingRecognise", grpc.StatusCode.UNIMPLEMENTED),
        ("/grpc.health.v1.Health/Check", INVALID),
    ],
)
async def test_bytes_that_are_no_message_are_refused(
    path: str, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(FakeSessions()) as house, house.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(path)(b"\xff\xff\xff")
    assert failed.value.code() is code
    assert [record for record in caplog.records if record.name.startswith(("grpc", "asyncio"))] == []


async def test_a_message_beyond_the_bound_is_not_taken_into_memory(caplog: pytest.LogCaptureFixture) -> None:
    sessions = FakeSessions()
    async with opened(sessions, limits=Limits(max_message_bytes=10_000)) as house:
        answer = await house.answers(first(), audio(bytes(20_000)), half_close=False)
        assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await (await sessions.last()).gone.wait()
    assert [record for record in caplog.records if record.name.startswith(("grpc", "asyncio"))] == []


async def test_clients_that_speak_no_grpc_harm_nobody() -> None:
    async with opened(FakeSessions()) as house:
        for garbage in (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
            b"\0",
        ):
            reader, writer = await asyncio.open_connection(*house.tree.value("riva door"))
            writer.write(garbage)
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()
        assert (await house.answers(first())).code is OK


async def test_a_session_id_of_other_characters_is_refused() -> None:
    async with opened(FakeSessions()) as house:
        answer = await house.answers(first(), metadata=[("voxtree-session-id", "a/b")])
    assert (answer.code, answer.facts["voxtree-code"]) == (INVALID, "CONN_003")
    assert "1 to 128 of A-Z a-z 0-9 . _ ~ -" in answer.text


async def test_a_refused_client_learns_when_to_come_back() -> None:
    sessions = FakeSessions()
    sessions.refusal = ServerBusy("all 2 sessions are taken", retry_after=4.5)
    async with opened(sessions) as house:
        answer = await house.answers(first(), half_close=False)
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer.text == "The service is busy. Please try again shortly. (all 2 sessions are taken)"
    assert (answer.facts["retry-after"], answer.facts["grpc-retry-pushback-ms"]) == ("5", "4500")


async def test_a_session_that_fails_ends_its_call_and_no_other() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        (await sessions.last()).say(interim("so"), Problem(code="SYS_001", fatal=True, known=True))
        assert (await call.read()).results[0].alternatives[0].transcript == "so"
        assert await call.code() is grpc.StatusCode.INTERNAL
        assert (await house.answers(first())).code is OK


async def test_a_defect_is_reported_and_not_shown() -> None:
    sessions, reported = FakeSessions(), Reported()
    sessions.refusal = RuntimeError("secret")
    async with opened(sessions, reported.handler) as house:
        answer = await house.answers(first(), half_close=False)
    assert (answer.code, answer.text) == (grpc.StatusCode.INTERNAL, "An unexpected error occurred")
    assert reported.codes == ["UNKNOWN"]
    assert isinstance(reported.errors[0].original_error, RuntimeError)


async def test_nobody_is_told_what_backends_say_of_themselves() -> None:
    async def models() -> list[Any]:
        raise ConnectionFailed("probe failed", endpoint="riva-7", backend_detail="10.0.0.7 refused")

    async with opened(FakeSessions(), models=models) as house, house.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channel.unary_unary(f"{RIVA}/GetRivaSpeechRecognitionConfig")(b"")
    assert failed.value.code() is UNAVAILABLE
    assert failed.value.details() == "Service temporarily unavailable (probe failed)"


# ---- patience


async def test_a_client_that_sends_nothing_is_cut() -> None:
    sessions = FakeSessions()
    async with opened(sessions, limits=Limits(idle_timeout=0.2)) as house:
        answer = await house.answers(first(), half_close=False)
        assert (answer.code, answer.facts["voxtree-code"]) == (grpc.StatusCode.DEADLINE_EXCEEDED, "CONN_002")
        await sessions.opened[0].gone.wait()
        assert (await house.answers(half_close=False)).facts["voxtree-code"] == "CONN_002"


async def test_a_client_that_reads_nothing_is_cut() -> None:
    sessions, reported = FakeSessions(), Reported()
    patience = Patience(reading=0.4)
    async with opened(sessions, reported.handler, patience=patience) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        session = await sessions.last()
        for seq in range(1, 2000):
            session.say(final(seq, "word " * 2000))
        await session.gone.wait()
        assert (reported.codes, house.door.calls) == (["CONN_007"], 0)
        answer = await Answer.of(call)
        assert 0 < len(answer.responses) < 1000
        assert (answer.code, answer.facts["voxtree-code"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CONN_007")


async def test_a_door_stops_in_time_though_a_client_reads_nothing() -> None:
    sessions = FakeSessions()
    async with opened(sessions, shutdown_timeout=0.4) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        session = await sessions.last()
        for seq in range(1, 2000):
            session.say(final(seq, "word " * 2000))
        await asyncio.sleep(0.2)
        began = anyio.current_time()
        await house.tree.terminate_child("riva door")
        assert anyio.current_time() - began < 2.0
        assert "disconnected" in session.calls


# ---- stopping, and health


async def test_a_door_that_stops_lets_its_calls_finish_and_takes_no_new_ones() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house, house.stream_call() as call, house.channel() as other:
        await call.write(first().SerializeToString())
        session = await sessions.last()
        stopping = asyncio.create_task(house.tree.terminate_child("riva door"))
        await session.draining.wait()
        with pytest.raises(grpc.aio.AioRpcError):
            await other.unary_unary(f"{RIVA}/GetRivaSpeechRecognitionConfig")(b"")
        session.say(final(1, "the last words"), Problem(code="CONN_006", fatal=True))
        assert (await call.read()).results[0].alternatives[0].transcript == "the last words "
        assert (await call.code(), await call.details()) == (
            UNAVAILABLE,
            "The service is restarting. Please reconnect.",
        )
        await stopping
        assert "disconnected" in session.calls


async def test_a_client_that_has_sent_all_gets_all_its_words_from_a_door_that_stops() -> None:
    sessions = BusySessions()
    async with opened(sessions) as house, house.channel() as channel:
        ask = channel.unary_unary(f"{RIVA}/Recognize", response_deserializer=pb.RecognizeResponse.FromString)
        call = ask(pb.RecognizeRequest(config=config(), audio=PCM).SerializeToString())
        session = await sessions.last()
        await session.called("audio")
        stopping = asyncio.create_task(house.tree.terminate_child("riva door"))
        await asyncio.sleep(0.05)
        session.say(final(1, "all of it"))
        session.room.set()
        assert [result.alternatives[0].transcript for result in (await call).results] == ["all of it "]
        await stopping
        assert "drain" not in session.calls


async def test_a_call_that_does_not_finish_is_ended_in_time() -> None:
    sessions = FakeSessions()
    async with opened(sessions, shutdown_timeout=0.4) as house, house.stream_call() as call:
        await call.write(first().SerializeToString())
        await sessions.last()
        began = anyio.current_time()
        await house.tree.terminate_child("riva door")
        assert anyio.current_time() - began < 2.0
        assert (await call.code(), dict(await call.trailing_metadata())["voxtree-code"]) == (UNAVAILABLE, "CONN_006")


async def test_a_stopped_door_can_be_started_again() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house:
        await house.tree.terminate_child("riva door")
        await house.tree.restart_child("riva door")
        assert (await house.answers(first())).code is OK


async def test_health_follows_what_new_sessions_would_find() -> None:
    sessions = FakeSessions()
    async with opened(sessions) as house, house.channel() as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", response_deserializer=_health)
        watching = watch(health_pb2.HealthCheckRequest().SerializeToString())
        unknown = watch(health_pb2.HealthCheckRequest(service="x").SerializeToString())
        check = channel.unary_unary("/grpc.health.v1.Health/Check", response_deserializer=_health)
        named = health_pb2.HealthCheckRequest(service="nvidia.riva.asr.RivaSpeechRecognition").SerializeToString()
        assert [await check(b""), await check(named), await watching.read(), await unknown.read()] == [1, 1, 1, 3]
        sessions.is_ready = False
        assert [await check(b""), await watching.read()] == [2, 2]
        sessions.is_ready = True
        assert await watching.read() == 1
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await check(health_pb2.HealthCheckRequest(service="x").SerializeToString())
        assert failed.value.code() is grpc.StatusCode.NOT_FOUND
        stopping = asyncio.create_task(house.tree.terminate_child("riva door"))
        assert [await watching.read(), await watching.read()] == [2, grpc.aio.EOF]
        await stopping


def _health(message: bytes) -> int:
    return int(health_pb2.HealthCheckResponse.FromString(message).status)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_taken_port_is_said(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartFailed) as failed:
            await start(host, port)
    assert isinstance(failed.value.error, CannotListen)
    assert str(failed.value.error) == f"cannot listen on {host}:{port}: address already in use"


async def test_a_host_that_is_none_is_said() -> None:
    with pytest.raises(StartFailed) as failed:
        await start("no.such.host.invalid", 1)
    assert str(failed.value.error).startswith("cannot listen on no.such.host.invalid:1: the host name is unknown")


async def start(host: str, port: int) -> None:
    async def models() -> list[Any]:
        return []

    door = GrpcDoor(
        host,
        port,
        FakeSessions(),
        ErrorHandler(CollectorRegistry()),
        models=models,
        admission=Admission(ServerSettings()),
    )
    async with Supervisor([Child("riva door", door.serve)]):
        pass
