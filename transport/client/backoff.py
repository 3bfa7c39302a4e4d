"""When to try again."""

from __future__ import annotations

from collections.abc import Callable

FIRST, LONGEST = 0.25, 5.0  # seconds


def full_jitter(attempt: int, random: Callable[[], float]) -> float:
    """Seconds to wait before the attempt of this number, counted from 0: clients that were lost together come apart.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random() * min(LONGEST, FIRST * 2.0 ** min(attempt, 16))
