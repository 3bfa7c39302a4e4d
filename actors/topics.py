"""One message to many actors."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, TypeVar

from actors.address import Ref
from actors.dead_letters import Lost
from actors.errors import ActorGone, MailboxFull

M = TypeVar("M")


class Topic(Generic[M]):
    """Actors that want to hear what others publish. It knows no names and keeps no messages.

    A slow subscriber holds nobody up: its mailbox decides what a message costs that finds no room. Who wants
    the newest takes `Overflow.DROP_OLDEST`; otherwise the new message is lost to this subscriber, and goes to
    its dead letters. A subscriber that has ended for good is removed when the next message finds that out.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[Ref[M], Subscription[M]] = {}

    def __len__(self) -> int:
        """How many subscribe."""
        return len(self._subscriptions)

    def subscribe(self, ref: Ref[M]) -> Subscription[M]:
        """Have `ref` told all that is published from now on. Once is enough: a second time gives the same."""
        known = self._subscriptions.get(ref)
        if known is None:
            known = self._subscriptions[ref] = Subscription(ref, self._subscriptions)
        return known

    def publish(self, message: M) -> int:
        """Tell all subscribers, in the order they came, without waiting. How many have it now."""
        return sum(subscription.deliver(message) for subscription in list(self._subscriptions.values()))


class Subscription(Generic[M]):
    """One actor's place in a topic, until it is cancelled: by hand, or by leaving it as a context.

    Attributes:
        ref: the subscriber.
        missed: messages that found its mailbox full.
    """

    def __init__(self, ref: Ref[M], others: dict[Ref[M], Subscription[M]]) -> None:
        self.ref = ref
        self.missed = 0
        self._others = others

    def cancel(self) -> None:
        """Hear no more. No effect afterwards, not even on a later subscription of the same actor."""
        if self._others.get(self.ref) is self:
            del self._others[self.ref]

    def deliver(self, message: M) -> bool:
        """Tell the subscriber; whether it has the message."""
        try:
            self.ref.tell(message)
        except MailboxFull:
            self.missed += 1
            self.ref._bury(message, Lost.FULL)
            return False
        except ActorGone:
            self.cancel()
            self.ref._bury(message, Lost.GONE)
            return False
        return True

    def __enter__(self) -> Subscription[M]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
