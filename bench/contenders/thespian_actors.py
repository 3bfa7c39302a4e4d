"""Thespian in its in-process base, the fastest of its systems: no threads, no sockets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from thespian.actors import Actor, ActorSystem

from bench.contenders.meter import BURST, rate, resident

FIVE_SECONDS = timedelta(seconds=5)


class Counter(Actor):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        self.count = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:
        self.count += 1
        if message == "count":
            self.send(sender, self.count)


def tell(seconds: float) -> float:
    system = ActorSystem("simpleSystemBase")
    counter = system.createActor(Counter)

    def burst() -> int:
        for _ in range(BURST - 1):
            system.tell(counter, "tick")
        system.ask(counter, "count", FIVE_SECONDS)
        return BURST

    figure = rate(seconds, burst)
    system.shutdown()
    return figure


def ask(seconds: float) -> float:
    system = ActorSystem("simpleSystemBase")
    counter = system.createActor(Counter)

    def burst() -> int:
        for _ in range(100):
            system.ask(counter, "count", FIVE_SECONDS)
        return 100

    figure = rate(seconds, burst)
    system.shutdown()
    return figure


def memory(count: float) -> float:
    system = ActorSystem("simpleSystemBase")
    before = resident()
    actors = [system.createActor(Counter) for _ in range(int(count))]
    held = resident() - before
    system.shutdown()
    return held / len(actors)
