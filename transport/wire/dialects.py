"""Which of other systems' protocols are spoken, and at which paths their clients look for them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from transport.wire import deepgram
from transport.wire.port import Accepted, Answer, Request, Routes


def routes(enabled: Collection[str]) -> Routes:
    """The paths of the protocols that are `enabled`, by the names in `transport.settings.Dialects`."""
    sockets: dict[str, Callable[[Request, str], Accepted | Answer]] = {}
    if "deepgram" in enabled:
        sockets["/v1/listen"] = deepgram.connect
    return Routes(sockets)
