"""A speech server as one writes it without a second thought, to measure voxtree against: `python -m bench.naive`.

One loop for each connection receives audio and passes it on to Riva. When a call fails, the client gets an error, the
loop sleeps for twice as long as the last time, and opens a call to the other Riva. Nothing is kept for replay, nothing
watches for a Riva that has gone silent, and no audio is received while the loop waits.

It speaks as much of `voxtree.v1` as the clients of the measurements need, and prints its address. It has no tokens: a
client that loses its connection has lost its session.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from transport.wire.voxtree_v1_schema import (
    DoneMessage,
    ErrorMessage,
    ReadyConfig,
    ReadyLimits,
    ReadyMessage,
    ServerMessage,
    TranscriptMessage,
)

RETRIES = 6
NAMES = ("primary", "fallback")


class NaiveServer:
    """Serves while its context is entered.

    Args:
        addresses: of the Rivas; calls that fail are followed by one to the next.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def run(self) -> None:
        """Serve for ever."""
        async with serve(self._on_client, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
            self._channels = [grpc.aio.insecure_channel(address) for address in self._addresses]
            port = next(iter(server.sockets)).getsockname()[1]
            print(f"listening on ws://127.0.0.1:{port}/transcribe", flush=True)
            await server.serve_forever()

    async def _on_client(self, client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            start = msgspec.json.decode(await client.recv())
            await _tell(client, _ready(start["config"]))
            await self._transcribe(client, start["config"])

    async def _transcribe(self, client: ServerConnection, config: dict[str, Any]) -> None:
        attempt = 0
        numbers = count(1)
        while attempt < RETRIES:
            which = attempt % len(self._channels)
            try:
                await self._one_call(client, config, which, numbers)
                await _tell(client, DoneMessage(position=0, seq=0))
                return
            except grpc.aio.AioRpcError as error:
                await _tell(client, _error(error.code().name, error.details() or "", fatal=False))
                await asyncio.sleep(2**attempt)
                attempt += 1
        await _tell(client, _error("FAILED", "Speech recognition failed", fatal=True))

    async def _one_call(
        self, client: ServerConnection, config: dict[str, Any], which: int, numbers: Iterator[int]
    ) -> None:
        stub = RivaSpeechRecognitionStub(self._channels[which])
        call = stub.StreamingRecognize(_requests(client, config))
        async for response in call:
            for result in response.results:
                if result.alternatives:
                    await _tell(client, _transcript(result, numbers, NAMES[which]))


async def _requests(client: ServerConnection, config: dict[str, Any]) -> AsyncIterator[Any]:
    recognition = pb.RecognitionConfig(
        encoding="LINEAR_PCM",
        sample_rate_hertz=config["sample_rate"],
        language_code=config["language"],
        enable_word_time_offsets=True,
    )
    streaming = pb.StreamingRecognitionConfig(config=recognition, interim_results=True)
    yield pb.StreamingRecognizeRequest(streaming_config=streaming)
    async for message in client:
        if isinstance(message, str):  # stop
            return
        yield pb.StreamingRecognizeRequest(audio_content=message)


def _ready(config: dict[str, Any]) -> ReadyMessage:
    asked = ReadyConfig(
        language=config["language"],
        encoding="pcm16",
        sample_rate=config["sample_rate"],
        channels=1,
        interim_results=True,
        word_times=False,
        punctuate=True,
        model="",
    )
    return ReadyMessage(
        session_id="naive",
        resume_token="",
        epoch=1,
        position=0,
        seq=0,
        resumed=False,
        config=asked,
        limits=ReadyLimits(max_chunk_bytes=1 << 20, max_message_bytes=1 << 22, idle_timeout_ms=0),
        credit=0,
        resume_window_ms=0,
        durability="memory",
    )


def _transcript(result: Any, numbers: Iterator[int], source: str) -> TranscriptMessage:
    return TranscriptMessage(
        is_final=result.is_final,
        seq=next(numbers) if result.is_final else 0,
        start=0,
        end=0,
        text=result.alternatives[0].transcript.strip(),
        source=source,
    )


def _error(code: str, text: str, *, fatal: bool) -> ErrorMessage:
    return ErrorMessage(
        code=code, name=code, category="RIVA", severity="ERROR", message=text, action="none", fatal=fatal, ref=""
    )


async def _tell(client: ServerConnection, message: ServerMessage) -> None:
    await client.send(msgspec.json.encode(message).decode())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(NaiveServer(sys.argv[1:]).run())
