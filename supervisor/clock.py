"""The event loop's clock, for those who look at it for every message."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.lowlevel import current_token


def clock() -> Callable[[], float]:
    """What `anyio.current_time` reads in this event loop, found once: it looks for its backend at every call.

    That takes ten times as long as the look itself.
    """
    token = current_token()
    loop = getattr(token, "native_token", None)  # anyio before 4.12 gives that itself, and does not say whose it is
    if isinstance(time := getattr(loop, "time", None), Callable):
        return time  # asyncio's loop
    return anyio.current_time
