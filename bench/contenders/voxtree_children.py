"""Our supervisor, with plain async functions as children, or with actors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anyio

from actors import Actor, actor_child, handler
from bench.contenders.meter import async_rate, resident
from supervisor import Child, Incarnation, Intensity, Strategy, Supervisor

NEVER_GIVES_UP = Intensity(10**9, 1e-6)  # a tiny window, so that it stays short


class Idle(Actor[str]):
    @handler
    def on_text(self, message: str) -> None: ...


async def _worker(*, task_status: Incarnation) -> None:
    task_status.started()
    await anyio.Event().wait()


def _child(number: int) -> Child:
    return Child(str(number), _worker)


def _actor(number: int) -> Child:
    return actor_child(str(number), Idle)


KINDS: dict[str, Callable[[int], Child]] = {"function": _child, "actor": _actor}


def start(alive: float, backend: str, kind: str) -> float:
    async def main() -> float:
        more = int(alive) // 2
        async with Supervisor(strategy=Strategy.DYNAMIC) as tree:
            for number in range(int(alive)):
                await tree.start_child(KINDS[kind](number))
            began = time.perf_counter()
            for number in range(more):
                await tree.start_child(KINDS[kind](-1 - number))
            return (time.perf_counter() - began) / more * 1e6

    return _run(main, backend)


def memory(count: float, backend: str, kind: str) -> float:
    async def main() -> float:
        async with Supervisor(strategy=Strategy.DYNAMIC) as tree:
            before = resident()
            for number in range(int(count)):
                await tree.start_child(KINDS[kind](number))
            return (resident() - before) / count

    return _run(main, backend)


def restart(seconds: float, backend: str, kind: str) -> float:
    """Microseconds from the order to crash until the next life is up."""

    async def main() -> float:
        crash = anyio.Event()
        up = anyio.Event()

        async def life() -> None:
            up.set()
            await crash.wait()
            raise RuntimeError("as told")

        class Crashing(Idle):
            async def started(self) -> None:
                self.spawn(life)

        child = Child("crashing", life) if kind == "function" else actor_child("crashing", Crashing)
        async with Supervisor([child], intensity=NEVER_GIVES_UP):
            await up.wait()

            async def burst() -> int:
                nonlocal crash, up
                ordered, crash, up = crash, anyio.Event(), anyio.Event()
                ordered.set()
                await up.wait()
                return 1

            return 1e6 / await async_rate(seconds, burst)

    return _run(main, backend)


def stop(count: float, backend: str, kind: str) -> float:
    async def main() -> float:
        children = [KINDS[kind](number) for number in range(int(count))]
        async with Supervisor(children) as tree:  # one_for_one: one after another, the last one first
            began = time.perf_counter()
            await tree.stop()
            return (time.perf_counter() - began) / count * 1e6

    return _run(main, backend)


def _run(main: Any, backend: str) -> float:
    return float(anyio.run(main, backend=backend))
