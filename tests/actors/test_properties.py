"""What holds whatever happens: random tells, asks, crashes and stops, against the few rules of a mailbox.

Every message has a number. An actor writes down what it takes, so that at the end each number can be accounted
for: handled once, or waiting still, or the message in hand of a crash, or refused to its sender.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import Enum

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import Actor, ActorGone, AskTimeout, Down, Mailbox, Message, Ref, actor_child, handler
from actors.mailbox import Door
from actors.testing import settle
from supervisor import Intensity, NotFound, Restart, StillRestarting, StillRunning, Supervisor
from supervisor.testing import virtual_backend


class How(Enum):
    QUICK = "quick"
    SLOW = "slow"  # takes a second
    FAILS = "fails"
    FAILS_LATE = "fails late"  # after a second


class Say(Message[int], frozen=True):
    """Answered with its number."""

    number: int
    how: How


class Broken(Exception):
    pass


class Witness(Actor[Say]):
    """Writes down the number of each message when it begins, when it has ended well, and the time of any end."""

    def __init__(self, begun: list[int], done: list[int], ended: dict[int, float]) -> None:
        self.begun = begun
        self.done = done
        self.ended = ended

    @handler
    async def on_say(self, message: Say) -> int:
        self.begun.append(message.number)
        if message.how in (How.SLOW, How.FAILS_LATE):
            await anyio.sleep(1.0)
        self.ended[message.number] = anyio.current_time()
        if message.how in (How.FAILS, How.FAILS_LATE):
            raise Broken
        self.done.append(message.number)
        return message.number


class Tell(msgspec.Struct, frozen=True):
    how: How
    control: bool


class Send(msgspec.Struct, frozen=True):
    how: How


class Ask(msgspec.Struct, frozen=True):
    how: How
    timeout: float


class Watch(msgspec.Struct, frozen=True):
    pass


class StopIt(msgspec.Struct, frozen=True):
    pass


class Terminate(msgspec.Struct, frozen=True):
    pass


class Restarted(msgspec.Struct, frozen=True):
    pass


class Pass(msgspec.Struct, frozen=True):
    seconds: float


Step = Tell | Send | Ask | Watch | StopIt | Terminate | Restarted | Pass

how = st.sampled_from(list(How))
steps = st.lists(
    st.one_of(
        st.builds(Tell, how, st.booleans()),
        st.builds(Tell, how, st.just(False)),
        st.builds(Send, how),
        st.builds(Ask, how, st.sampled_from([0.5, 1.5, 30.0])),
        st.builds(Watch),
        st.builds(StopIt),
        st.builds(Terminate),
        st.builds(Restarted),
        st.builds(Pass, st.sampled_from([0.0, 0.3, 1.0, 2.5])),
    ),
    max_size=30,
)


class World:
    """One actor, its users, and what became of every message."""

    def __init__(self, capacity: int, restart: Restart) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.ended: dict[int, float] = {}
        self.data: list[int] = []  # taken by the mailbox, lane by lane, in this order
        self.control: list[int] = []
        self.unclear: set[int] = set()  # sent or asked with a wait: in the mailbox if they were handled
        self.refused: set[int] = set()
        self.waiting_senders: set[int] = set()
        self.answers: dict[int, object] = {}
        self.deadlines: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self.downs: list[list[Down]] = []
        self.kinds: dict[int, How] = {}
        self.ref: Ref[Say] = Ref("witness", Mailbox(capacity))
        self.child = actor_child("witness", self._make, ref=self.ref, restart=restart)
        self.restart = restart

    def _make(self) -> Witness:
        return Witness(self.begun, self.done, self.ended)

    async def run(self, script: Sequence[Step]) -> None:
        tree = Supervisor([self.child], intensity=Intensity(1000, 1.0))
        async with tree, anyio.create_task_group() as tasks:
            for number, step in enumerate(script):
                match step:
                    case Tell(how=how, control=control):
                        self._tell(Say(number, how), control)
                    case Send(how=how):
                        self.kinds[number] = how
                        tasks.start_soon(self._send, Say(number, how))
                    case Ask(how=how, timeout=timeout):
                        self.kinds[number] = how
                        tasks.start_soon(self._ask, Say(number, how), timeout)
                    case Watch():
                        told: list[Down] = []
                        self.downs.append(told)
                        self.ref.monitor(told.append)
                    case StopIt():
                        self.ref.stop()
                    case Terminate():
                        tasks.start_soon(self._terminate, tree)
                    case Restarted():
                        tasks.start_soon(self._restart, tree)
                    case Pass(seconds=seconds):
                        await anyio.sleep(seconds)
            await settle()
            await anyio.sleep(200)
            if self.ref._inbox._door is Door.CLOSED:
                assert not self.waiting_senders, "nobody waits for room in a mailbox that is closed"
            tasks.cancel_scope.cancel()  # of those who wait for room at an actor that does not run
        await settle()

    def _tell(self, message: Say, control: bool) -> None:
        self.kinds[message.number] = message.how
        over = self.restart is Restart.TEMPORARY and not self.ref.running
        try:
            self.ref.tell(message, control=control)
        except Exception:
            self.refused.add(message.number)
        else:
            assert not over, "a mailbox that is closed for good takes nothing"
            (self.control if control else self.data).append(message.number)

    async def _send(self, message: Say) -> None:
        self.unclear.add(message.number)
        self.waiting_senders.add(message.number)
        try:
            await self.ref.send(message)
            self.waiting_senders.remove(message.number)
        except ActorGone:
            self.waiting_senders.remove(message.number)
            self.refused.add(message.number)
        except anyio.get_cancelled_exc_class():
            self.refused.add(message.number)
            raise

    async def _ask(self, message: Say, timeout: float) -> None:  # noqa: ASYNC109  # what the step says
        self.unclear.add(message.number)
        self.deadlines[message.number] = anyio.current_time() + timeout
        try:
            self.answers[message.number] = await self.ref.ask(message, timeout)
        except (ActorGone, AskTimeout) as error:
            self.answers[message.number] = error
        self.answered[message.number] = anyio.current_time()

    async def _terminate(self, tree: Supervisor) -> None:
        with suppress(NotFound):
            await tree.terminate_child("witness")

    async def _restart(self, tree: Supervisor) -> None:
        with suppress(NotFound, StillRunning, StillRestarting):
            await tree.restart_child("witness")

    def waiting(self) -> list[int]:
        inbox = self.ref._inbox
        return [message.number for message in (*inbox.control, *inbox.data) if isinstance(message, Say)]

    def check(self) -> None:
        """Account for every message."""
        failing = {number for number, how in self.kinds.items() if how in (How.FAILS, How.FAILS_LATE)}
        assert len(self.begun) == len(set(self.begun)), "none is handled twice"
        assert self.done == [number for number in self.begun if number not in failing], "only failures are cut short"
        waiting = self.waiting()
        assert not set(waiting) & set(self.begun), "what waits was not handled"
        told = {*self.data, *self.control}
        assert told <= {*self.begun, *waiting}, "none that was told is lost"
        sent = {number for number in self.unclear if number not in self.answers and number not in self.refused}
        assert sent <= {*self.begun, *waiting}, "none that was sent is lost"
        assert not self.refused & {*self.begun, *waiting}, "none that was refused is handled"
        for lane in (self.data, self.control):
            begun = [number for number in self.begun if number in set(lane)]
            assert begun == sorted(begun), "a lane keeps its order"
        for number, answer in self.answers.items():
            self._check_answer(number, answer, failing)
        assert [len(told) for told in self.downs] == [1] * len(self.downs), "every monitor tells once"

    def _check_answer(self, number: int, answer: object, failing: set[int]) -> None:
        ended = self.ended.get(number, float("inf"))
        if isinstance(answer, int):
            assert (answer, number in self.done) == (number, True), "an answer is of its own question"
            assert self.answered[number] == ended, "an answer comes when there is one"
        elif isinstance(answer, AskTimeout):
            assert self.answered[number] == pytest.approx(self.deadlines[number]), "a timeout comes at its time"
            assert ended >= self.deadlines[number] - 1e-6, "an answer that is in time is not missed"
        elif number in self.ended:
            assert number in failing, "only the question in hand fails with the crash"
            assert self.answered[number] == ended, "and it fails at once"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(script=steps, capacity=st.sampled_from([1, 2, 1000]), restart=st.sampled_from(list(Restart)))
@settings(max_examples=120, deadline=None)
def test_every_message_is_handled_once_or_accounted_for(
    backend: str, script: list[Step], capacity: int, restart: Restart
) -> None:
    world = World(capacity, restart)
    name, options = virtual_backend(backend)
    anyio.run(world.run, script, backend=name, backend_options=options)
    world.check()
