from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import grpc
import pytest
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech import errors
from actors.speech.errors import SpeechError
from actors.speech.listening import task_group
from actors.speech.ports import Recognised, RecognitionBackend, RecognitionConfig, Word
from tests.transport.riva_server import (
    ENGLISH,
    Requests,
    RivaServer,
    Script,
    echo,
    final,
    interim,
    mute,
    reject,
)
from transport.riva import Endpoint, RivaBackend, RivaStream
from transport.riva.pulse import Pulse
from transport.riva.status import Phase, speech_error
from transport.riva.watch import Watch

pytestmark = pytest.mark.anyio

CONFIG = RecognitionConfig()
SILENCE = bytes(3200)  # 100 ms at 16 kHz
SPEECH = b"\x00\x20\x00\xe0" * 800  # as long, and audible


@pytest.fixture
async def server() -> AsyncIterator[RivaServer]:
    async with RivaServer() as server:
        yield server
        with anyio.fail_after(5):
            await server.idle.wait()  # no test may leave a call behind


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if "TestRunner" not in repr(task)}
    pending = (await asyncio.wait(left, timeout=5))[1] if left else set()
    assert pending == set()


async def read_all(stream: RivaStream) -> list[Recognised]:
    return [result async for result in stream]


async def failure_of(backend: RivaBackend, *, chunks: int = 1000, chunk: bytes = SPEECH) -> SpeechError:
    """What ends a session that sends and reads at the same time."""

    async def send(stream: RivaStream) -> None:
        for _ in range(chunks):
            await stream.send(chunk)
        await anyio.sleep_forever()

    with pytest.raises(SpeechError) as caught:  # noqa: PT012
        async with backend.open(CONFIG, label="s1") as stream:
            sender = asyncio.create_task(send(stream))
            try:
                await read_all(stream)
            finally:
                sender.cancel()
                await asyncio.wait({sender})
                assert sender.cancelled() or isinstance(sender.exception(), SpeechError)
    return caught.value


# ---- the usual way


async def test_a_backend_is_what_a_session_wants(server: RivaServer) -> None:
    backend: RecognitionBackend = RivaBackend(server.endpoint(max_streams=7, catch_up=2.0))
    assert (backend.name, backend.tier.value, backend.max_streams, backend.catch_up) == (
        "riva",
        "primary",
        7,
        2.0,
    )


async def test_a_stream_sends_config_and_audio_and_ends_after_its_last_final(server: RivaServer) -> None:
    config = RecognitionConfig(language="en-US", interim_results=True, word_times=True, punctuate=False)
    settings: dict[str, Any] = {
        "model": "conformer-en",
        "metadata": {"authorization": "Bearer k", "x-a": "b"},
    }
    async with (
        RivaBackend(server.endpoint(**settings)) as backend,
        backend.open(config, label="s1/2") as stream,
    ):
        await stream.send(SILENCE)
        await stream.send(SPEECH)
        await stream.finish()
        results = await read_all(stream)

    assert [(result.is_final, result.text) for result in results] == [
        (False, "1 chunks"), (False, "2 chunks"), (True, "2 chunks"),
    ]  # fmt: skip
    expected = pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(
            interim_results=True,
            config=pb.RecognitionConfig(
                encoding="LINEAR_PCM", sample_rate_hertz=16000, language_code="en-US", max_alternatives=1,
                audio_channel_count=1, enable_word_time_offsets=True, model="conformer-en",
            ),
        )
    )  # fmt: skip
    expected.id.value = "s1/2"
    assert server.requests == [
        expected,
        pb.StreamingRecognizeRequest(audio_content=SILENCE),
        pb.StreamingRecognizeRequest(audio_content=SPEECH),
    ]
    ours = [(key, value) for key, value in server.headers if key in settings["metadata"]]
    assert ours == [("authorization", "Bearer k"), ("x-a", "b")]  # once each


async def test_results_come_in_samples_of_the_sessions_rate(server: RivaServer) -> None:
    async def script(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        yield pb.StreamingRecognizeResponse()  # no results at all
        progress = pb.StreamingRecognizeResponse()
        progress.results.add(audio_processed=0.5).pipeline_states.vad_probabilities.append(0.1)
        yield progress
        yield interim("hello", stability=0.75, audio_processed=1.0)
        yield final("hello you ", words=[("hello", 80, 400), ("you", 480, 560)], audio_processed=1.5, confidence=0.5)
        async for _ in requests:
            pass

    server.script = script
    config = RecognitionConfig(sample_rate=8000)
    async with RivaBackend(server.endpoint()) as backend, backend.open(config, label="s1") as stream:
        await stream.finish()
        assert await read_all(stream) == [
            Recognised(is_final=False, processed=4000),
            Recognised(is_final=False, text="hello", stability=0.75, processed=8000),
            Recognised(
                is_final=True, text="hello you", processed=12000, confidence=0.5,
                words=(Word("hello", 640, 3200, 0.5), Word("you", 3840, 4480, 0.5)),
            ),
        ]  # fmt: skip


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
async def test_audio_at_another_rate_arrives_resampled_and_whole(server: RivaServer, rate: int) -> None:
    async with (
        RivaBackend(server.endpoint()) as backend,
        backend.open(RecognitionConfig(sample_rate=rate), label="s1") as stream,
    ):
        for _ in range(50):
            await stream.send(bytes(2 * (rate // 50)))
        await stream.finish()
        await read_all(stream)
    assert server.requests[0].streaming_config.config.sample_rate_hertz == 16000
    assert abs(len(server.audio()) // 2 - 16000 * (rate // 50 * 50) / rate) <= 1


async def test_a_forced_final_leaves_the_stream_open(server: RivaServer) -> None:
    async with RivaBackend(server.endpoint()) as backend, backend.open(CONFIG, label="s1") as stream:
        await stream.send(SPEECH)
        await stream.force_final()
        await stream.send(SPEECH)
        await stream.finish()
        await read_all(stream)
    assert [dict(request.runtime_config) for request in server.requests[1:]] == [
        {},
        {"force_eou": "true"},
        {},
    ]


async def test_audio_after_finish_is_a_mistake_of_the_caller(server: RivaServer) -> None:
    async with RivaBackend(server.endpoint()) as backend, backend.open(CONFIG, label="s1") as stream:
        await stream.finish()
        await stream.finish()  # once more does nothing
        with pytest.raises(RuntimeError, match="after finish"):
            await stream.send(SPEECH)


# ---- what goes wrong at the start


REJECTIONS = [
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "exceeded rate limit", errors.QuotaExceeded),
    (grpc.StatusCode.UNAUTHENTICATED, "no authorization was passed in the metadata", errors.NotAuthorized),
    (grpc.StatusCode.INVALID_ARGUMENT, "unknown endpointing value", errors.ConfigRejected),
    (grpc.StatusCode.UNAVAILABLE, "Server not ready", errors.BackendNotReady),
    (grpc.StatusCode.UNAVAILABLE, "overloaded", errors.ConnectionFailed),
]


@pytest.mark.parametrize(("code", "text", "error"), REJECTIONS)
@pytest.mark.parametrize("after", [1, 2, 5])
async def test_a_rejection_while_audio_flows_keeps_its_status(
    server: RivaServer,
    code: grpc.StatusCode,
    text: str,
    error: type[SpeechError],
    after: int,
) -> None:
    server.script = reject(code, text, after=after)
    async with RivaBackend(server.endpoint()) as backend:
        for _ in range(8):  # grpc.aio alone would lose most of these statuses
            caught = await failure_of(backend)
            expected = error
            if after == 5 and error is errors.ConnectionFailed:
                expected = type(caught)  # before or after the first answer was read
                assert expected in (errors.ConnectionFailed, errors.StreamLost)
            assert (type(caught), caught.grpc_code, caught.backend_detail) == (expected, code.name, text)
            assert caught.endpoint == "riva"


async def test_a_rejection_brings_its_retry_hint(server: RivaServer) -> None:
    server.script = reject(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", trailers=(("grpc-retry-pushback-ms", "1500"),)
    )
    async with RivaBackend(server.endpoint()) as backend:
        assert (await failure_of(backend)).retry_after == 1.5


async def test_a_refused_port_is_a_failed_connection() -> None:
    async with RivaServer() as gone:
        endpoint = gone.endpoint()
    async with RivaBackend(endpoint) as backend:
        caught = await failure_of(backend)
    assert (type(caught), caught.grpc_code) == (errors.ConnectionFailed, "UNAVAILABLE")
    assert "Connection refused" in (caught.backend_detail or "")


async def test_a_port_that_never_answers_is_a_failed_connection() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with RivaBackend(Endpoint(name="riva", address=f"127.0.0.1:{port}", probe_timeout=0.1)) as backend:
            caught = await failure_of(backend)
    assert (type(caught), caught.grpc_code) == (errors.ConnectionFailed, "DEADLINE_EXCEEDED")


async def test_an_http_server_is_the_wrong_endpoint() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read(4096)
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with RivaBackend(Endpoint(name="riva", address=f"127.0.0.1:{port}")) as backend:
            assert type(await failure_of(backend)) is errors.WrongEndpoint


async def test_a_grpc_server_without_riva_is_the_wrong_endpoint() -> None:
    other = grpc.aio.server()
    port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    try:
        async with RivaBackend(Endpoint(name="riva", address=f"127.0.0.1:{port}")) as backend:
            assert type(await failure_of(backend)) is errors.WrongEndpoint
    finally:
        await other.stop(None)


async def test_tls_to_a_plaintext_port_is_not_authorized(server: RivaServer) -> None:
    async with RivaBackend(server.endpoint(tls=True)) as backend:
        assert type(await failure_of(backend)) is errors.NotAuthorized


async def test_a_stream_that_the_connection_has_no_room_for_fails_in_time() -> None:
    async with RivaServer(max_concurrent_streams=1) as server, RivaBackend(server.endpoint()) as backend:
        async with backend.open(CONFIG, label="s1") as first:
            await first.send(SPEECH)
            await anext(first)  # the server's settings are known from here on
            backend.endpoint = server.endpoint(open_timeout=0.05)
            with anyio.fail_after(5), pytest.raises(errors.ConnectionFailed, match=r"not open within 0\.05 s"):
                async with backend.open(CONFIG, label="s2"):
                    pass
        await server.idle.wait()


# ---- the question before a stream


async def test_a_language_that_is_not_loaded_is_refused_before_any_stream(server: RivaServer) -> None:
    async with RivaBackend(server.endpoint()) as backend:
        with pytest.raises(errors.ModelNotFound) as caught:
            async with backend.open(RecognitionConfig(language="ru-RU"), label="s1"):
                pass
    assert caught.value.detail == "no streaming model for language 'ru-RU'"
    assert caught.value.backend_detail == "has conformer-en (streaming: en-us)"
    assert server.requests == []


@pytest.mark.parametrize(
    ("models", "language", "model", "error"),
    [
        ({"a": ENGLISH}, "EN-us", "", None),
        ({"a": ENGLISH}, "en-US", "a", None),
        ({"a": ENGLISH}, "en-US", "b", errors.ModelNotFound),
        ({"a": ENGLISH | {"type": "offline"}}, "en-US", "", errors.ModelNotFound),
        ({"a": ENGLISH | {"streaming": "False"}}, "en-US", "", errors.ModelNotFound),
        ({"a": {"language_code": "en-US, de-DE", "streaming": "True"}}, "de-DE", "", None),
        ({"a": {"language_code": "multi", "type": "online"}}, "fr-FR", "", None),
        ({"a": {}}, "fr-FR", "", None),
        ({}, "en-US", "", errors.BackendNotReady),
    ],
)
async def test_what_a_server_has_loaded_decides_who_may_open_a_stream(
    server: RivaServer,
    models: dict[str, dict[str, str]],
    language: str,
    model: str,
    error: type[SpeechError] | None,
) -> None:
    server.models = models
    caught = None
    async with RivaBackend(server.endpoint()) as backend:
        try:
            async with backend.open(RecognitionConfig(language=language, model=model), label="s1") as stream:
                await stream.finish()
                await read_all(stream)
        except SpeechError as exc:
            caught = type(exc)
    assert caught is error


async def test_many_streams_at_once_ask_once(server: RivaServer) -> None:
    server.hold_questions.clear()
    async with RivaBackend(server.endpoint()) as backend:

        async def session() -> None:
            async with backend.open(CONFIG, label="s") as stream:
                await stream.finish()
                await read_all(stream)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(session)
            await anyio.wait_all_tasks_blocked()
            server.hold_questions.set()
        await session()
    assert server.questions == 1


async def test_one_callers_cancellation_leaves_the_others_their_answer(server: RivaServer) -> None:
    server.hold_questions.clear()
    async with RivaBackend(server.endpoint()) as backend:
        impatient, patient = asyncio.create_task(backend.models()), asyncio.create_task(backend.models())
        await anyio.wait_all_tasks_blocked()
        impatient.cancel()
        await asyncio.wait({impatient})
        server.hold_questions.set()
        assert str(await patient) == "conformer-en (streaming: en-us)"
    assert (impatient.cancelled(), server.questions) == (True, 1)


async def test_callers_that_share_a_failure_get_an_exception_each(server: RivaServer) -> None:
    server.refusal = (grpc.StatusCode.PERMISSION_DENIED, "key nvapi-abcdefgh is not for account 'acme'")
    async with RivaBackend(server.endpoint()) as backend:
        first, second = await asyncio.gather(backend.models(), backend.models(), return_exceptions=True)
    assert isinstance(first, errors.NotAuthorized)
    assert isinstance(second, errors.NotAuthorized)
    assert first is not second
    assert first.backend_detail == "key *** is not for account '***'"
    assert server.questions == 1


async def test_a_failed_stream_makes_the_next_one_ask_again(server: RivaServer) -> None:
    server.script = reject(grpc.StatusCode.INTERNAL, "Triton model failed during inference", after=2)
    async with RivaBackend(server.endpoint()) as backend:
        assert type(await failure_of(backend)) is errors.InferenceFailed
        server.models = {}
        assert type(await failure_of(backend)) is errors.BackendNotReady
    assert server.questions == 2


async def test_an_old_answer_serves_until_it_is_renewed(server: RivaServer) -> None:
    async with RivaBackend(server.endpoint(models_max_age=0.0)) as backend:
        await backend.models()
        server.hold_questions.clear()
        server.models = {"conformer-de": {"language_code": "de-DE"}}
        assert str(await backend.models()) == "conformer-en (streaming: en-us)"
        server.hold_questions.set()
        assert str(await backend.models(fresh=True)) == "conformer-de (streaming: de-de)"
        assert str(await backend.models()) == "conformer-de (streaming: de-de)"
        await anyio.wait_all_tasks_blocked()
    assert server.questions == 3


async def test_a_server_that_has_nothing_loaded_yet_is_asked_again_by_the_next_stream(server: RivaServer) -> None:
    loaded, server.models = server.models, {}
    async with RivaBackend(server.endpoint()) as backend:
        assert type(await failure_of(backend)) is errors.BackendNotReady
        server.models = loaded
        async with backend.open(CONFIG, label="s1"):
            pass
    assert server.questions == 2


async def test_a_probe_asks_every_time_and_wants_a_model(server: RivaServer) -> None:
    async with RivaBackend(server.endpoint()) as backend:
        await backend.probe()
        server.models = {}
        with pytest.raises(errors.BackendNotReady):
            await backend.probe()


# ---- what goes wrong later


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, "upstream gone", errors.StreamLost),
        (grpc.StatusCode.UNKNOWN, "TRTIS response timeout", errors.BackendStalled),
        (
            grpc.StatusCode.INTERNAL,
            "Failed to allocate CUDA memory with byte size 9",
            errors.BackendOutOfMemory,
        ),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            "must specify the START flag on the first",
            errors.SequenceExpired,
        ),
    ],
)
async def test_a_status_in_mid_stream_is_translated(
    server: RivaServer, code: grpc.StatusCode, text: str, error: type[SpeechError]
) -> None:
    server.script = reject(code, text, after=3)
    async with RivaBackend(server.endpoint()) as backend:
        with pytest.raises(error) as caught:  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream:
                await stream.send(SPEECH)
                assert (await anext(stream)).text == "so far"
                await stream.send(SPEECH)
                await anext(stream)
    assert (caught.value.grpc_code, caught.value.backend_detail) == (code.name, text)


async def test_results_sent_before_a_failure_still_arrive(server: RivaServer) -> None:
    server.script = reject(grpc.StatusCode.INTERNAL, "broken", after=4)
    results = []
    async with RivaBackend(server.endpoint()) as backend:
        with pytest.raises(errors.InferenceFailed):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream:
                for _ in range(3):
                    await stream.send(SPEECH)
                async for result in stream:
                    results.append(result.text)
    assert results == ["so far", "so far"]


async def test_an_end_before_finish_is_a_lost_stream(server: RivaServer) -> None:
    async def stop_early(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        async for request in requests:
            if request.audio_content:
                yield final("enough")
                return

    server.script = stop_early
    results = []
    async with RivaBackend(server.endpoint()) as backend:
        with pytest.raises(errors.StreamLost, match="before the end of the audio"):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream:
                await stream.send(SPEECH)
                async for result in stream:
                    results.append(result.text)
        with pytest.raises(errors.StreamLost):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream:
                while True:
                    await stream.send(SPEECH)
    assert results == ["enough"]


@pytest.mark.parametrize("grace", [None, 0.01])
async def test_a_server_that_stops_loses_the_stream(server: RivaServer, grace: float | None) -> None:
    async with RivaBackend(server.endpoint()) as backend:
        with pytest.raises(errors.StreamLost):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream:
                await stream.send(SPEECH)
                await anext(stream)
                await server.grpc.stop(grace)
                await anext(stream)
        with anyio.fail_after(10):  # in the moment of the end the old connection may fail once more
            while type(await failure_of(backend)) is not errors.ConnectionFailed:  # noqa: ASYNC110  (nobody says when)
                await anyio.sleep(0.05)


async def test_a_broken_stream_goes_on_failing_the_same_way(server: RivaServer) -> None:
    server.script = reject(grpc.StatusCode.RESOURCE_EXHAUSTED, "exceeded rate limit")
    async with RivaBackend(server.endpoint()) as backend, backend.open(CONFIG, label="s1") as stream:
        for _ in range(3):
            with pytest.raises(errors.QuotaExceeded):
                await anext(stream)
            with pytest.raises(errors.QuotaExceeded):
                await stream.send(SPEECH)


async def test_a_backend_that_never_answers_speech_has_stalled(server: RivaServer) -> None:
    server.script = mute
    async with RivaBackend(server.endpoint(first_answer_timeout=0.1)) as backend:
        caught = await failure_of(backend, chunks=3)
    assert (type(caught), caught.detail) == (errors.BackendStalled, "no answer to 0.3 s of audio")


def steady_until(hangs: asyncio.Event) -> Script:
    """Answers each chunk with how far it has heard, until it hangs."""

    async def script(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        heard = 0.0
        async for request in requests:
            if hangs.is_set():
                await asyncio.Event().wait()
            if request.audio_content:
                heard += 0.1
                response = pb.StreamingRecognizeResponse()
                response.results.add(audio_processed=heard)
                yield response

    return script


async def keep_sending(stream: RivaStream, chunk: bytes = SILENCE) -> None:
    while True:
        await stream.send(chunk)
        await asyncio.sleep(0.02)


async def test_a_backend_that_answered_silence_and_hangs_is_found_in_silence(server: RivaServer) -> None:
    hangs = asyncio.Event()
    server.script = steady_until(hangs)
    async with RivaBackend(server.endpoint(stall_timeout=0.3, first_answer_timeout=1000.0)) as backend:
        with pytest.raises(errors.BackendStalled, match="no answer to"):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream, task_group() as tasks:
                tasks.start_soon(keep_sending, stream)
                for _ in range(5):
                    await anext(stream)
                hangs.set()
                await read_all(stream)
        # The next stream is expected to answer silence from its start.
        with pytest.raises(errors.BackendStalled):  # noqa: PT012
            async with backend.open(CONFIG, label="s2") as stream, task_group() as tasks:
                tasks.start_soon(keep_sending, stream)
                await read_all(stream)


async def test_a_backend_that_hangs_in_mid_utterance_is_found_though_it_answers_words_only(server: RivaServer) -> None:
    async def script(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        yield interim("so far")
        await asyncio.Event().wait()

    server.script = script
    async with RivaBackend(server.endpoint(stall_timeout=0.3, first_answer_timeout=1000.0)) as backend:
        with pytest.raises(errors.BackendStalled, match="no answer to"):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream, task_group() as tasks:
                tasks.start_soon(keep_sending, stream, SPEECH)
                await read_all(stream)


async def test_an_endpoint_that_answers_neither_audio_nor_a_question_hangs(server: RivaServer) -> None:
    hangs = asyncio.Event()
    server.script = steady_until(hangs)
    async with RivaBackend(server.endpoint(hang_timeout=0.4, stall_timeout=1000.0)) as backend:
        with pytest.raises(errors.BackendStalled, match="neither to audio nor to a question"):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream, task_group() as tasks:
                tasks.start_soon(keep_sending, stream, SPEECH)
                await anext(stream)
                hangs.set()
                server.hold_questions.clear()
                await read_all(stream)
        server.hold_questions.set()


async def test_an_endpoint_that_hangs_is_found_though_its_question_is_given_up(server: RivaServer) -> None:
    server.script = mute
    async with RivaBackend(
        server.endpoint(hang_timeout=0.6, probe_timeout=0.1, stall_timeout=1000.0, first_answer_timeout=1000.0)
    ) as backend:
        with pytest.raises(errors.BackendStalled, match="neither to audio nor to a question"):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream, task_group() as tasks:
                tasks.start_soon(keep_sending, stream, SPEECH)
                server.hold_questions.clear()
                await read_all(stream)
        server.hold_questions.set()


async def test_an_endpoint_that_is_slow_to_hear_and_answers_questions_does_not_hang(server: RivaServer) -> None:
    async def slow(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        async for request in requests:
            if request.audio_content and server.questions >= 4:
                yield interim("at last")

    server.script = slow
    async with (
        RivaBackend(server.endpoint(hang_timeout=0.2, stall_timeout=1000.0, first_answer_timeout=1000.0)) as backend,
        backend.open(CONFIG, label="s1") as stream,
        task_group() as tasks,
    ):
        tasks.start_soon(keep_sending, stream, SPEECH)
        assert (await anext(stream)).text == "at last"
        tasks.cancel_scope.cancel()


async def test_a_blocked_event_loop_is_not_taken_for_a_hung_backend(server: RivaServer) -> None:
    server.script = steady_until(asyncio.Event())
    async with RivaBackend(server.endpoint(stall_timeout=0.5)) as backend, backend.open(CONFIG, label="s1") as stream:
        for _ in range(6):
            await stream.send(SILENCE)
            await anext(stream)
        for _ in range(3):
            await stream.send(bytes(32_000))  # a second at once: as much as a stall needs
            time.sleep(0.8)  # noqa: ASYNC251  # the fault
            await anext(stream)


async def test_a_backend_that_takes_no_more_audio_has_stalled(server: RivaServer) -> None:
    async def deaf(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        yield interim("hm")
        await asyncio.Event().wait()

    server.script = deaf
    async with RivaBackend(server.endpoint(first_answer_timeout=0.1)) as backend:
        with pytest.raises(errors.BackendStalled, match="not taken"):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream:
                await anext(stream)
                while True:
                    await stream.send(bytes(320_000))


async def test_a_backend_that_does_not_end_after_the_audio_has_stalled(server: RivaServer) -> None:
    server.script = mute
    async with RivaBackend(server.endpoint(finish_timeout=0.05)) as backend:
        with pytest.raises(errors.BackendStalled, match="no end within"):  # noqa: PT012
            async with backend.open(CONFIG, label="s1") as stream:
                await stream.finish()
                await read_all(stream)


async def test_leaving_the_context_cancels_the_call(server: RivaServer) -> None:
    server.script = mute
    async with RivaBackend(server.endpoint()) as backend:
        async with backend.open(CONFIG, label="s1") as stream:
            await stream.send(SPEECH)
            await server.busy.wait()
        with anyio.fail_after(5):
            await server.idle.wait()


async def test_cancelling_the_reader_passes_and_ends_the_call(server: RivaServer) -> None:
    server.script = mute
    async with RivaBackend(server.endpoint()) as backend:
        with anyio.CancelScope() as scope:
            async with backend.open(CONFIG, label="s1") as stream, anyio.create_task_group() as tasks:
                tasks.start_soon(read_all, stream)
                await stream.send(SPEECH)
                await server.busy.wait()
                scope.cancel()
        assert scope.cancelled_caught
        with anyio.fail_after(5):
            await server.idle.wait()


async def test_closing_the_backend_loses_its_streams_and_a_later_one_opens(server: RivaServer) -> None:
    backend = RivaBackend(server.endpoint())
    async with backend.open(CONFIG, label="s1") as stream:
        await stream.send(SPEECH)
        await anext(stream)
        reader = asyncio.create_task(read_all(stream))
        await anyio.wait_all_tasks_blocked()
        await backend.aclose()
        with pytest.raises(errors.StreamLost):
            await reader
    server.script = echo
    async with backend, backend.open(CONFIG, label="s2") as stream:
        await stream.finish()
        assert [result.text for result in await read_all(stream)] == ["0 chunks"]


async def test_closing_the_backend_fails_a_stream_that_is_being_opened(server: RivaServer) -> None:
    server.hold_questions.clear()
    backend = RivaBackend(server.endpoint())
    opening = asyncio.create_task(backend.probe())
    await anyio.wait_all_tasks_blocked()
    await backend.aclose()
    with pytest.raises(errors.ConnectionFailed, match="closed by us"):
        await opening


def calls_alive() -> int:
    gc.collect()
    return sum(isinstance(thing, grpc.aio.StreamStreamCall) for thing in gc.get_objects())


async def test_two_hundred_streams_of_all_fates_leave_nothing_behind(server: RivaServer) -> None:
    async def refused(backend: RivaBackend) -> None:
        server.script = reject(grpc.StatusCode.RESOURCE_EXHAUSTED, "exceeded rate limit")
        await failure_of(backend)

    async def broken(backend: RivaBackend) -> None:
        server.script = reject(grpc.StatusCode.INTERNAL, "broken", after=4)
        await failure_of(backend)

    async def complete(backend: RivaBackend) -> None:
        server.script = echo
        async with backend.open(CONFIG, label="s") as stream:
            await stream.send(SPEECH)
            await stream.finish()
            await read_all(stream)

    async def left(backend: RivaBackend) -> None:
        server.script = mute
        async with backend.open(CONFIG, label="s") as stream:
            await stream.send(SPEECH)

    async def cancelled(backend: RivaBackend) -> None:
        server.script = mute
        with anyio.CancelScope() as scope:
            async with backend.open(CONFIG, label="s") as stream, anyio.create_task_group() as tasks:
                tasks.start_soon(read_all, stream)
                tasks.start_soon(keep_sending, stream)
                await asyncio.sleep(0.01)
                scope.cancel()

    async def never_opened(backend: RivaBackend) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with backend.open(CONFIG, label="s"):
                pass

    fates = [refused, broken, complete, left, cancelled, never_opened]
    async with RivaBackend(server.endpoint()) as backend:
        for fate in fates:
            await fate(backend)
        before = calls_alive(), len(asyncio.all_tasks())
        for number in range(200):
            await fates[number % len(fates)](backend)
        with anyio.fail_after(5):
            await server.idle.wait()
            while (calls_alive(), len(asyncio.all_tasks())) > before:  # noqa: ASYNC110  # nothing tells its end
                await asyncio.sleep(0.05)


# ---- a status that is lost all the same


class LostCall:
    """A call whose status grpc.aio has replaced for good."""

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def cancel(self) -> bool:
        return False

    def add_done_callback(self, callback: Any) -> None:
        callback(self)

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INTERNAL

    async def details(self) -> str:
        return "Internal error from Core"

    async def trailing_metadata(self) -> tuple[()]:
        return ()

    async def write(self, message: bytes) -> None:
        raise asyncio.InvalidStateError("RPC already finished.")

    async def __aiter__(self) -> AsyncIterator[None]:
        return
        yield


@pytest.mark.parametrize("diagnosis", [errors.QuotaExceeded("asked again"), None])
async def test_a_lost_status_is_asked_for(diagnosis: SpeechError | None) -> None:
    async def diagnose() -> None:
        if diagnosis is not None:
            raise diagnosis

    async def answers() -> bool:
        return True

    failures: list[None] = []
    endpoint = Endpoint(name="riva", address="127.0.0.1:1")
    stream = RivaStream(
        LostCall,
        CONFIG,
        endpoint,
        Watch(),
        Pulse(answers),
        diagnose=diagnose,
        on_failure=lambda: failures.append(None),
    )
    with pytest.raises(SpeechError) as caught:
        await stream.send(SPEECH)
    assert not await stream.aclose()
    await stream.drain()
    assert (type(caught.value), failures) == (type(diagnosis or errors.StreamLost()), [None])


async def test_an_error_names_phase_code_and_endpoint() -> None:
    error = speech_error("UNAVAILABLE", "Socket closed", phase=Phase.STREAMING, endpoint="riva-2")
    assert str(error) == (
        "RIVA_005 RIVA_STREAM_LOST: streaming failed, endpoint 'riva-2', grpc 'UNAVAILABLE',"
        " backend said 'Socket closed'"
    )
