"""Where an actor's messages wait: two bounded lanes, and who waits for them or for room in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from actors.asks import Question
from actors.dead_letters import DeadLetter, DeadLetters, Lost
from actors.errors import ActorGone, MailboxFull
from actors.mailbox import Door, Mailbox, Overflow, Stop
from actors.timers import Timer
from supervisor.loops import Waiter, waiters


class Inbox:
    """The lanes of one actor. One task takes; any task of the same event loop puts. Not for other threads.

    Nothing here awaits while there is something to take, or room to put: a hand-over costs two deque
    operations.

    Attributes:
        arrival: what the task that takes sleeps on while there is nothing, until something is put or someone nudges.
        control: messages that overtake data.
        data: all others.
        dropped: messages lost to `Overflow.DROP_OLDEST` so far.
        dead_letters: who hears of messages that are lost without their sender being told.
    """

    __slots__ = (
        "_door",
        "_mailbox",
        "_name",
        "_postponed",
        "_reason",
        "_room",
        "_senders",
        "arrival",
        "control",
        "data",
        "dead_letters",
        "dropped",
    )

    def __init__(self, name: str, mailbox: Mailbox, dead_letters: DeadLetters | None = None) -> None:
        self.control: list[object] = []  # short, and there are many actors: an empty deque takes 0.7 KiB
        self.data: deque[object] = deque()
        self.dropped = 0
        self.dead_letters = dead_letters
        self._name = name
        self._mailbox = mailbox
        self._door = Door.OPEN
        self._reason: BaseException | None = None
        # Free places in the data lane. A place that becomes free while senders wait is handed to the first of
        # them and never counted here: so room means that nobody waits, and nobody can be overtaken. Below zero
        # when postponed messages came back into a lane that was filled meanwhile.
        self._room = mailbox.capacity
        self._senders: list[_Turn] = []
        self.arrival: Waiter | None = None
        self._postponed: list[object] | None = None

    def __len__(self) -> int:
        postponed = 0 if self._postponed is None else len(self._postponed)
        return len(self.control) + len(self.data) + postponed

    def put(self, message: object) -> None:
        """Append to the data lane now.

        Raises:
            MailboxFull: there is no room, and the rule is not DROP_OLDEST.
            ActorGone: the mailbox is closed.
        """
        if self._door is not Door.OPEN:
            self._check_door(message)
        if self._room > 0:
            self._room -= 1
        elif self._mailbox.overflow is Overflow.DROP_OLDEST:
            self._drop_oldest()
        else:
            raise self._full()
        self.data.append(message)
        if self.arrival is not None:
            self.nudge()

    def put_control(self, message: object) -> None:
        """Append to the control lane now. Raises as `put` does when there is no room."""
        self._check_door(message)
        if len(self.control) >= self._mailbox.capacity:
            raise self._full()
        self.control.append(message)
        self.nudge()

    def put_unbounded(self, message: object) -> None:
        """Append to the control lane, room or not, whatever the door: for what its own rules keep few."""
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
    def capacity(self) -> int:
        """Messages each lane holds."""
        return self._mailbox.capacity

    @property
    def must_wait(self) -> bool:
        """Whether `send` would have to wait for room now."""
        return self._room <= 0 and self._mailbox.overflow is Overflow.WAIT

    def take(self) -> object:
        """The next message, control first. Raises IndexError when there is none."""
        if self.control:
            return self.control.pop(0)
        message = self.data.popleft()
        if self._senders:
            self._free_place()
        else:
            self._room += 1
        return message

    def take_next(self, wanted: Callable[[object], bool], limit: float) -> list[object]:
        """Take messages in the order of `take`, up to `limit`, as long as the next one is wanted."""
        taken: list[object] = []
        while len(taken) < limit and (lane := self.control or self.data) and wanted(lane[0]):
            taken.append(self.take())
        return taken

    @property
    def can_postpone(self) -> bool:
        """Whether one more message can be put off: there is room for as many as a lane holds."""
        return self._postponed is None or len(self._postponed) < self._mailbox.capacity

    def postpone(self, message: object) -> None:
        """Put off a message that was taken, until `redeliver`."""
        if self._postponed is None:
            self._postponed = []
        self._postponed.append(message)

    def redeliver(self) -> None:
        """Put postponed messages before the rest of the data, as they came."""
        if self._postponed:
            self.data.extendleft(reversed(self._postponed))
            self._room -= len(self._postponed)
            self._postponed = None
            self.nudge()

    def discard(self) -> None:
        """Give up what is still here: nobody will take it."""
        lost = [message for message in (*self.control, *self.data) if not isinstance(message, Timer)]
        self.control.clear()
        for _ in range(len(self.data)):
            self.data.popleft()
            self._free_place()
        for message in lost:
            self.bury(message, Lost.LEFT)

    def bury(self, message: object, reason: Lost) -> None:
        """Report a message that is lost without its sender being told."""
        if self.dead_letters is not None:
            self.dead_letters.bury(DeadLetter(self._name, message, reason))

    def left(self, waiter: Waiter) -> None:
        """The task that slept on this was cancelled: nobody may nudge it."""
        if self.arrival is waiter:
            self.arrival = None

    def nudge(self) -> None:
        """Wake the task that sleeps, if it does."""
        waiter, self.arrival = self.arrival, None
        if waiter is not None and not waiter.done():  # done: its task is being cancelled
            waiter.set_result(None)

    def shut(self, door: Door, reason: BaseException | None = None) -> None:
        """Set what is taken from now on. Those who wait for what is not get ActorGone because of `reason`.

        Other messages stay, in case of a next life; but not a request to stop, unless the door is open.
        """
        self._door = door
        self._reason = reason
        if door is not Door.OPEN:
            self._turn_away([turn for turn in self._senders if not self.takes(turn.message)])
            self._fail_questions()
            self.forget_stop()

    def forget_stop(self) -> None:
        """Drop a request to stop that has become pointless, lest it ends the next life."""
        if Stop.REQUESTED in self.control:
            self.control.remove(Stop.REQUESTED)

    def takes(self, message: object) -> bool:
        """Whether the door is open for it."""
        if self._door is Door.OPEN:
            return True
        return self._door is Door.ASKS_REFUSED and not isinstance(message, Question)

    def _check_door(self, message: object) -> None:
        if not self.takes(message):
            raise ActorGone(self._name, self._reason)

    def _full(self) -> MailboxFull:
        return MailboxFull(self._name, self._mailbox.capacity)

    def _drop_oldest(self) -> None:
        oldest = self.data.popleft()
        self.dropped += 1
        if isinstance(oldest, Question):
            oldest.fail(self._full())
        else:
            self.bury(oldest, Lost.DROPPED)

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
            await turn.waiter
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
            turn.wake()

    def _free_place(self) -> None:
        if self._senders and self._room >= 0:
            turn = self._senders.pop(0)
            turn.granted = True
            turn.wake()
        else:
            self._room += 1


class _Turn:
    """A sender in the queue for room; `granted` once a place is its own."""

    __slots__ = ("granted", "message", "waiter")

    def __init__(self, message: object) -> None:
        self.message = message
        self.waiter = waiters()()
        self.granted = False

    def wake(self) -> None:
        if not self.waiter.done():
            self.waiter.set_result(None)
