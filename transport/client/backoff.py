"""When to try again."""

from __future__ import annotations

from collections.abc import Callable

# Seconds. A session waits for its client for a minute, so for no longer is it tried; and with what coming back takes
# besides, nearly everybody has been back for half a second at most when the network is. A server that is there and has
# no room says itself when to come again.
FIRST, LONGEST = 0.25, 0.35


def full_jitter(attempt: int, random: Callable[[], float]) -> float:
    """Seconds to wait before the attempt of this number, counted from 0: clients that were lost together come apart.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random() * min(LONGEST, FIRST * 2.0 ** min(attempt, 16))
