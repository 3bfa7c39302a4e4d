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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.peers import wire

RETRIES = 6
NAMES = ("primary", "fallback")

Messages = AsyncIterator[str | bytes]
Send = Callable[[str], Awaitable[None]]


class Handler:
    """What becomes of a connection, whichever server accepted it. To be made where an event loop runs.

    Args:
        addresses: of the Rivas; calls that fail are followed by one to the next.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._stubs = [RivaSpeechRecognitionStub(grpc.aio.insecure_channel(address)) for address in addresses]

    async def serve(self, messages: Messages, send: Send) -> None:
        """Serve one client, from its `start` on."""
        config = msgspec.json.decode(await anext(messages))["config"]
        await send(wire.encode(wire.ready(config)))
        attempt = 0
        numbers = count(1)
        while attempt < RETRIES:
            which = attempt % len(self._stubs)
            try:
                await self._one_call(which, messages, config, numbers, send)
                await send(wire.encode(wire.done()))
                return
            except grpc.aio.AioRpcError as error:
                await send(wire.encode(wire.error(error.code().name, error.details() or "", fatal=False)))
                await asyncio.sleep(2**attempt)
                attempt += 1
        await send(wire.encode(wire.error("FAILED", "Speech recognition failed", fatal=True)))

    async def _one_call(
        self, which: int, messages: Messages, config: dict[str, Any], numbers: Iterator[int], send: Send
    ) -> None:
        async for response in self._stubs[which].StreamingRecognize(_requests(messages, config)):
            for result in response.results:
                if result.alternatives:
                    seq = next(numbers) if result.is_final else 0
                    text = result.alternatives[0].transcript
                    await send(wire.encode(wire.transcript(text, seq, NAMES[which])))


async def _requests(messages: Messages, config: dict[str, Any]) -> AsyncIterator[Any]:
    recognition = pb.RecognitionConfig(
        encoding="LINEAR_PCM",
        sample_rate_hertz=config["sample_rate"],
        language_code=config.get("language", "en-US"),
        enable_word_time_offsets=True,
    )
    streaming = pb.StreamingRecognitionConfig(config=recognition, interim_results=True)
    yield pb.StreamingRecognizeRequest(streaming_config=streaming)
    async for message in messages:
        if isinstance(message, str):  # stop
            return
        yield pb.StreamingRecognizeRequest(audio_content=message)


async def main(addresses: Sequence[str]) -> None:
    """Serve for ever."""
    handler = Handler(addresses)

    async def on_client(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await handler.serve(aiter(client), client.send)

    async with serve(on_client, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on ws://127.0.0.1:{port}/transcribe", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
