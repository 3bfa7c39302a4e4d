"""A speech server as one writes it without a second thought, to measure voxtree against: `python -m bench.naive`.

One loop for each connection receives audio and passes it on to Riva. When a call fails, the client gets an error, the
loop sleeps for twice as long as the last time, and opens a call to the other Riva. Nothing is kept for replay, nothing
watches for a Riva that has gone silent, and no audio is received while the loop waits.

It speaks as much of `voxtree.v1` as the clients of the measurements need, and prints its address.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

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
            await self._transcribe(client, start["config"])

    async def _transcribe(self, client: ServerConnection, config: dict[str, Any]) -> None:
        attempt = 0
        while attempt < RETRIES:
            which = attempt % len(self._channels)
            try:
                await self._one_call(client, config, which)
                await _tell(client, event="done", position=0, seq=0)
                return
            except grpc.aio.AioRpcError as error:
                await _tell(client, event="error", code=error.code().name, message=error.details(), fatal=False)
                await asyncio.sleep(2**attempt)
                attempt += 1
        fatal = {"code": "FAILED", "message": "Speech recognition failed", "action": "none", "fatal": True}
        await _tell(client, event="error", **fatal)

    async def _one_call(self, client: ServerConnection, config: dict[str, Any], which: int) -> None:
        stub = RivaSpeechRecognitionStub(self._channels[which])
        call = stub.StreamingRecognize(_requests(client, config))
        async for response in call:
            for result in response.results:
                if result.alternatives:
                    await _tell(client, event="transcript", **_transcript(result), source=NAMES[which])


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


def _transcript(result: Any) -> dict[str, object]:
    return {"is_final": result.is_final, "text": result.alternatives[0].transcript.strip()}


async def _tell(client: ServerConnection, **event: object) -> None:
    await client.send(msgspec.json.encode(event).decode())


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(NaiveServer(sys.argv[1:]).run())
