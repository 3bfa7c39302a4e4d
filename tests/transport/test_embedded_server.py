"""NVIDIA's own client, and its stubs, against our server in its own process."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import riva.client
from riva.client.proto import health_pb2
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.health_pb2_grpc import HealthStub
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub

from tests.transport.embedded.process import Running, running
from tests.transport.embedded.speech import demo_pcm, pieces
from tests.transport.wavs import wav
from transport.audio.g711 import ALAW, MULAW
from transport.cli.recording import SENTENCES
from transport.embedded.config import LANGUAGE
from transport.embedded.recognise import Recogniser

pytestmark = pytest.mark.slow

FIRST_SENTENCE = 2 * 48_000  # bytes
LINEAR_PCM = riva.client.AudioEncoding.LINEAR_PCM
MAX_STREAMS = 4
TIMEOUT = 60.0  # seconds; a call that hangs shall fail the test, not stop the suite


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running("--listen", "127.0.0.1:0", "--max-streams", str(MAX_STREAMS)) as one:
        yield one


@pytest.fixture
def service(server: Running) -> Iterator[riva.client.ASRService]:
    auth = riva.client.Auth(uri=server.address)
    yield riva.client.ASRService(auth)
    auth.channel.close()


@pytest.fixture
def stub(server: Running) -> Iterator[RivaSpeechRecognitionStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield RivaSpeechRecognitionStub(channel)


def config(**fields: Any) -> pb.RecognitionConfig:
    defaults = {
        "encoding": LINEAR_PCM,
        "sample_rate_hertz": 16_000,
        "language_code": LANGUAGE,
        "enable_automatic_punctuation": True,
        "enable_word_time_offsets": True,
    }
    return pb.RecognitionConfig(**{**defaults, **fields})


def streaming(*, interims: bool = False, **fields: Any) -> pb.StreamingRecognitionConfig:
    return pb.StreamingRecognitionConfig(config=config(**fields), interim_results=interims)


def results_of(responses: Any) -> list[pb.StreamingRecognitionResult]:
    return [result for response in responses for result in response.results]


def finals_of(responses: Any) -> list[pb.SpeechRecognitionAlternative]:
    return [result.alternatives[0] for result in results_of(responses) if result.is_final]


def texts(responses: Any) -> list[str]:
    return [final.transcript for final in finals_of(responses)]


def timed(words: Any) -> list[tuple[str, int, int]]:
    return [(word.word, word.start_time, word.end_time) for word in words]


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def test_nvidia_s_client_gets_the_words_of_a_stream(service: riva.client.ASRService) -> None:
    responses = service.streaming_response_generator(pieces(demo_pcm()), streaming())
    assert texts(responses) == list(SENTENCES)


def test_nvidia_s_client_gets_the_words_of_a_file(service: riva.client.ASRService) -> None:
    response = service.offline_recognize(wav(demo_pcm()), config(encoding=0, sample_rate_hertz=0))
    assert [result.alternatives[0].transcript for result in response.results] == list(SENTENCES)
    assert response.results[-1].audio_processed == pytest.approx(12.288, abs=0.001)


def test_nvidia_s_client_lists_the_model(service: riva.client.ASRService) -> None:
    response = service.stub.GetRivaSpeechRecognitionConfig(pb.RivaSpeechRecognitionConfigRequest())
    (model,) = response.model_config
    assert model.model_name == "moonshine-tiny-en"
    assert (model.parameters["language_code"], model.parameters["type"]) == (LANGUAGE, "online")
    other = service.stub.GetRivaSpeechRecognitionConfig(pb.RivaSpeechRecognitionConfigRequest(model_name="other"))
    assert list(other.model_config) == []


def test_a_file_is_streamed_with_its_header(service: riva.client.ASRService, tmp_path: Path) -> None:
    path = tmp_path / "demo.wav"
    path.write_bytes(wav(demo_pcm()[:FIRST_SENTENCE]))
    with riva.client.AudioChunkFileIterator(path, 1_600) as chunks:
        assert texts(service.streaming_response_generator(chunks, streaming())) == [SENTENCES[0]]


def test_finals_are_the_same_at_any_chunk_size_and_load_and_those_of_the_bare_engine(
    stub: RivaSpeechRecognitionStub,
) -> None:
    expected = [
        (final.text, [(word.text, word.start * 1_000 // 16_000, word.end * 1_000 // 16_000) for word in final.words])
        for final in Recogniser().transcribe(demo_pcm())
    ]

    def recognise(size: int, interims: bool) -> list[tuple[str, list[tuple[str, int, int]]]]:
        responses = streamed(stub, pieces(demo_pcm(), size), streaming(interims=interims))
        return [(final.transcript, timed(final.words)) for final in finals_of(responses)]

    with ThreadPoolExecutor() as threads:
        found = list(threads.map(recognise, [999, 6_400, 64_000, 1_000_000], [True, True, False, False]))
    assert found == [expected] * 4


def streamed(stub: RivaSpeechRecognitionStub, chunks: list[bytes], stream_config: Any) -> Any:
    return stub.StreamingRecognize(requests(chunks, stream_config), timeout=TIMEOUT)


def requests(chunks: list[bytes], stream_config: Any) -> Iterator[pb.StreamingRecognizeRequest]:
    yield pb.StreamingRecognizeRequest(streaming_config=stream_config)
    for chunk in chunks:
        yield pb.StreamingRecognizeRequest(audio_content=chunk)


def test_a_stream_tells_its_progress_stability_and_id(stub: RivaSpeechRecognitionStub) -> None:
    audio = bytes(2 * 40_000) + demo_pcm()[:FIRST_SENTENCE] + bytes(2 * 40_000)
    results = results_of(streamed(stub, pieces(audio), streaming(interims=True)))
    processed = [result.audio_processed for result in results]
    assert processed == sorted(processed)
    assert processed[-1] == len(audio) / 32_000
    assert [result.audio_processed for result in results if not result.alternatives][:2] == pytest.approx(
        [1.024, 2.048]
    )
    early = [result for result in results if result.stability == 1.0]
    assert early[-1].alternatives[0].transcript == SENTENCES[0]
    assert not early[-1].is_final
    (final,) = (result for result in results if result.is_final)
    assert 0.9 < final.alternatives[0].confidence <= 1.0


def test_the_id_of_a_request_comes_back(stub: RivaSpeechRecognitionStub) -> None:
    first = pb.StreamingRecognizeRequest(streaming_config=streaming())
    first.id.value = "session-7"
    audio = pb.StreamingRecognizeRequest(audio_content=demo_pcm()[:FIRST_SENTENCE])
    assert {response.id.value for response in stub.StreamingRecognize(iter([first, audio]), timeout=TIMEOUT)} == {
        "session-7"
    }
    unary = pb.RecognizeRequest(config=config(), audio=bytes(3_200))
    unary.id.value = "file-7"
    assert stub.Recognize(unary).id.value == "file-7"


def test_words_times_and_punctuation_come_only_where_asked_for(stub: RivaSpeechRecognitionStub) -> None:
    plain = streaming(enable_automatic_punctuation=False, enable_word_time_offsets=False)
    (final,) = finals_of(streamed(stub, [demo_pcm()[:FIRST_SENTENCE]], plain))
    assert (final.transcript, list(final.words)) == (SENTENCES[0].lower().rstrip("."), [])


@pytest.mark.parametrize(("encoding", "table"), [("MULAW", MULAW), ("ALAW", ALAW)])
def test_telephone_encodings_at_8_khz_are_understood(
    stub: RivaSpeechRecognitionStub, encoding: str, table: tuple[int, ...]
) -> None:
    narrow = memoryview(demo_pcm()[:FIRST_SENTENCE]).cast("h")[::2]
    codes = sorted(range(256), key=table.__getitem__)
    levels = [table[code] for code in codes]
    audio = bytes(codes[min(_nearest(levels, sample), 255)] for sample in narrow)
    telephone = streaming(encoding=getattr(riva.client.AudioEncoding, encoding), sample_rate_hertz=8_000)
    assert texts(streamed(stub, pieces(audio, 800), telephone)) == [SENTENCES[0]]


def _nearest(levels: list[int], sample: int) -> int:
    return bisect_left(levels, sample)


def test_endpointing_config_decides_which_pause_ends_an_utterance(stub: RivaSpeechRecognitionStub) -> None:
    patient = streaming()
    patient.config.endpointing_config.stop_history = 3_000
    (final,) = finals_of(streamed(stub, pieces(demo_pcm()[: 2 * 110_000]), patient))
    assert final.transcript == " ".join(SENTENCES[:2])


@pytest.mark.anyio
async def test_force_eou_gives_a_final_now_and_the_stream_goes_on(server: Running) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = RivaSpeechRecognitionStub(channel).StreamingRecognize(timeout=TIMEOUT)
        await call.write(pb.StreamingRecognizeRequest(streaming_config=streaming()))
        cut = 2 * 32_000
        force = pb.StreamingRecognizeRequest(audio_content=demo_pcm()[:cut], runtime_config={"force_eou": "true"})
        await call.write(force)
        first = await call.read()
        assert first.results[0].is_final
        assert first.results[0].alternatives[0].transcript.startswith("Every session has")
        await call.write(pb.StreamingRecognizeRequest(audio_content=demo_pcm()[cut:]))
        await call.done_writing()
        rest = []
        while (response := await call.read()) is not grpc.aio.EOF:
            rest += [result for result in response.results if result.is_final]
        assert [result.alternatives[0].transcript for result in rest][1:] == list(SENTENCES[1:])
        words = [word for result in [first.results[0], *rest] for word in result.alternatives[0].words]
        edges = [edge for word in words for edge in (word.start_time, word.end_time)]
        assert edges == sorted(edges)


MODEL = "Error: Unavailable model requested given these parameters: "
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"language_code": "ru-RU"}, MODEL + "language_code=ru-RU; sample_rate=16000; type=online; "),
    ({"language_code": "en"}, MODEL + "language_code=en; sample_rate=16000; type=online; "),
    ({"model": "parakeet"}, MODEL + "language_code=en-US; sample_rate=16000; type=online; "),
    ({"sample_rate_hertz": 4_000}, MODEL + "language_code=en-US; sample_rate=4000; type=online; "),
    ({"sample_rate_hertz": 0}, MODEL + "language_code=en-US; sample_rate=0; type=online; "),
    ({"encoding": 2}, "Error: encoding FLAC is not supported; send LINEAR_PCM, MULAW or ALAW"),
    ({"encoding": 4}, "Error: encoding OGGOPUS is not supported; send LINEAR_PCM, MULAW or ALAW"),
    ({"encoding": 77}, "Error: encoding 77 is not supported; send LINEAR_PCM, MULAW or ALAW"),
    ({"audio_channel_count": 2}, "Error: 2 audio channels are not supported; send mono audio"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED)
def test_what_is_not_there_is_refused_in_riva_s_words(
    stub: RivaSpeechRecognitionStub, fields: dict[str, Any], text: str
) -> None:
    call = partial(list, streamed(stub, [bytes(3_200)], streaming(**fields)))
    assert refusal(call) == ("INVALID_ARGUMENT", text)


def test_a_unary_call_is_refused_as_offline(stub: RivaSpeechRecognitionStub) -> None:
    request = pb.RecognizeRequest(config=config(language_code="de-DE"), audio=bytes(3_200))
    text = MODEL + "language_code=de-DE; sample_rate=16000; type=offline; "
    assert refusal(partial(stub.Recognize, request)) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize("data", [wav(bytes(800), tag=7, bits=8), b"OggS" + bytes(800), b"fLaC" + bytes(800)])
def test_a_header_that_contradicts_the_config_is_refused(stub: RivaSpeechRecognitionStub, data: bytes) -> None:
    expected = ("INVALID_ARGUMENT", "Error: config format doesn't match with header format")
    assert refusal(partial(list, streamed(stub, [data], streaming()))) == expected
    assert refusal(partial(stub.Recognize, pb.RecognizeRequest(config=config(), audio=data))) == expected


def test_a_stream_begins_with_its_config_and_has_only_one(stub: RivaSpeechRecognitionStub) -> None:
    audio = pb.StreamingRecognizeRequest(audio_content=bytes(3_200))
    begin = pb.StreamingRecognizeRequest(streaming_config=streaming())
    assert refusal(partial(list, stub.StreamingRecognize(iter([audio]), timeout=TIMEOUT))) == (
        "INVALID_ARGUMENT",
        "Error: the first message of a stream must hold its streaming_config",
    )
    assert refusal(partial(list, stub.StreamingRecognize(iter([begin, audio, begin]), timeout=TIMEOUT))) == (
        "INVALID_ARGUMENT",
        "Error: streaming_config may only be in the first message of a stream",
    )


@pytest.mark.parametrize("audio", [b"", b"\x01", bytes(3), b"\xff\x7f\x00\x80" * 8_001], ids=repr)
def test_garbage_is_no_error_and_no_words(stub: RivaSpeechRecognitionStub, audio: bytes) -> None:
    assert texts(streamed(stub, [audio[:50]], streaming())) == []


@pytest.mark.anyio
async def test_one_stream_too_many_is_refused_before_its_audio_and_a_place_is_free_again(
    server: Running, stub: RivaSpeechRecognitionStub
) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        aio_stub = RivaSpeechRecognitionStub(channel)
        calls = [await begun(aio_stub) for _ in range(MAX_STREAMS)]
        # Asked by the synchronous stub: grpc.aio may hide the status of a call that is refused while it writes.
        assert await asyncio.to_thread(refusal, partial(list, streamed(stub, [], streaming()))) == (
            "RESOURCE_EXHAUSTED",
            f"Error: all {MAX_STREAMS} streams of this recogniser are in use",
        )
        calls.pop().cancel()
        for _ in range(1_000):
            try:
                calls.append(await begun(aio_stub))
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0)
        assert len(calls) == MAX_STREAMS
        for call in calls:
            call.cancel()


async def begun(stub: RivaSpeechRecognitionStub) -> Any:
    """A stream that has answered: forcing the end of nothing reports the progress."""
    call = stub.StreamingRecognize(timeout=TIMEOUT)
    await call.write(pb.StreamingRecognizeRequest(streaming_config=streaming()))
    await call.write(pb.StreamingRecognizeRequest(runtime_config={"force_eou": "true"}))
    assert await call.read()
    return call


def test_health_is_serving_and_unknown_services_are_not_found(server: Running) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health = HealthStub(channel)
        for name in ("", "nvidia.riva.asr.RivaSpeechRecognition"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == 1
        watching = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == 1
        watching.cancel()
        unknown = health_pb2.HealthCheckRequest(service="nvidia.riva.tts")
        assert refusal(partial(health.Check, unknown)) == ("NOT_FOUND", "unknown service 'nvidia.riva.tts'")
