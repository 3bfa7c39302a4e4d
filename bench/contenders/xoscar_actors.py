"""Xoscar, actor and caller in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import xoscar

from bench.contenders.meter import BURST, async_rate, resident


class Counter(xoscar.Actor):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        self.count = 0

    def tick(self) -> int:
        self.count += 1
        return self.count


def tell(seconds: float) -> float:
    async def measure(address: str) -> float:
        ref = await xoscar.create_actor(Counter, address=address)

        async def burst() -> int:
            for _ in range(BURST - 1):
                await ref.tick.tell()
            await ref.tick()
            return BURST

        return await async_rate(seconds, burst)

    return _in_a_pool(measure)


def ask(seconds: float) -> float:
    async def measure(address: str) -> float:
        ref = await xoscar.create_actor(Counter, address=address)

        async def burst() -> int:
            for _ in range(100):
                async with asyncio.timeout(5):
                    await ref.tick()
            return 100

        return await async_rate(seconds, burst)

    return _in_a_pool(measure)


def memory(count: float) -> float:
    async def measure(address: str) -> float:
        before = resident()
        refs = [await xoscar.create_actor(Counter, address=address) for _ in range(int(count))]
        return (resident() - before) / len(refs)

    return _in_a_pool(measure)


def _in_a_pool(measure: Callable[[str], Awaitable[float]]) -> float:
    async def main() -> float:
        pool: Any = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
        async with pool:
            return await measure(pool.external_address)

    return asyncio.run(main())
