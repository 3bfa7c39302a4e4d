"""A relay as one writes it without a second thought, to measure voxtree against: `python -m bench.relay.bare RIVA`.

Audio goes from a WebSocket to a gRPC stream, words go back as JSON. Nothing is kept, watched, counted or restarted.
With `--gather` it sends the audio as voxtree does, in messages of 100 ms, which is all that the two then share: what
voxtree costs besides is its supervision.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.peers import wire
from bench.relay.loops import LOOPS, run_on

RATE = 16_000
GATHERED = RATE * 2 // 10  # bytes in 100 ms


async def relay(client: ServerConnection, riva: RivaSpeechRecognitionStub, *, gather: bool) -> None:
    """Serve one client."""
    start = msgspec.json.decode(await client.recv())
    await client.send(wire.encode(wire.ready(start["config"])))
    call = riva.StreamingRecognize()
    config = pb.RecognitionConfig(encoding=1, sample_rate_hertz=RATE, language_code="en-US", max_alternatives=1)
    first = pb.StreamingRecognitionConfig(config=config, interim_results=True)
    await call.write(pb.StreamingRecognizeRequest(streaming_config=first))
    answering = asyncio.create_task(_answer(client, call))
    try:
        async for audio in _gathered(client) if gather else _audio(client):
            await call.write(pb.StreamingRecognizeRequest(audio_content=audio))
        await call.done_writing()
        await answering
    finally:
        call.cancel()
        answering.cancel()


async def _audio(client: ServerConnection) -> AsyncIterator[bytes]:
    """Frames until the client says `stop`."""
    async for frame in client:
        if isinstance(frame, str):
            return
        yield frame


async def _gathered(client: ServerConnection) -> AsyncIterator[bytes]:
    audio = bytearray()
    async for frame in _audio(client):
        audio += frame
        if len(audio) >= GATHERED:
            yield bytes(audio)
            audio.clear()
    if audio:
        yield bytes(audio)


async def _answer(client: ServerConnection, call: Any) -> None:
    finals = 0
    with suppress(ConnectionClosed):
        async for response in call:
            for result in response.results:
                finals += result.is_final
                text = result.alternatives[0].transcript if result.alternatives else ""
                message = wire.transcript(text, finals if result.is_final else 0, "riva")
                await client.send(wire.encode(message))
        await client.send(wire.encode(wire.done()))


async def main(riva: str, *, gather: bool) -> None:
    """Serve for ever."""
    async with grpc.aio.insecure_channel(riva) as channel:
        stub = RivaSpeechRecognitionStub(channel)
        async with serve(
            lambda client: relay(client, stub, gather=gather), "127.0.0.1", 0, compression=None, ping_interval=None
        ) as server:
            print(f"listening on ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/transcribe", flush=True)
            await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("riva")
    parser.add_argument("--gather", action="store_true")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    args = parser.parse_args()
    run_on(args.loop, main(args.riva, gather=args.gather))
