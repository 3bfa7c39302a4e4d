"""The floor: one task that reads an asyncio.Queue. No supervision, no bound, no address, no handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bench.contenders.meter import BURST, async_rate, resident

Question = asyncio.Future[int] | None


async def _count(queue: asyncio.Queue[Question]) -> None:
    count = 0
    while True:
        question = await queue.get()
        if question is None:
            count += 1
        else:
            question.set_result(count)


async def _answer(queue: asyncio.Queue[Question]) -> int:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    queue.put_nowait(answer)
    return await answer


def tell(seconds: float) -> float:
    async def measure(queue: asyncio.Queue[Question]) -> float:
        async def burst() -> int:
            for _ in range(BURST - 1):
                queue.put_nowait(None)
            await _answer(queue)  # handled after all before it
            return BURST

        return await async_rate(seconds, burst)

    return asyncio.run(_beside_a_counter(measure))


def ask(seconds: float) -> float:
    async def measure(queue: asyncio.Queue[Question]) -> float:
        async def burst() -> int:
            for _ in range(100):
                async with asyncio.timeout(5):
                    await _answer(queue)
            return 100

        return await async_rate(seconds, burst)

    return asyncio.run(_beside_a_counter(measure))


def memory(count: float) -> float:
    async def main() -> float:
        async with asyncio.TaskGroup() as group:
            before = resident()
            tasks = [group.create_task(_count(asyncio.Queue())) for _ in range(int(count))]
            await asyncio.sleep(0)
            held = resident() - before
            for task in tasks:
                task.cancel()
        return held / count

    return asyncio.run(main())


async def _beside_a_counter(measure: Callable[[asyncio.Queue[Question]], Awaitable[float]]) -> float:
    queue: asyncio.Queue[Question] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        counter = group.create_task(_count(queue))
        figure = await measure(queue)
        counter.cancel()
    return figure
