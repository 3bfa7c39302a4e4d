"""What the client's rules have its shell do."""

from __future__ import annotations

import msgspec

from transport.client.errors import SessionFailed
from transport.client.events import SpeechEvent


class Connect(msgspec.Struct, frozen=True):
    """Open a connection in so many seconds."""

    delay: float


class HangUp(msgspec.Struct, frozen=True):
    """End the present connection. `abort`: nobody is there to close it with."""

    abort: bool


class Deliver(msgspec.Struct, frozen=True):
    """Tell the application."""

    event: SpeechEvent


class Finish(msgspec.Struct, frozen=True):
    """The session is over: complete (None), or why not."""

    failure: SessionFailed | None


Command = Connect | HangUp | Deliver | Finish
