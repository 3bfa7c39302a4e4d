"""Where an actor's messages wait: two bounded lanes, and who waits for them or for room in them."""

from __future__ import annotations

from collections import deque
from enum import Enum

import anyio
import msgspec

from actors.asks import Question
from actors.errors import ActorGone, MailboxFull


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


class Inbox:
    """The lanes of one actor. One task takes; any task of the same event loop puts. Not for other threads.

    Nothing here awaits while there is something to take, or room to put: a hand-over costs two deque
    operations.

    Attributes:
        control: messages that overtake data.
        data: all others.
        dropped: messages lost to `Overflow.DROP_OLDEST` so far.
    """

    __slots__ = (
        "_arrival",
        "_door",
        "_mailbox",
        "_name",
        "_reason",
        "_room",
        "_senders",
        "control",
        "data",
        "dropped",
    )

    def __init__(self, name: str, mailbox: Mailbox) -> None:
        self.control: deque[object] = deque()
        self.data: deque[object] = deque()
        self.dropped = 0
        self._name = name
        self._mailbox = mailbox
        self._door = Door.OPEN
        self._reason: BaseException | None = None
        # Free places in the data lane. A place that becomes free while senders wait is handed to the first of
        # them and never counted here: so room means that nobody waits, and nobody can be overtaken.
        self._room = mailbox.capacity
        self._senders: deque[_Turn] = deque()
        self._arrival: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self.control) + len(self.data)

    def put(self, message: object) -> None:
        """Append to the data lane now.

        Raises:
            MailboxFull: there is no room, and the rule is not DROP_OLDEST.
            ActorGone: the mailbox is closed.
        """
        if self._door is not Door.OPEN:
            self._check_door(message)
        if self._room:
            self._room -= 1
        elif self._mailbox.overflow is Overflow.DROP_OLDEST:
            self._drop_oldest()
        else:
            raise self._full()
        self.data.append(message)
        if self._arrival is not None:
            self.nudge()

    def put_control(self, message: object) -> None:
        """Append to the control lane now. Raises as `put` does when there is no room."""
        self._check_door(message)
        if len(self.control) >= self._mailbox.capacity:
            raise self._full()
        self.control.append(message)
        self.nudge()

    def put_stop(self) -> None:
        """Leave a request to stop, unless there is one, or nobody to heed it. It needs no room."""
        if self._door is not Door.CLOSED and Stop.REQUESTED not in self.control:
            self.control.append(Stop.REQUESTED)
            self.nudge()

    async def send(self, message: object) -> None:
        """Append to the data lane; with `Overflow.WAIT` as soon as there is room. Cancelled, it did not.

        Raises:
            MailboxFull, ActorGone: as `put` does.
        """
        if self.must_wait:
            self._check_door(message)
            await self._wait_for_room(message)
            self.data.append(message)
            self.nudge()
        else:
            self.put(message)

    @property
    def must_wait(self) -> bool:
        """Whether `send` would have to wait for room now."""
        return not self._room and self._mailbox.overflow is Overflow.WAIT

    def take(self) -> object:
        """The next message, control first. Raises IndexError when there is none."""
        if self.control:
            return self.control.popleft()
        message = self.data.popleft()
        if self._senders:
            self._free_place()
        else:
            self._room += 1
        return message

    async def arrival(self, arrival: anyio.Event) -> None:
        """Sleep until something is put, or someone nudges; `arrival` is a fresh event to sleep on."""
        self._arrival = arrival
        try:
            await arrival.wait()
        finally:
            if self._arrival is arrival:  # cancelled: nobody may nudge a sleeper that left
                self._arrival = None

    def nudge(self) -> None:
        """Wake the task in `arrival`, if there is one."""
        if self._arrival is not None:
            self._arrival.set()
            self._arrival = None

    def shut(self, door: Door, reason: BaseException | None = None) -> None:
        """Set what is taken from now on. Those who wait for what is not get ActorGone because of `reason`.

        Other messages stay, in case of a next life; but not a request to stop, unless the door is open.
        """
        self._door = door
        self._reason = reason
        if door is not Door.OPEN:
            self._turn_away([turn for turn in self._senders if not self._takes(turn.message)])
            self._fail_questions()
            self.forget_stop()

    def forget_stop(self) -> None:
        """Drop a request to stop that has become pointless, lest it ends the next life."""
        if Stop.REQUESTED in self.control:
            self.control.remove(Stop.REQUESTED)

    def _takes(self, message: object) -> bool:
        if self._door is Door.OPEN:
            return True
        return self._door is Door.ASKS_REFUSED and not isinstance(message, Question)

    def _check_door(self, message: object) -> None:
        if not self._takes(message):
            raise ActorGone(self._name, self._reason)

    def _full(self) -> MailboxFull:
        return MailboxFull(self._name, self._mailbox.capacity)

    def _drop_oldest(self) -> None:
        oldest = self.data.popleft()
        self.dropped += 1
        if isinstance(oldest, Question):
            oldest.fail(self._full())

    def _fail_questions(self) -> None:
        """Fail the questions in the data lane (asks have no other), and free their places."""
        waiting, self.data = self.data, deque()
        for message in waiting:
            if isinstance(message, Question):
                message.fail(ActorGone(self._name, self._reason))
                self._free_place()
            else:
                self.data.append(message)

    async def _wait_for_room(self, message: object) -> None:
        turn = _Turn(message)
        self._senders.append(turn)
        try:
            await turn.event.wait()
            if not turn.granted:
                raise ActorGone(self._name, self._reason)
            self._check_door(message)
        except BaseException:
            self._give_up(turn)
            raise

    def _give_up(self, turn: _Turn) -> None:
        if turn.granted:
            self._free_place()
        elif turn in self._senders:
            self._senders.remove(turn)

    def _turn_away(self, turns: list[_Turn]) -> None:
        for turn in turns:
            self._senders.remove(turn)
            turn.event.set()

    def _free_place(self) -> None:
        if self._senders:
            turn = self._senders.popleft()
            turn.granted = True
            turn.event.set()
        else:
            self._room += 1


class _Turn:
    """A sender in the queue for room; `granted` once a place is its own."""

    __slots__ = ("event", "granted", "message")

    def __init__(self, message: object) -> None:
        self.message = message
        self.event = anyio.Event()
        self.granted = False
