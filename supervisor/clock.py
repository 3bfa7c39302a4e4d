"""The event loop's clock, for those who look at it for every message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
from anyio.lowlevel import current_token


def clock() -> Callable[[], float]:
    """What `anyio.current_time` reads in this event loop, found once: it looks for its backend at every call.

    That takes ten times as long as the look itself.
    """
    token: Any = current_token()
    loop = getattr(token, "native_token", token)  # which anyio gave itself before 4.12
    time: Callable[[], float] = getattr(loop, "time", anyio.current_time)  # of asyncio's loops
    return time
