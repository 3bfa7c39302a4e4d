"""A Riva that costs next to nothing: `python -m bench.relay.backend` prints its address and serves for ever.

It answers every 100 ms of audio with an interim that says how much it has heard (`at 0000012` tenths of a second),
and every so often with a final. It looks at no audio and parses no request: what it takes of the machine is kept small
so that the gateway is what is measured. With `--stamps` an answer says as well when the audio was complete, in
microseconds of this machine's monotonic clock (`at 0000012 81234567`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import grpc
from riva.client.proto import riva_asr_pb2 as pb

from transport.loops import run

ANSWER = "at {:07d}"  # tenths of a second
RATE = 16_000
STEP = RATE * 2 // 10  # bytes of audio for each answer
FINAL_EVERY = 50  # answers: five seconds, an utterance as people make them
_SERVICE = "nvidia.riva.asr.RivaSpeechRecognition"
_OVERHEAD = 3  # bytes of a request with 128 B to 16 KiB of audio that are not audio: field and length


class Heard:
    """How far one stream has come. Pure."""

    def __init__(self, *, stamps: bool = False) -> None:
        self._stamps = stamps
        self._bytes = 0
        self._answers = 0

    def request(self, request: bytes) -> Iterator[bytes]:
        """The responses that a request with audio makes due."""
        self._bytes += len(request) - _OVERHEAD
        while self._bytes >= (self._answers + 1) * STEP:
            self._answers += 1
            yield response(self._answers, time.monotonic() if self._stamps else None)


def response(number: int, at: float | None = None) -> bytes:
    """What is said of the first `number` tenths of a second, serialised. `at`: when they were complete."""
    is_final = number % FINAL_EVERY == 0
    end = number * 100 - 50  # ms
    stamp = "" if at is None else f" {round(1e6 * at)}"
    best = pb.SpeechRecognitionAlternative(transcript=ANSWER.format(number) + stamp)
    if is_final:
        said, count = best.transcript.split(maxsplit=1)
        began = (number - FINAL_EVERY) * 100
        best.words.append(pb.WordInfo(word=said, start_time=began, end_time=end - 100))
        best.words.append(pb.WordInfo(word=count, start_time=end - 100, end_time=end))
    result = pb.StreamingRecognitionResult(
        alternatives=[best], is_final=is_final, stability=1.0 if is_final else 0.1, audio_processed=number / 10
    )
    return bytes(pb.StreamingRecognizeResponse(results=[result]).SerializeToString())


async def _recognise(requests: AsyncIterator[bytes], context: Any, *, stamps: bool) -> AsyncIterator[bytes]:
    heard = Heard(stamps=stamps)
    await anext(requests)  # the config
    async for request in requests:
        for answer in heard.request(request):
            yield answer


async def _models(request: bytes, context: Any) -> bytes:
    model = pb.RivaSpeechRecognitionConfigResponse.Config(
        model_name="counting", parameters={"language_code": "en-US", "streaming": "True", "type": "online"}
    )
    return bytes(pb.RivaSpeechRecognitionConfigResponse(model_config=[model]).SerializeToString())


async def main(*, stamps: bool) -> None:
    """Serve for ever."""
    server = grpc.aio.server()
    methods = {
        "StreamingRecognize": grpc.stream_stream_rpc_method_handler(partial(_recognise, stamps=stamps)),
        "GetRivaSpeechRecognitionConfig": grpc.unary_unary_rpc_method_handler(_models),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    run(main(stamps="--stamps" in sys.argv))
