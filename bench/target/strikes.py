"""What is done to an endpoint: speech without any fault, and faults that any client can cause."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from websockets.exceptions import ConnectionClosed

from bench.target.caller import Caller
from bench.target.speech import Script
from transport.client.dialling import Dialler, Unreachable

SPREAD = 1.0  # seconds over which clients begin, except in a burst
BURST = 3  # times as many sessions as otherwise
GARBAGE: tuple[str | bytes, ...] = (
    "",
    "not json",
    '{"event":',
    '{"event":"no such event"}',
    '{"event":"start","config":{"sample_rate":-1}}',
    '{"event":"audio","data":"%%%"}',
    '{"event":"start","config":' + "[" * 2000,
    b"\x00",
    os.urandom(4096),
    b"RIFF\xff\xff\xff\xffWAVE" + bytes(100),
)
_ANSWER = 2.0  # seconds that garbage waits for an answer


class Site:
    """An endpoint, and who calls it.

    Args:
        key: who we are; script: what callers say; sessions: how many there are at the same time.
    """

    def __init__(self, url: str, key: str | None, script: Script, sessions: int) -> None:
        self.url = url
        self.sessions = sessions
        self._key = key
        self._script = script

    def callers(self, count: int) -> list[Caller]:
        """So many who have not called yet."""
        return [Caller(self.url, self._key, self._script.next()) for _ in range(count)]

    async def garble(self, message: str | bytes) -> None:
        """Connect, send what is no message, and wait a little for what comes of it."""
        with suppress(Unreachable, ConnectionClosed, TimeoutError):
            connection = await Dialler(self.url, self._key).dial("")
            try:
                async with asyncio.timeout(_ANSWER):
                    await connection.send(message)
                    await connection.recv()
            finally:
                connection.transport.abort()


async def undisturbed(site: Site) -> list[Caller]:
    """All speak, and nothing happens."""
    return await _play(site.callers(site.sessions))


async def dropped(site: Site) -> list[Caller]:
    """Each loses its connection twice while it speaks, and comes back."""

    async def drop(caller: Caller) -> None:
        for _ in range(2):
            await asyncio.sleep(caller.spoken.seconds / 3)
            caller.line.cut()

    return await _play(site.callers(site.sessions), drop)


async def slow(site: Site) -> list[Caller]:
    """Each reads nothing for the middle third of its speech."""

    async def stall(caller: Caller) -> None:
        for is_reading in (False, True):
            await asyncio.sleep(caller.spoken.seconds / 3)
            caller.line.read(is_reading)

    return await _play(site.callers(site.sessions), stall)


async def garbage(site: Site) -> list[Caller]:
    """What is no message comes on connections of its own, while the others speak."""
    callers = site.callers(site.sessions)
    await asyncio.gather(_play(callers), *(site.garble(message) for message in GARBAGE))
    return callers


async def burst(site: Site) -> list[Caller]:
    """Several times as many come in the same moment: who finds no place is to be told when to come back."""
    return await _play(site.callers(BURST * site.sessions), spread=0.0)


STRIKES: Sequence[tuple[str, Callable[[Site], Awaitable[list[Caller]]]]] = (
    ("undisturbed", undisturbed),
    ("dropped connections", dropped),
    ("slow readers", slow),
    ("garbage beside them", garbage),
    ("a burst", burst),
)


async def _play(
    callers: list[Caller], strike: Callable[[Caller], Awaitable[None]] | None = None, *, spread: float = SPREAD
) -> list[Caller]:
    async def struck(caller: Caller, wait: float) -> None:
        if strike is not None:
            await asyncio.sleep(wait)
            await strike(caller)

    waits = [spread * number / len(callers) for number in range(len(callers))]
    strikes = [
        asyncio.create_task(struck(caller, wait)) for caller, wait in zip(callers, waits, strict=True) if strike
    ]  # fmt: skip
    try:
        await asyncio.gather(*(caller.run(wait) for caller, wait in zip(callers, waits, strict=True)))
    finally:
        for task in strikes:
            task.cancel()
        await asyncio.gather(*strikes, return_exceptions=True)
    return callers
