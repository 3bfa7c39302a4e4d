"""What the pool's core is asked, and what it wants to be done."""

from __future__ import annotations

import msgspec

from actors.speech.backends.events import PoolEvent
from actors.speech.backends.place import Loan, Need, Place
from actors.speech.errors import ModelNotFound


class Request(msgspec.Struct, frozen=True):
    """A session wants a stream. `number` is unique among those that wait."""

    number: int
    session: str
    need: Need


class Grant(msgspec.Struct, frozen=True):
    """A request gets a stream."""

    request: Request
    loan: Loan


class Refuse(msgspec.Struct, frozen=True):
    """No endpoint can serve a request, now or when it is back."""

    request: Request
    error: ModelNotFound


class Ask(msgspec.Struct, frozen=True):
    """Ask the endpoint whether it works, and tell `answers` or `misses`."""

    place: Place


class Recall(msgspec.Struct, frozen=True):
    """End this stream: it has had its time to move."""

    loan: Loan


class Tell(msgspec.Struct, frozen=True):
    """Something for the listeners."""

    event: PoolEvent


Command = Grant | Refuse | Ask | Recall | Tell
Commands = list[Command]
