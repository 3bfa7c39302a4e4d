"""Papyra: actors on anyio, each with a restart policy of its own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from papyra import Actor, ActorSystem, Strategy, SupervisionPolicy

from bench.contenders.meter import BURST, async_rate, resident

RESTART = SupervisionPolicy(Strategy.RESTART, max_restarts=10**9)


class Counter(Actor):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        self.count = 0

    async def receive(self, message: Any) -> int:
        if message == "crash":
            raise RuntimeError("as told")
        self.count += 1
        return self.count


def tell(seconds: float) -> float:
    async def measure(system: Any) -> float:
        ref = system.spawn(Counter)

        async def burst() -> int:
            for _ in range(BURST - 1):
                await ref.tell("tick")
            await ref.ask("tick")
            return BURST

        return await async_rate(seconds, burst)

    return _in_a_system(measure)


def ask(seconds: float) -> float:
    async def measure(system: Any) -> float:
        ref = system.spawn(Counter)

        async def burst() -> int:
            for _ in range(100):
                await ref.ask("tick", timeout=5)
            return 100

        return await async_rate(seconds, burst)

    return _in_a_system(measure)


def memory(count: float) -> float:
    async def measure(system: Any) -> float:
        before = resident()
        await _spawned(system, int(count))
        return (resident() - before) / count

    return _in_a_system(measure)


def start(alive: float) -> float:
    async def measure(system: Any) -> float:
        more = int(alive) // 2
        await _spawned(system, int(alive))
        began = time.perf_counter()
        await _spawned(system, more)
        return (time.perf_counter() - began) / more * 1e6

    return _in_a_system(measure)


def restart(seconds: float) -> float:
    async def measure(system: Any) -> float:
        ref = system.spawn(Counter, policy=RESTART)

        async def burst() -> int:
            await ref.tell("crash")
            await ref.ask("tick")  # answered by the next life
            return 1

        return 1e6 / await async_rate(seconds, burst)

    return _in_a_system(measure)


def stop(count: float) -> float:
    async def measure(system: Any) -> float:
        refs = await _spawned(system, int(count))
        began = time.perf_counter()
        for ref in reversed(refs):
            await system.stop(ref)
        return (time.perf_counter() - began) / count * 1e6

    return _in_a_system(measure)


async def _spawned(system: Any, count: int) -> list[Any]:
    """Actors that have started. Answering a question is the one sign of it that papyra gives."""
    refs = [system.spawn(Counter, policy=RESTART) for _ in range(count)]
    await refs[-1].ask("tick")
    return refs


def _in_a_system(measure: Callable[[Any], Awaitable[float]]) -> float:
    async def main() -> float:
        async with ActorSystem() as system:
            return await measure(system)

    return anyio.run(main)
