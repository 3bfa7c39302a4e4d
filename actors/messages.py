"""What actors say to each other."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

R_co = TypeVar("R_co", covariant=True)


class Message(msgspec.Struct, Generic[R_co], frozen=True):
    """A message that is answered: `await ref.ask(message)` gives the `R` of its class.

        class Transcribe(Message[str], frozen=True):
            pcm: bytes

    For `tell` and `send` any value will do; frozen structs are recommended, because sender and receiver share
    it.
    """
