"""Clients that want nothing but harm: `python -m bench.faults.attackers PORT COUNT`.

Prints a line when all are at work, goes on until a line comes in, and then prints how many connections were made. Each
attacker comes back at once when it is cut off, but no more than so many of them connect in a second.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import random
import resource
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress

DRIP = 1.0  # seconds between two bytes of a slow request
CONNECTS = 200.0  # a second, of all attackers together
HUGE = 50 * 1024 * 1024
MASK = b"\x00\x00\x00\x00"  # leaves a frame as it is
PATIENCE = 30.0  # seconds for a server that neither answers nor closes

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def dripping_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A request a byte at a time."""
    for byte in itertools.chain(b"GET /transcribe HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", itertools.repeat(97)):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(DRIP)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connects, and says nothing."""
    await reader.read()


async def silent_socket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Gets its WebSocket, and says nothing."""
    await _upgrade(reader, writer)
    await reader.read()


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A POST whose body comes a byte at a time."""
    writer.write(
        b"POST /v1/realtime/transcription_sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    )
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(DRIP)


async def bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A compressed message that would be fifty megabytes, though compression was not agreed."""
    await _upgrade(reader, writer, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    writer.write(_frame(_BOMB, first=0xC2))
    await reader.read()


async def huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A message of fifty megabytes, as far as it is taken."""
    await _upgrade(reader, writer)
    writer.write(struct.pack("!BBQ", 0x82, 0xFF, HUGE) + MASK)
    for _ in range(HUGE // 65536):
        writer.write(bytes(65536))
        await writer.drain()
    await reader.read()


async def garbled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Frames of every kind with anything in them."""
    await _upgrade(reader, writer)
    for _ in range(50):
        writer.write(_frame(random.randbytes(random.randrange(120)), first=random.randrange(256)))
        await writer.drain()
    await reader.read()


async def random_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No protocol at all."""
    writer.write(os.urandom(4096))
    await reader.read()


async def noise_as_speech(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """JSON that is no message of the protocol, as often as it is taken."""
    await _upgrade(reader, writer)
    for _ in range(20):
        writer.write(_frame(b'{"event": "start", "config": [[[[' + b"[" * 80, first=0x81))
        await writer.drain()
    await reader.read()


_BOMB = zlib.compress(bytes(HUGE))
KINDS: tuple[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], ...] = (
    dripping_head,
    silent,
    silent_socket,
    slow_body,
    dripping_head,
    silent,
    silent_socket,
    slow_body,
    bomb,
    huge,
    garbled,
    random_bytes,
    noise_as_speech,
)
LOUD = frozenset({bomb, huge, garbled, random_bytes, noise_as_speech})  # of these a tenth is enough


class Attack:
    """All attackers of one server."""

    def __init__(self, port: int, count: int) -> None:
        self.made = 0
        self._port = port
        self._count = count
        self._next = 0.0
        self._at_work = asyncio.Event()

    async def run(self) -> None:
        """Attack until cancelled."""
        quiet = [kind for kind in KINDS if kind not in LOUD]
        loud = [kind for kind in KINDS if kind in LOUD]
        kinds = [(loud if number % 10 == 0 else quiet)[number // 10 % 5 % len(quiet)] for number in range(self._count)]
        await asyncio.gather(*(self._one(kind) for kind in kinds))

    async def at_work(self) -> None:
        """Wait until as many have connected as there are."""
        await self._at_work.wait()

    async def _one(self, kind: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        while True:
            await self._turn()
            with suppress(OSError, EOFError, asyncio.IncompleteReadError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                self.made += 1
                if self.made >= self._count:
                    self._at_work.set()
                try:
                    async with asyncio.timeout(None if kind is silent_socket else PATIENCE):
                        await kind(reader, writer)
                finally:
                    writer.transport.abort()

    async def _turn(self) -> None:
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now) + 1 / CONNECTS
        await asyncio.sleep(self._next - now)


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, more: str = "") -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        "GET /transcribe HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")


def _frame(payload: bytes, *, first: int) -> bytes:
    if len(payload) < 126:
        return struct.pack("!BB", first, 0x80 | len(payload)) + MASK + payload
    return struct.pack("!BBQ", first, 0xFF, len(payload)) + MASK + payload


async def _main(port: int, count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack = Attack(port, count)
    running = asyncio.create_task(attack.run())
    await attack.at_work()
    print("at work", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    running.cancel()
    print(attack.made, flush=True)
    with suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
