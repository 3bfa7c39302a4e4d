"""A client of a scripted Riva, on Riva's own stub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import grpc
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub

from bench.riva.server import ScriptedRiva

DEADLINE = 10.0  # seconds; nothing here takes one

Status = tuple[str, str]
OK: Status = ("OK", "")


class Call:
    """One stream. What it answers is read all the time; what is said is waited for."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._new = asyncio.Event()
        self.responses: list[pb.StreamingRecognizeResponse] = []
        self._reading = asyncio.create_task(self._read())

    @property
    def results(self) -> list[pb.StreamingRecognitionResult]:
        return [result for response in self.responses for result in response.results]

    @property
    def finals(self) -> list[str]:
        return [
            result.alternatives[0].transcript if result.alternatives else ""
            for result in self.results
            if result.is_final
        ]

    async def say(self, pcm: bytes, *, chunk: int = 3200) -> None:
        for start in range(0, len(pcm), chunk):
            await self.send(pb.StreamingRecognizeRequest(audio_content=pcm[start : start + chunk]))

    async def send(self, request: pb.StreamingRecognizeRequest) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # `ended` tells
            await self._call.write(request)

    async def until(self, responses: int) -> None:
        """Wait for so many responses in all."""
        with anyio.fail_after(DEADLINE):
            while len(self.responses) < responses:
                self._new.clear()
                await self._new.wait()

    async def until_final(self, finals: int) -> None:
        """Wait for so many finals in all."""
        with anyio.fail_after(DEADLINE):
            while len(self.finals) < finals:
                self._new.clear()
                await self._new.wait()

    async def finish(self) -> Status:
        """No more audio; how the stream ends."""
        await self._call.done_writing()
        return await self.ended()

    async def ended(self) -> Status:
        """How the stream ends."""
        with anyio.fail_after(DEADLINE):
            await asyncio.wait({self._reading})
            return (await self._call.code()).name, await self._call.details() or ""

    async def trailers(self) -> dict[str, str | bytes]:
        return dict(await self._call.trailing_metadata())

    async def close(self) -> None:
        self._call.cancel()
        await asyncio.wait({self._reading})

    async def _read(self) -> None:
        with suppress(grpc.aio.AioRpcError):  # `ended` tells
            async for response in self._call:
                self.responses.append(response)
                self._new.set()


class Caller:
    """One connection to a scripted Riva."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = RivaSpeechRecognitionStub(channel)

    @asynccontextmanager
    async def call(self, *, rate: int = 16_000, interims: bool = True, **config: Any) -> AsyncIterator[Call]:
        """A stream that has sent its config."""
        call = Call(self.stub.StreamingRecognize())
        try:
            await call.send(config_request(rate=rate, interims=interims, **config))
            yield call
        finally:
            await call.close()

    async def ask(self) -> pb.RivaSpeechRecognitionConfigResponse:
        return await self.stub.GetRivaSpeechRecognitionConfig(pb.RivaSpeechRecognitionConfigRequest(), timeout=DEADLINE)


def config_request(*, rate: int = 16_000, interims: bool = True, **config: Any) -> pb.StreamingRecognizeRequest:
    settings = {
        "encoding": "LINEAR_PCM",
        "language_code": "en-US",
        "enable_word_time_offsets": True,
        "sample_rate_hertz": rate,
    }
    return pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(
            interim_results=interims, config=pb.RecognitionConfig(**settings | config)
        )
    )


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something that nobody reports has happened."""
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(riva: ScriptedRiva) -> AsyncIterator[Caller]:
    """A connection that no other one shares."""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
    async with grpc.aio.insecure_channel(riva.address, options=options) as channel:
        yield Caller(channel)
