"""What becomes of messages that are lost without their sender being told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from enum import Enum

import msgspec

logger = logging.getLogger("actors")


class Lost(Enum):
    """Why a message was not delivered."""

    GONE = "gone"  # a `Down` or a publication met a closed mailbox
    FULL = "full"  # a publication met a full one
    DROPPED = "dropped"  # it was the oldest of a mailbox with `Overflow.DROP_OLDEST`
    LEFT = "left"  # it waited when its mailbox was closed by `Ref.close`


class DeadLetter(msgspec.Struct, frozen=True):
    """One message that nobody will handle.

    Attributes:
        name: of the ref it was for.
        message: as it was sent.
        reason: why.
    """

    name: str
    message: object
    reason: Lost


class DeadLetters:
    """Hears of lost messages; give one to every `Ref` that it shall listen to.

    Not for what the sender knows: a `tell` that raised, an `ask` that failed. Nor for the message in hand of a
    crash, which its supervisor reports.

    Args:
        listener: called with each, in the task that lost it, so it must be quick. What it raises is logged.

    Attributes:
        counts: how many so far, by reason.
    """

    def __init__(self, listener: Callable[[DeadLetter], object] | None = None) -> None:
        self.counts: Counter[Lost] = Counter()
        self._listener = listener

    def bury(self, letter: DeadLetter) -> None:
        """Count one and tell the listener."""
        self.counts[letter.reason] += 1
        if self._listener is None:
            return
        try:
            self._listener(letter)
        except Exception:  # the listener's affair; whoever lost the message has work to finish
            text = "the dead letter listener failed over a message for %r"
            logger.exception(text, letter.name, extra={"event": "listener.failed"})
