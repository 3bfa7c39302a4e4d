"""Clients that a full server refuses: how soon they know, and whether they are told when to come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from transport.client.dialling import Dialler, Unreachable

AGAIN = 1.0  # seconds, for whoever is not told when to come back


class Refusals(msgspec.Struct):
    """What became of those who wanted to get in.

    Attributes:
        seconds: from dialling until each refusal was known, connecting included.
        waits: seconds after which each was to come back.
        untold: refusals without such a time.
        failed: attempts that were not answered by voxtree.
        let_in: attempts that found a place.
    """

    seconds: list[float] = []
    waits: list[float] = []
    untold: int = 0
    failed: int = 0
    let_in: int = 0


@asynccontextmanager
async def knocking(url: str, clients: int, *, spread: float) -> AsyncGenerator[Refusals, None]:
    """So many clients want to get in while the context is open; each comes back when it was told to.

    Args:
        spread: seconds over which they begin.
    """
    refusals = Refusals()
    tasks = [asyncio.create_task(_knock(url, refusals, spread * number / max(1, clients))) for number in range(clients)]
    try:
        yield refusals
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _knock(url: str, refusals: Refusals, wait: float) -> None:
    dialler = Dialler(url)
    while True:
        await asyncio.sleep(wait)
        began = time.monotonic()
        try:
            connection = await dialler.dial("")
        except Unreachable as refused:
            took = time.monotonic() - began
            if refused.problem is None:
                refusals.failed += 1
            else:
                refusals.seconds.append(took)
                refusals.untold += refused.retry_after is None
            wait = AGAIN if refused.retry_after is None else refused.retry_after
            refusals.waits.append(wait)
        else:
            refusals.let_in += 1
            await connection.close()
            wait = AGAIN
