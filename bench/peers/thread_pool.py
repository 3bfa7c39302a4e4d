"""The loop of vosk's `asr_server.py`: `python -m bench.peers.thread_pool [--recogniser null|coded]`.

There is no backend: each chunk of audio is handed to the recogniser in a pool of threads, and each is answered. The
recogniser is `null`, which recognises nothing and says how much it has heard, so that the loop is what is measured; or
`coded`, which reads word-coded audio, so that words can be counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Protocol

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.peers import wire
from bench.relay.backend import ANSWER
from bench.riva.recogniser import Recogniser, Result


class Engine(Protocol):
    """One stream's recogniser: the text of the utterance so far, and whether it is final."""

    def accept(self, audio: bytes) -> tuple[str, bool]: ...

    def finish(self) -> str: ...


class Null:
    """Says how many tenths of a second it has heard."""

    def __init__(self, rate: int) -> None:
        self._tenth = rate * 2 // 10
        self._bytes = 0

    def accept(self, audio: bytes) -> tuple[str, bool]:
        self._bytes += len(audio)
        return ANSWER.format(self._bytes // self._tenth), False

    def finish(self) -> str:
        return ""


class Coded:
    """Recognises word-coded audio."""

    def __init__(self, rate: int) -> None:
        self._recogniser = Recogniser(rate)
        self._text = ""

    def accept(self, audio: bytes) -> tuple[str, bool]:
        for result in self._recogniser.hear(audio):
            self._text = _text(result)
            if result.is_final:
                return self._text, True
        return self._text, False

    def finish(self) -> str:
        return " ".join(map(_text, self._recogniser.finish()))


def _text(result: Result) -> str:
    return " ".join(word.text for word in result.words)


RECOGNISERS: dict[str, type[Null] | type[Coded]] = {"null": Null, "coded": Coded}


async def recognise(client: ServerConnection, pool: ThreadPoolExecutor, recogniser: type[Null] | type[Coded]) -> None:
    """Serve one client."""
    with suppress(ConnectionClosed):
        config = msgspec.json.decode(await client.recv())["config"]
        await client.send(wire.encode(wire.ready(config)))
        engine: Engine = recogniser(config["sample_rate"])
        work, finals = partial(asyncio.get_running_loop().run_in_executor, pool), 0
        async for message in client:
            if isinstance(message, str):  # stop
                break
            text, is_final = await work(engine.accept, message)
            finals += is_final
            await client.send(wire.encode(wire.transcript(text, finals if is_final else 0, "local")))
        if text := await work(engine.finish):
            await client.send(wire.encode(wire.transcript(text, finals + 1, "local")))
        await client.send(wire.encode(wire.done()))


async def main(recogniser: type[Null] | type[Coded]) -> None:
    """Serve for ever."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        async with serve(
            lambda client: recognise(client, pool, recogniser), "127.0.0.1", 0, compression=None, ping_interval=None
        ) as server:
            print(f"listening on ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/transcribe", flush=True)
            await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--recogniser", choices=RECOGNISERS, default="null")
    with suppress(KeyboardInterrupt):
        asyncio.run(main(RECOGNISERS[parser.parse_args().recogniser]))
