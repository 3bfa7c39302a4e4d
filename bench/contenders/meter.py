"""How every contender is timed and weighed: the same loop, the same clock, the same page count."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

BURST = 1000  # messages told before the teller waits until they are handled: what a default mailbox holds


def rate(seconds: float, burst: Callable[[], int]) -> float:
    """How many things `burst` does per second, called over and over for `seconds`, once before to warm up."""
    burst()
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds or not done:
        done += burst()
    return done / passed


async def async_rate(seconds: float, burst: Callable[[], Awaitable[int]]) -> float:
    """The same for async ones."""
    await burst()
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds or not done:
        done += await burst()
    return done / passed


def resident() -> float:
    """KiB of memory this process holds, after a collection. Linux only."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
