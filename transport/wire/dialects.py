"""Which of other systems' protocols are spoken, and at which paths their clients look for them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from transport.wire import deepgram, openai_secrets, vosk
from transport.wire.client_secrets import ClientSecrets
from transport.wire.port import Accepted, Answer, Request, Routes
from transport.wire.realtime import Realtime

_Connect = Callable[[Request, str], Accepted | Answer]


def routes(enabled: Collection[str], secrets: ClientSecrets | None = None) -> Routes:
    """The paths of the protocols that are `enabled`, by the names in `transport.settings.Dialects`.

    Args:
        secrets: makes the secrets that clients fetch first; None: secrets that only this process knows again.
    """
    secrets = secrets or ClientSecrets()
    sockets: dict[str, _Connect] = {}
    posts: dict[str, Callable[[Request], Answer]] = {}
    if "riva" in enabled or "openai" in enabled:
        realtime = Realtime(enabled, secrets)
        sockets["/v1/realtime"] = realtime.connect
        posts["/v1/realtime/transcription_sessions"] = realtime.transcription_session
    if "openai" in enabled:
        posts["/v1/realtime/client_secrets"] = partial(openai_secrets.client_secret, secrets=secrets)
    if "deepgram" in enabled:
        sockets["/v1/listen"] = deepgram.connect
    if "vosk" in enabled:
        sockets["/"] = vosk.connect
    return Routes(sockets, posts)


def doors(vosk_port: int | None) -> dict[int, _Connect]:
    """The protocols that have a port of their own, by port, and who is asked for WebSockets there."""
    return {} if vosk_port is None else {vosk_port: vosk.connect}
