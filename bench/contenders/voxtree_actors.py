"""Our actors, under a supervisor as always."""

from __future__ import annotations

from typing import Any

import anyio

from actors import Actor, Message, actor_child, handler
from bench.contenders.meter import BURST, async_rate, resident
from supervisor import Strategy, Supervisor


class Tick(Message[None], frozen=True):
    pass


class Count(Message[int], frozen=True):
    pass


class Counter(Actor[Tick | Count]):
    def __init__(self) -> None:
        self.count = 0

    @handler
    def on_tick(self, message: Tick) -> None:
        self.count += 1

    @handler
    def on_count(self, message: Count) -> int:
        return self.count


def tell(seconds: float, backend: str) -> float:
    async def main() -> float:
        async with Supervisor([actor_child("counter", Counter)]) as tree:
            ref, message, count = tree.value("counter"), Tick(), Count()

            async def burst() -> int:
                for _ in range(BURST - 1):
                    ref.tell(message)
                await ref.ask(count)  # handled after all before it
                return BURST

            return await async_rate(seconds, burst)

    return _run(main, backend)


def ask(seconds: float, backend: str) -> float:
    async def main() -> float:
        async with Supervisor([actor_child("counter", Counter)]) as tree:
            ref, message = tree.value("counter"), Count()

            async def burst() -> int:
                for _ in range(100):
                    await ref.ask(message, timeout=5)
                return 100

            return await async_rate(seconds, burst)

    return _run(main, backend)


def memory(count: float, backend: str) -> float:
    async def main() -> float:
        async with Supervisor(strategy=Strategy.DYNAMIC) as tree:
            before = resident()
            for number in range(int(count)):
                await tree.start_child(actor_child(str(number), Counter))
            return (resident() - before) / count

    return _run(main, backend)


def _run(main: Any, backend: str) -> float:
    return float(anyio.run(main, backend=backend))
