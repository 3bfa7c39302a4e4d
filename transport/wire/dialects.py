"""Which of other systems' protocols are spoken, and at which paths their clients look for them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from transport.wire import openai_secrets
from transport.wire.client_secrets import ClientSecrets
from transport.wire.port import Accepted, Answer, Request, Routes
from transport.wire.realtime import Realtime


def routes(enabled: Collection[str]) -> Routes:
    """The paths of the protocols that are `enabled`, by the names in `transport.settings.Dialects`."""
    secrets = ClientSecrets()
    sockets: dict[str, Callable[[Request, str], Accepted | Answer]] = {}
    posts: dict[str, Callable[[Request], Answer]] = {}
    if "riva" in enabled or "openai" in enabled:
        realtime = Realtime(enabled, secrets)
        sockets["/v1/realtime"] = realtime.connect
        posts["/v1/realtime/transcription_sessions"] = realtime.transcription_session
    if "openai" in enabled:
        posts["/v1/realtime/client_secrets"] = partial(openai_secrets.client_secret, secrets=secrets)
    return Routes(sockets=sockets, posts=posts)
