"""Which of other systems' protocols are spoken, and at which paths and ports their clients look for them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from transport.wire import deepgram, vosk
from transport.wire.port import Accepted, Answer, Request, Routes

_Connect = Callable[[Request, str], Accepted | Answer]


def routes(enabled: Collection[str]) -> Routes:
    """The paths of the protocols that are `enabled`, by the names in `transport.settings.Dialects`."""
    sockets: dict[str, _Connect] = {}
    if "deepgram" in enabled:
        sockets["/v1/listen"] = deepgram.connect
    if "vosk" in enabled:
        sockets["/"] = vosk.connect
    return Routes(sockets)


def doors(vosk_port: int | None) -> dict[int, _Connect]:
    """The protocols that have a port of their own, by port, and who is asked for WebSockets there."""
    return {} if vosk_port is None else {vosk_port: vosk.connect}
