"""A running gRPC door, and Riva's own client in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.to_thread
import grpc
import riva.client
from prometheus_client import CollectorRegistry
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_audio_pb2 import AudioEncoding

from actors.speech.error_handler import ErrorHandler
from supervisor.spec import Child
from supervisor.tree import Supervisor
from transport.admission import Admission
from transport.app import App
from transport.backends import LAST_REPORTS
from transport.grpc_door import GrpcDoor
from transport.riva.preflight import Model
from transport.sessions import Sessions
from transport.settings import Server as ServerSettings

T = TypeVar("T")

PCM = b"\x01\x00" * 160
ENGLISH = Model(name="m", languages=frozenset({"en-us"}), streaming=True, parameters={"language_code": "en-US"})
RIVA = "/nvidia.riva.asr.RivaSpeechRecognition"


class Answer(NamedTuple):
    """All that a call was answered."""

    code: grpc.StatusCode
    text: str
    initial: dict[str, str]
    trailing: list[tuple[str, str]]
    responses: list[Any]

    @classmethod
    async def of(cls, call: Any) -> Answer:
        """Read a call to its end."""
        responses = []
        with suppress(grpc.aio.AioRpcError):
            while (response := await call.read()) is not grpc.aio.EOF:
                responses.append(response)
        code, text = await call.code(), await call.details()
        initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
        return cls(code, text, dict(initial or ()), list(trailing or ()), responses)

    @property
    def results(self) -> list[Any]:
        return [result for response in self.responses for result in response.results]

    @property
    def facts(self) -> dict[str, str]:
        return dict(self.trailing)


class House:
    """A door in a tree of its own."""

    def __init__(self, door: GrpcDoor, tree: Supervisor) -> None:
        self.door = door
        self.tree = tree

    @property
    def address(self) -> str:
        host, port = self.tree.value("riva door")
        return f"{host}:{port}"

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[grpc.aio.Channel, None]:
        async with grpc.aio.insecure_channel(self.address, options=[("grpc.enable_retries", 0)]) as channel:
            yield channel

    async def answers(
        self,
        *requests: pb.StreamingRecognizeRequest | bytes,
        metadata: Iterable[tuple[str, str]] = (),
        half_close: bool = True,
    ) -> Answer:
        """What a stream of these requests, messages or any bytes, is answered, and how it ends."""
        async with self.stream_call(metadata) as call:
            with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):  # it was over before all was written
                for request in requests:
                    await call.write(request if isinstance(request, bytes) else request.SerializeToString())
                if half_close:
                    await call.done_writing()
            return await Answer.of(call)

    @asynccontextmanager
    async def stream_call(self, metadata: Iterable[tuple[str, str]] = ()) -> AsyncGenerator[Any, None]:
        """A stream, whose requests are bytes; it is cancelled at the end."""
        async with self.channel() as channel:
            start = channel.stream_stream(
                f"{RIVA}/StreamingRecognize", response_deserializer=pb.StreamingRecognizeResponse.FromString
            )
            call = start(metadata=tuple(metadata))
            try:
                yield call
            finally:
                call.cancel()

    async def ask(self, use: Callable[[riva.client.ASRService], T]) -> T:
        """What Riva's own client gets; it is synchronous."""

        def work() -> T:
            auth = riva.client.Auth(uri=self.address)
            try:
                return use(riva.client.ASRService(auth))
            finally:
                auth.channel.close()

        return await anyio.to_thread.run_sync(work)

    async def stream(
        self, chunks: Iterable[bytes], config: pb.StreamingRecognitionConfig, into: list[Any] | None = None
    ) -> list[Any]:
        """The results of `streaming_response_generator`. `into`: where to put them as they come."""
        results: list[Any] = [] if into is None else into

        def use(service: riva.client.ASRService) -> list[Any]:
            for response in service.streaming_response_generator(chunks, config):
                results.extend(response.results)
            return results

        return await self.ask(use)


@asynccontextmanager
async def opened(sessions: Sessions, errors: ErrorHandler | None = None, **options: Any) -> AsyncGenerator[House, None]:
    async def models() -> list[Model]:
        return [ENGLISH]

    door = GrpcDoor(
        "127.0.0.1",
        0,
        sessions,
        errors or ErrorHandler(CollectorRegistry()),
        **{"models": models, "admission": Admission(ServerSettings()), "shutdown_timeout": 2.0, **options},
    )
    tree = Supervisor([Child("riva door", door.serve, shutdown=5.0)])
    with anyio.fail_after(10):
        async with tree:
            yield House(door, tree)
        await anyio.sleep(LAST_REPORTS)


@asynccontextmanager
async def before(app: App) -> AsyncGenerator[House, None]:
    """A door before the sessions of a whole server."""
    async with opened(app.sessions, app.errors, models=app.backends.models) as house:
        yield house


def config(**fields: Any) -> pb.RecognitionConfig:
    usual = {
        "encoding": AudioEncoding.LINEAR_PCM,
        "sample_rate_hertz": 16_000,
        "language_code": "en-US",
        "audio_channel_count": 1,
        "max_alternatives": 1,
        "enable_word_time_offsets": True,
        "enable_automatic_punctuation": True,
    }
    return pb.RecognitionConfig(**(usual | fields))


def streaming(*, interim_results: bool = True, **fields: Any) -> pb.StreamingRecognitionConfig:
    return pb.StreamingRecognitionConfig(config=config(**fields), interim_results=interim_results)


def first(**fields: Any) -> pb.StreamingRecognizeRequest:
    """The first message of a stream."""
    return pb.StreamingRecognizeRequest(streaming_config=streaming(**fields))


def audio(pcm: bytes = PCM) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(audio_content=pcm)
