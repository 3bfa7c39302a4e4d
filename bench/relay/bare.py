"""A relay as one writes it without a second thought, to measure voxtree against: `python -m bench.relay.bare RIVA`.

Audio goes from a WebSocket to a gRPC stream, words go back as JSON. Nothing is kept, watched, counted or restarted.
With `--gather` it sends the audio as voxtree does, in messages of 100 ms, which is all that the two then share: what
voxtree costs besides is its supervision.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.relay.loops import LOOPS, run_on

RATE = 16_000
GATHERED = RATE * 2 // 10  # bytes in 100 ms


async def relay(client: ServerConnection, riva: RivaSpeechRecognitionStub, *, gather: bool) -> None:
    """Serve one client."""
    await client.recv()  # `start`
    call = riva.StreamingRecognize()
    config = pb.RecognitionConfig(encoding=1, sample_rate_hertz=RATE, language_code="en-US", max_alternatives=1)
    first = pb.StreamingRecognitionConfig(config=config, interim_results=True)
    await call.write(pb.StreamingRecognizeRequest(streaming_config=first))
    answering = asyncio.create_task(_answer(client, call))
    try:
        async for audio in _gathered(client) if gather else client:
            await call.write(pb.StreamingRecognizeRequest(audio_content=audio))
    finally:
        call.cancel()
        answering.cancel()


async def _gathered(client: ServerConnection) -> AsyncIterator[bytes]:
    audio = bytearray()
    async for frame in client:
        audio += frame  # type: ignore[arg-type]  # a client that sends text now is none of ours
        if len(audio) >= GATHERED:
            yield bytes(audio)
            audio.clear()


async def _answer(client: ServerConnection, call: Any) -> None:
    with suppress(ConnectionClosed):
        async for response in call:
            for result in response.results:
                text = result.alternatives[0].transcript
                await client.send(json.dumps({"event": "transcript", "is_final": result.is_final, "text": text}))


async def main(riva: str, *, gather: bool) -> None:
    """Serve for ever."""
    async with grpc.aio.insecure_channel(riva) as channel:
        stub = RivaSpeechRecognitionStub(channel)
        async with serve(
            lambda client: relay(client, stub, gather=gather), "127.0.0.1", 0, compression=None, ping_interval=None
        ) as server:
            print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/transcribe", flush=True)
            await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("riva")
    parser.add_argument("--gather", action="store_true")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    args = parser.parse_args()
    run_on(args.loop, main(args.riva, gather=args.gather))
