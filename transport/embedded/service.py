"""Riva's speech recognition service, as its protobuf files describe it, on the embedded engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionServicer

from transport.embedded.audio import InvalidAudio, UnsupportedRate
from transport.embedded.config import (
    Refused,
    Settings,
    invalid,
    model_config,
    read_offline,
    read_streaming,
    unavailable_model,
)
from transport.embedded.engine import Engine
from transport.embedded.scheduler import Scheduler
from transport.embedded.stream import Stream

logger = logging.getLogger(__name__)

NO_CONFIG = "Error: the first message of a stream must hold its streaming_config"
SECOND_CONFIG = "Error: streaming_config may only be in the first message of a stream"


class RivaService(RivaSpeechRecognitionServicer):  # type: ignore[misc]
    """Answers as Riva does, status codes and texts included.

    Args:
        max_streams: calls served at the same time; further ones are refused before their audio is read.
    """

    def __init__(self, engine: Engine, scheduler: Scheduler, *, max_streams: int) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._max_streams = max_streams
        self._streams = 0

    async def StreamingRecognize(self, requests: AsyncIterator[Any], context: Any) -> None:
        try:
            with self._admitted():
                await self._stream(requests, context)
        except Refused as refusal:
            await context.abort(refusal.code, refusal.details)

    async def Recognize(self, request: Any, context: Any) -> Any:
        try:
            with self._admitted():
                return await self._recognise(request)
        except Refused as refusal:
            await context.abort(refusal.code, refusal.details)

    async def GetRivaSpeechRecognitionConfig(self, request: Any, context: Any) -> Any:
        model = self._engine.model
        known = request.model_name in ("", model)
        return pb.RivaSpeechRecognitionConfigResponse(model_config=[model_config(model)] if known else [])

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._streams >= self._max_streams:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"Error: all {self._max_streams} streams of this recogniser are in use",
            )
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> None:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        if not first.HasField("streaming_config"):
            raise invalid(NO_CONFIG)
        config = first.streaming_config
        settings = read_streaming(config, self._engine.model)
        with _refusals(config.config, "online"):
            call = _Call(first.id, self._open(settings))
            reading = asyncio.create_task(call.read(requests))
            try:
                await call.answer(context)
            finally:
                reading.cancel()
                await asyncio.wait({reading})
                call.stream.close()

    async def _recognise(self, request: Any) -> Any:
        settings = read_offline(request.config, self._engine.model)
        with _refusals(request.config, "offline"):
            stream = self._open(settings, offline=True)
            reading = asyncio.create_task(_hear_all(stream, request.audio))
            try:
                results = [_offline(result) async for result in stream.results() if _has_words(result)]
            finally:
                reading.cancel()
                await asyncio.wait({reading})
                stream.close()
        return pb.RecognizeResponse(results=results, id=request.id if request.HasField("id") else None)

    def _open(self, settings: Settings, *, offline: bool = False) -> Stream:
        return Stream(settings, self._engine, self._scheduler, offline=offline)


class _Call:
    """Connects one streaming call's messages with its stream."""

    def __init__(self, request_id: Any, stream: Stream) -> None:
        self._id = request_id
        self.stream = stream

    async def read(self, requests: AsyncIterator[Any]) -> None:
        try:
            async for request in requests:
                await self._take(request)
            await self.stream.finish()
        except Exception as exc:  # the task that answers raises it, after the results that came before
            await self.stream.fail(exc)

    async def answer(self, context: Any) -> None:
        async for result in self.stream.results():
            await context.write(pb.StreamingRecognizeResponse(results=[result], id=self._id))

    async def _take(self, request: Any) -> None:
        if request.HasField("streaming_config"):
            raise invalid(SECOND_CONFIG)
        if request.HasField("id"):
            self._id = request.id
        if request.audio_content:
            await self.stream.hear(request.audio_content)
        if request.runtime_config.get("force_eou", "").lower() == "true":
            await self.stream.force()


async def _hear_all(stream: Stream, audio: bytes) -> None:
    try:
        await stream.hear(audio)
        await stream.finish()
    except Exception as exc:  # the task that collects the results raises it
        await stream.fail(exc)


def _has_words(result: Any) -> bool:
    return bool(result.is_final and result.alternatives[0].transcript)


def _offline(result: Any) -> Any:
    return pb.SpeechRecognitionResult(
        alternatives=result.alternatives,
        channel_tag=result.channel_tag,
        audio_processed=result.audio_processed,
    )


@contextmanager
def _refusals(config: Any, mode: str) -> Iterator[None]:
    """What the stream raises, as the status that Riva would answer."""
    try:
        yield
    except (Refused, grpc.RpcError):
        raise
    except InvalidAudio as exc:
        raise invalid(str(exc)) from exc
    except UnsupportedRate as exc:
        raise unavailable_model(config, exc.rate, mode) from exc
    except Exception as exc:
        logger.exception("a stream failed", extra={"event": "embedded.stream_failed"})
        raise Refused(grpc.StatusCode.INTERNAL, f"Error: model failed during inference. Error message: {exc}") from exc
