"""Pykka: a thread for each actor."""

from __future__ import annotations

from typing import Any

import pykka

from bench.contenders.meter import BURST, rate, resident


class Counter(pykka.ThreadingActor):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> int:
        self.count += 1
        return self.count


def tell(seconds: float) -> float:
    ref = Counter.start()

    def burst() -> int:
        for _ in range(BURST - 1):
            ref.tell(None)
        ref.ask(None)  # handled after all before it
        return BURST

    return _stopping(rate(seconds, burst))


def ask(seconds: float) -> float:
    ref = Counter.start()

    def burst() -> int:
        for _ in range(100):
            ref.ask(None, timeout=5)
        return 100

    return _stopping(rate(seconds, burst))


def memory(count: float) -> float:
    before = resident()
    for _ in range(int(count)):
        Counter.start()
    return _stopping((resident() - before) / count)


def _stopping(figure: float) -> float:
    pykka.ActorRegistry.stop_all()
    return figure
