"""The rules of a mailbox: its bounds, and what it takes."""

from __future__ import annotations

from enum import Enum

import msgspec


class Overflow(Enum):
    """What happens to a message that finds the data lane full."""

    WAIT = "wait"  # `send` and `ask` wait for room, first come, first served; `tell` raises MailboxFull
    DROP_OLDEST = "drop_oldest"  # the oldest message goes, and is counted
    REFUSE = "refuse"  # MailboxFull


class Mailbox(msgspec.Struct, frozen=True):
    """How an actor's messages are kept.

    Args:
        capacity: messages each of the two lanes holds.
        overflow: the rule of the data lane. The control lane always refuses, as control messages must not
            vanish.

    Raises:
        ValueError: for a capacity below 1.
    """

    capacity: int = 1000
    overflow: Overflow = Overflow.WAIT

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"a mailbox needs a capacity of at least 1, not {self.capacity}")


class Door(Enum):
    """What a mailbox takes."""

    OPEN = "open"
    ASKS_REFUSED = "asks refused"  # stopped by the supervisor, which may start it again, or not
    CLOSED = "closed"


class Stop(Enum):
    """What `Ref.stop` puts into the control lane."""

    REQUESTED = "requested"
