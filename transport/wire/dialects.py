"""Which of other systems' protocols are spoken, and at which paths their clients look for them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from transport.wire import riva_realtime
from transport.wire.client_secrets import ClientSecrets
from transport.wire.port import Accepted, Answer, Request, Routes


def routes(enabled: Collection[str]) -> Routes:
    """The paths of the protocols that are `enabled`, by the names in `transport.settings.Dialects`."""
    secrets = ClientSecrets()
    sockets: dict[str, Callable[[Request, str], Accepted | Answer]] = {}
    posts: dict[str, Callable[[Request], Answer]] = {}
    if "riva" in enabled:
        sockets["/v1/realtime"] = partial(riva_realtime.connect, secrets=secrets)
        posts["/v1/realtime/transcription_sessions"] = partial(riva_realtime.mint, secrets=secrets)
    return Routes(sockets=sockets, posts=posts)
