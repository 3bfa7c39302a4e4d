"""`dialects`: what other systems' protocols cost, a frame of audio at a time, beside voxtree's own.

For each protocol a number of clients speak word-coded audio in real time to one server before a scripted Riva; the
server's processor time while they speak, divided by the frames they sent, is the cost of a frame: receiving, decoding,
recognition by Riva over gRPC, and the words back. Rounds are interleaved; shown is the median, and its ratio to
voxtree's own protocol. The words are counted as well.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import grpc
import msgspec
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto import riva_asr_pb2_grpc as asr
from riva.client.proto.riva_audio_pb2 import LINEAR_PCM
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench import results
from bench.faults.command import interruptible, positive, progress
from bench.faults.players import backend, free_port
from bench.faults.stage import PAUSE, Stage
from bench.results import Figure
from bench.riva import CodedSpeech, Ledger, Plan

Message = str | bytes
SPREAD = 1.0  # seconds over which clients begin
SETTLE = 2.0  # seconds of everybody's speech that are left out at its beginning and end
QUICK_WORDS = 30
PATIENCE = 30.0  # seconds after the end of speech


class WebSocketProtocol(msgspec.Struct, frozen=True):
    """A protocol as one of its clients speaks it.

    Attributes:
        path: with the query.
        opening: what is said first.
        frame: the messages that carry some audio.
        closing: what is said last.
        words: the words of a message that are final, or None: there are none.
        is_last: whether a message is the last one. Clients of some protocols are never told.
        rate: of the audio, in Hz.
        answered: the client waits for one message after each frame.
    """

    name: str
    path: str
    opening: Sequence[Message]
    frame: Callable[[bytes], Sequence[Message]]
    closing: Sequence[Message]
    words: Callable[[dict[str, object]], str | None]
    is_last: Callable[[dict[str, object]], bool]
    rate: int = 16_000
    answered: bool = False


class GrpcProtocol(msgspec.Struct, frozen=True):
    """Riva's own."""

    name: str
    rate: int = 16_000


Protocol = WebSocketProtocol | GrpcProtocol


def _says(**fields: object) -> str:
    return json.dumps(fields)


def _base64(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()


def _deepgram_words(message: dict[str, object]) -> str | None:
    if message.get("type") != "Results" or not message["is_final"]:
        return None
    return str(message["channel"]["alternatives"][0]["transcript"])  # type: ignore[index]


_APPEND = "input_audio_buffer.append"
_COMPLETED = "conversation.item.input_audio_transcription.completed"
_DEEPGRAM = "encoding=linear16&sample_rate=16000&channels=1&interim_results=true"
NATIVE = WebSocketProtocol(
    "voxtree.v1",
    "/transcribe",
    [_says(event="start", config={"sample_rate": 16000})],
    lambda pcm: [pcm],
    [_says(event="stop")],
    lambda message: str(message["text"]) if message.get("is_final") else None,
    lambda message: message["event"] == "done",
)
PROTOCOLS: tuple[Protocol, ...] = (
    NATIVE,
    WebSocketProtocol(
        "vosk",
        "/",
        [_says(config={"sample_rate": 16000, "words": True})],
        lambda pcm: [pcm],
        [_says(eof=1)],
        lambda message: str(message["text"]) if "text" in message else None,
        lambda message: False,
        answered=True,
    ),
    WebSocketProtocol(
        "deepgram",
        f"/v1/listen?{_DEEPGRAM}",
        [],
        lambda pcm: [pcm],
        [_says(type="CloseStream")],
        _deepgram_words,
        lambda message: message["type"] == "Metadata",
    ),
    WebSocketProtocol(
        "riva realtime",
        "/v1/realtime?intent=transcription",
        [_says(type="transcription_session.update", session={"input_audio_params": {"sample_rate_hz": 16000}})],
        lambda pcm: [_says(type=_APPEND, audio=_base64(pcm)), _says(type="input_audio_buffer.commit")],
        [_says(type="input_audio_buffer.done")],
        # the last one repeats all of them
        lambda message: str(message["transcript"]) if message.get("is_last_result") else None,
        lambda message: bool(message.get("is_last_result")),
    ),
    WebSocketProtocol(
        "openai realtime",
        "/v1/realtime?model=gpt-realtime",
        [_says(type="session.update", session={"type": "transcription"})],
        lambda pcm: [_says(type=_APPEND, audio=_base64(pcm))],
        [],
        lambda message: str(message["transcript"]) if message["type"] == _COMPLETED else None,
        lambda message: False,
        rate=24_000,
    ),
    GrpcProtocol("riva grpc"),
)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One round of a protocol: microseconds of processor time for a frame, and what became of the words."""

    protocol: str
    cpu_us: float
    frames: int
    words: int
    lost: int
    doubled: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=positive, default=20, help="at the same time (default 20)")
    parser.add_argument("--words", type=positive, default=60, help="each of them says (default 60)")
    parser.add_argument("--frame", type=positive, default=100, help="milliseconds of audio in one (default 100)")
    parser.add_argument("--rounds", type=positive, default=3, help="(default 3)")
    parser.add_argument("--only", metavar="TEXT", default="", help="protocols whose name holds this, besides our own")
    parser.add_argument("--quick", action="store_true", help="one round of 30 words: does it run, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure; status 1 if a word was harmed."""
    chosen = [each for each in PROTOCOLS if each is NATIVE or args.only in each.name]
    figures: list[Figures] = []
    circumstances = results.circumstances("dialects", args)
    rounds, words = (1, QUICK_WORDS) if args.quick else (args.rounds, args.words)
    interruptible(_measure(chosen, rounds, args.clients, words, args.frame / 1000, figures))
    print(_table(chosen, figures), flush=True)
    if args.json:
        result = results.Result(**circumstances, figures=figures_of(figures))
        results.write(args.json, result, {"rounds": rounds, "measured": figures})
    return int(any(each.lost or each.doubled for each in figures))


def figures_of(figures: Sequence[Figures]) -> dict[str, Figure]:
    """By `protocol.figure`."""
    found: dict[str, Figure] = {}
    for name in dict.fromkeys(each.protocol for each in figures):
        mine = [each for each in figures if each.protocol == name]
        found[f"{name}.cpu"] = Figure.of([each.cpu_us for each in mine], "µs/frame", "lower")
        found[f"{name}.lost"] = Figure.of([each.lost for each in mine], "words", "lower")
        found[f"{name}.doubled"] = Figure.of([each.doubled for each in mine], "words", "lower")
    return found


async def _measure(
    chosen: Sequence[Protocol], rounds: int, clients: int, words: int, frame: float, figures: list[Figures]
) -> None:
    for number in range(rounds):
        for protocol in chosen if number % 2 == 0 else chosen[::-1]:
            progress(f"round {number + 1} of {rounds}", protocol.name)
            figures.append(await _round(protocol, clients, words, frame))
    progress()


async def _round(protocol: Protocol, clients: int, words: int, frame: float) -> Figures:
    speeches = [CodedSpeech(words=words, rate=protocol.rate, tag=number + 1, pause=PAUSE) for number in range(clients)]
    seconds = speeches[0].samples / speeches[0].rate
    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        async with Stage(clients, words, Path(folder), lambda line: None) as stage:
            (riva,) = await stage.rivas(Plan())
            grpc_port = free_port()
            voxtree = await stage.voxtree(backend("primary", riva.port), settings={"dialects.riva_port": grpc_port})
            port = voxtree.port if isinstance(protocol, WebSocketProtocol) else grpc_port
            talks = [_Talk(speech, frame) for speech in speeches]
            speaking = [
                asyncio.create_task(talk.run(protocol, port, wait=SPREAD * number / clients, limit=seconds + PATIENCE))
                for number, talk in enumerate(talks)
            ]
            await asyncio.sleep(SPREAD + SETTLE)
            cpu, frames = voxtree.process.cpu(), sum(talk.sent for talk in talks)
            await asyncio.sleep(max(1.0, seconds - SPREAD - 2 * SETTLE))
            cpu, frames = voxtree.process.cpu() - cpu, sum(talk.sent for talk in talks) - frames
            await asyncio.gather(*speaking)
    scores = [talk.ledger.score() for talk in talks]
    return Figures(
        protocol=protocol.name,
        cpu_us=1e6 * cpu / frames,
        frames=frames,
        words=sum(score.sent for score in scores),
        lost=sum(score.lost for score in scores),
        doubled=sum(score.doubled for score in scores),
    )


class _Talk:
    """One client. `sent`: frames so far."""

    def __init__(self, speech: CodedSpeech, frame: float) -> None:
        self.ledger = Ledger(speech)
        self.sent = 0
        self._speech = speech
        self._frame = frame

    async def run(self, protocol: Protocol, port: int, *, wait: float, limit: float) -> None:
        """Say everything and listen to the end; what has not come by then is lost."""
        await asyncio.sleep(wait)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                if isinstance(protocol, GrpcProtocol):
                    await self._call(port)
                else:
                    await self._converse(protocol, f"ws://127.0.0.1:{port}{protocol.path}")

    async def _frames(self) -> AsyncIterator[bytes]:
        """The audio, at its pace."""
        began = time.monotonic()
        for pcm in self._speech.chunks(self._frame):
            await asyncio.sleep(began + (self.sent + 1) * self._frame - time.monotonic())
            yield pcm
            self.sent += 1

    # ---- WebSockets

    async def _converse(self, protocol: WebSocketProtocol, url: str) -> None:
        async with connect(url, compression=None, max_size=None) as socket:
            listening = None if protocol.answered else asyncio.create_task(self._listen(protocol, socket))
            for message in protocol.opening:
                await socket.send(message)
            async for pcm in self._frames():
                for message in protocol.frame(pcm):
                    await socket.send(message)
                if protocol.answered:
                    self._take(protocol, await socket.recv())
            for message in protocol.closing:
                await socket.send(message)
            await (self._listen(protocol, socket) if listening is None else listening)

    async def _listen(self, protocol: WebSocketProtocol, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while not self._take(protocol, await socket.recv()):
                if not protocol.closing and self.ledger.came(self._speech.words - 1):
                    return  # these clients are never told that it was all

    def _take(self, protocol: WebSocketProtocol, text: Message) -> bool:
        message = json.loads(text)
        if (words := protocol.words(message)) is not None:
            self.ledger.final(words)
        return protocol.is_last(message)

    # ---- gRPC

    async def _call(self, port: int) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            async for response in asr.RivaSpeechRecognitionStub(channel).StreamingRecognize(self._requests()):
                for result in response.results:
                    if result.is_final:
                        self.ledger.final(result.alternatives[0].transcript if result.alternatives else "")

    async def _requests(self) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        config = pb.RecognitionConfig(
            encoding=LINEAR_PCM, sample_rate_hertz=self._speech.rate, language_code="en-US", max_alternatives=1
        )
        yield pb.StreamingRecognizeRequest(
            streaming_config=pb.StreamingRecognitionConfig(config=config, interim_results=True)
        )
        async for pcm in self._frames():
            yield pb.StreamingRecognizeRequest(audio_content=pcm)


def _table(chosen: Sequence[Protocol], figures: Sequence[Figures]) -> str:
    def costs(name: str) -> float:
        return statistics.median(each.cpu_us for each in figures if each.protocol == name)

    lines = [f"{'':18} {'µs a frame':>10} {'ratio':>6} {'words':>7} {'lost':>5} {'doubled':>8}"]
    for protocol in chosen:
        mine = [each for each in figures if each.protocol == protocol.name]
        if mine:
            counts = f"{sum(e.words for e in mine):7} {sum(e.lost for e in mine):5} {sum(e.doubled for e in mine):8}"
            cost = costs(protocol.name)
            lines.append(f"{protocol.name:18} {cost:10.0f} {cost / costs(NATIVE.name):6.2f} {counts}")
    return "\n".join(lines)
