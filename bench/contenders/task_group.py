"""The floor: a TaskGroup, and around each worker the loop that everybody writes first.

It restarts for ever and at once, knows no order, no budget and no report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.contenders.meter import async_rate, resident


async def _again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except RuntimeError:
            continue


async def _idle() -> None:
    await asyncio.Event().wait()


async def _started(group: asyncio.TaskGroup, count: int) -> list[asyncio.Task[None]]:
    tasks = []
    for _ in range(count):
        tasks.append(group.create_task(_again_and_again(_idle)))
        await asyncio.sleep(0)  # as start_child does: on to the next one when this one is up
    return tasks


def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def start(alive: float) -> float:
    async def main() -> float:
        more = int(alive) // 2
        async with asyncio.TaskGroup() as group:
            tasks = await _started(group, int(alive))
            began = time.perf_counter()
            tasks += await _started(group, more)
            passed = time.perf_counter() - began
            _cancel(tasks)
        return passed / more * 1e6

    return asyncio.run(main())


def memory(count: float) -> float:
    async def main() -> float:
        async with asyncio.TaskGroup() as group:
            before = resident()
            tasks = await _started(group, int(count))
            held = resident() - before
            _cancel(tasks)
        return held / count

    return asyncio.run(main())


def restart(seconds: float) -> float:
    async def main() -> float:
        crash = asyncio.Event()
        up = asyncio.Event()

        async def life() -> None:
            up.set()
            await crash.wait()
            raise RuntimeError("as told")

        async def burst() -> int:
            nonlocal crash, up
            ordered, crash, up = crash, asyncio.Event(), asyncio.Event()
            ordered.set()
            await up.wait()
            return 1

        async with asyncio.TaskGroup() as group:
            task = group.create_task(_again_and_again(life))
            await up.wait()
            figure = 1e6 / await async_rate(seconds, burst)
            task.cancel()
        return figure

    return asyncio.run(main())


def stop(count: float) -> float:
    async def main() -> float:
        async with asyncio.TaskGroup() as group:
            tasks = await _started(group, int(count))
            began = time.perf_counter()
            for task in reversed(tasks):
                task.cancel()
                await asyncio.wait([task])
            return (time.perf_counter() - began) / count * 1e6

    return asyncio.run(main())
