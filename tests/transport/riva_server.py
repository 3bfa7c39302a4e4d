"""A real Riva server on loopback that does what a test's script says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Self

import grpc
from riva.client.proto import health_pb2
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto import riva_asr_pb2_grpc as rpc
from riva.client.proto.health_pb2_grpc import HealthServicer, add_HealthServicer_to_server

from transport.riva import Endpoint

Requests = AsyncIterator[pb.StreamingRecognizeRequest]
Script = Callable[[Requests, Any], AsyncIterator[pb.StreamingRecognizeResponse]]

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
ENGLISH = {"type": "online", "language_code": "en-US"}


class RivaServer(rpc.RivaSpeechRecognitionServicer):  # type: ignore[misc]
    """Serves while its context is entered.

    Args:
        port: 0 for one that the system picks.
        health: what its health service says; None: it has none.

    Attributes:
        checks: how often its health was asked for.
        script: what a stream answers; may be replaced between streams.
        models: what the server says it has loaded, by name.
        questions: how often it was asked for that.
        hold_questions: while unset, such questions stay unanswered.
        requests: everything received on streams, in order.
        headers: the metadata of the last stream.
        streams: how many are running.
        busy, idle: set while one is, and while none is.
    """

    def __init__(
        self, script: Script | None = None, *, port: int = 0, health: int | None = None, **options: Any
    ) -> None:
        self.script = script or echo
        self.models: Mapping[str, Mapping[str, str]] = {"conformer-en": ENGLISH}
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.questions = 0
        self.hold_questions = asyncio.Event()
        self.hold_questions.set()
        self.requests: list[pb.StreamingRecognizeRequest] = []
        self.headers: list[tuple[str, str | bytes]] = []
        self.streams = 0
        self.busy, self.idle = asyncio.Event(), asyncio.Event()
        self.idle.set()
        self.grpc = grpc.aio.server(options=[(f"grpc.{key}", value) for key, value in options.items()])
        rpc.add_RivaSpeechRecognitionServicer_to_server(self, self.grpc)
        self.health = health
        self.checks = 0
        if health is not None:
            add_HealthServicer_to_server(_Health(self), self.grpc)
        self.port = port

    async def __aenter__(self) -> Self:
        self.port = self.grpc.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.grpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.grpc.stop(None)

    def endpoint(self, **settings: Any) -> Endpoint:
        """Its endpoint."""
        return Endpoint(**({"name": "riva", "address": f"127.0.0.1:{self.port}"} | settings))

    def audio(self) -> bytes:
        """All audio received."""
        return b"".join(request.audio_content for request in self.requests)

    async def GetRivaSpeechRecognitionConfig(
        self, request: pb.RivaSpeechRecognitionConfigRequest, context: Any
    ) -> pb.RivaSpeechRecognitionConfigResponse:
        self.questions += 1
        await self.hold_questions.wait()
        if self.refusal is not None:
            await context.abort(*self.refusal)
        response = pb.RivaSpeechRecognitionConfigResponse()
        for name, parameters in self.models.items():
            response.model_config.add(model_name=name, parameters=parameters)
        return response

    async def StreamingRecognize(
        self, requests: Requests, context: Any
    ) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        self.streams += 1
        self.idle.clear()
        self.busy.set()
        self.headers = list(context.invocation_metadata())
        try:
            async for response in self.script(self._recorded(requests), context):
                yield response
        finally:
            self.streams -= 1
            if not self.streams:
                self.busy.clear()
                self.idle.set()

    async def _recorded(self, requests: Requests) -> Requests:
        async for request in requests:
            self.requests.append(request)
            yield request


class _Health(HealthServicer):  # type: ignore[misc]
    def __init__(self, server: RivaServer) -> None:
        self._server = server

    async def Check(self, request: Any, context: Any) -> Any:
        self._server.checks += 1
        return health_pb2.HealthCheckResponse(status=self._server.health)


async def echo(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
    """An interim for each chunk of audio, and a final at the end."""
    chunks = 0
    async for request in requests:
        if request.audio_content:
            chunks += 1
            yield interim(f"{chunks} chunks")
    yield final(f"{chunks} chunks")


async def mute(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
    """Takes everything, answers nothing, and never ends."""
    async for _ in requests:
        pass
    await asyncio.Event().wait()
    yield pb.StreamingRecognizeResponse()


def reject(code: grpc.StatusCode, text: str, *, after: int = 1, trailers: Any = ()) -> Script:
    """Ends with a status after that many requests (1: the config); each chunk of audio before is answered."""

    async def script(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        received = 0
        async for request in requests:
            received += 1
            if received == after:
                await context.abort(code, text, trailing_metadata=trailers)
            if request.audio_content:
                yield interim("so far")

    return script


def interim(text: str, **fields: Any) -> pb.StreamingRecognizeResponse:
    return _response(text, is_final=False, **fields)


def final(text: str, *, words: list[tuple[str, int, int]] | None = None, **fields: Any) -> Any:
    """A final result; `words` are text, start and end in ms."""
    response = _response(text, is_final=True, **fields)
    for word, start, end in words or ():
        response.results[0].alternatives[0].words.add(word=word, start_time=start, end_time=end, confidence=0.5)
    return response


def _response(text: str, *, confidence: float = 0.0, **fields: Any) -> pb.StreamingRecognizeResponse:
    response = pb.StreamingRecognizeResponse()
    response.results.add(**fields).alternatives.add(transcript=text, confidence=confidence)
    return response
