"""What an actor sends itself later."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import msgspec
import pytest

from actors import Actor, Message, Ref, Timer, actor_child, handler
from actors.testing import running, settle
from supervisor import Restart, Supervisor

pytestmark = pytest.mark.anyio


class Tick(msgspec.Struct, frozen=True):
    name: str = "tick"


class Work(msgspec.Struct, frozen=True):
    """Keeps the actor busy, and may end in an error."""

    seconds: float
    error: Exception | None = None


class Do(Message[object], frozen=True):
    """Answered with what the function makes of the actor."""

    what: Callable[[Clock], object]


class Broken(Exception):
    pass


class Clock(Actor[Tick | Work | Do]):
    def __init__(self, heard: list[tuple[str, float]] | None = None) -> None:
        self.heard = [] if heard is None else heard
        self.began = anyio.current_time()

    @property
    def now(self) -> float:
        return round(anyio.current_time() - self.began, 6)

    @handler
    def on_tick(self, message: Tick) -> None:
        self.heard.append((message.name, self.now))

    @handler
    async def on_work(self, message: Work) -> None:
        await anyio.sleep(message.seconds)
        self.heard.append(("work", self.now))
        if message.error is not None:
            raise message.error

    @handler
    def on_do(self, message: Do) -> object:
        return message.what(self)


async def test_a_message_for_later_comes_once_at_its_time() -> None:
    heard: list[tuple[str, float]] = []
    async with running(lambda: Clock(heard)) as clock:
        await clock.ref.ask(Do(lambda clock: clock.after(2.5, Tick())))
        await anyio.sleep(60)
    assert heard == [("tick", 2.5)]


async def test_a_repeated_message_keeps_the_beat_without_drift() -> None:
    heard: list[tuple[str, float]] = []
    async with running(lambda: Clock(heard)) as clock:
        await clock.ref.ask(Do(lambda clock: clock.every(0.1, Tick())))
        await anyio.sleep(100.05)
    assert [moment for _, moment in heard] == [round(beat / 10, 6) for beat in range(1, 1001)]


async def test_an_actor_slower_than_its_timer_skips_beats_and_hears_at_most_one_late() -> None:
    heard: list[tuple[str, float]] = []
    async with running(lambda: Clock(heard)) as clock:
        await clock.ref.ask(Do(lambda clock: clock.every(1.0, Tick())))
        clock.ref.tell(Work(3.5))
        await anyio.sleep(5.5)
    assert heard == [("work", 3.5), ("tick", 3.5), ("tick", 4.0), ("tick", 5.0)]


async def test_a_timers_message_overtakes_data_even_when_the_control_lane_is_full() -> None:
    heard: list[tuple[str, float]] = []
    ref: Ref[Tick | Work | Do] = Ref("clock")
    ref._inbox._mailbox = msgspec.structs.replace(ref._inbox._mailbox, capacity=1)
    async with Supervisor([actor_child("clock", lambda: Clock(heard), ref=ref)]):
        ref.tell(Do(lambda clock: clock.after(1.0, Tick("timer"))))
        ref.tell(Work(2.0))
        await settle()
        ref.tell(Tick("control"), control=True)
        ref.tell(Tick("data"))
        await anyio.sleep(5)
    assert heard == [("work", 2.0), ("control", 2.0), ("timer", 2.0), ("data", 2.0)]


async def test_a_cancelled_timer_is_not_heard_even_if_its_message_is_on_its_way() -> None:
    heard: list[tuple[str, float]] = []
    timers: list[Timer] = []
    async with running(lambda: Clock(heard)) as clock:
        await clock.ref.ask(Do(lambda clock: timers.append(clock.after(1.0, Tick("once")))))
        await clock.ref.ask(Do(lambda clock: timers.append(clock.every(1.0, Tick("ever")))))
        clock.ref.tell(Work(1.5))
        await anyio.sleep(1.2)
        assert clock.ref.depth == 2
        for timer in timers:
            timer.cancel()
            timer.cancel()
        await anyio.sleep(60)
        assert [timer.active for timer in timers] == [False, False]
    assert heard == [("work", 1.5)]


async def test_a_restart_cancels_the_timers_of_the_life_before() -> None:
    heard: list[tuple[str, float]] = []
    async with running(lambda: Clock(heard)) as clock:
        clock.ref.tell(Do(lambda clock: clock.after(1.0, Tick("waiting"))))
        clock.ref.tell(Do(lambda clock: clock.every(1.0, Tick("ever"))))
        clock.ref.tell(Do(lambda clock: clock.after(0.4, Tick("on its way"))))
        clock.ref.tell(Work(0.5, Broken()))
        clock.ref.tell(Do(lambda clock: clock.after(2.0, Tick("next life"))))
        await anyio.sleep(10)
        assert len(clock.lives) == 2
    assert [name for name, _ in heard] == ["work", "next life"]


async def test_the_end_of_an_actor_leaves_nothing_of_its_timers_behind() -> None:
    timers: list[Timer] = []
    async with running(Clock, restart=Restart.TRANSIENT) as clock:
        await clock.ref.ask(Do(lambda clock: timers.append(clock.every(1.0, Tick()))))
        clock.ref.stop()
        await anyio.sleep(10)
        assert (timers[0].active, clock.ref.depth) == (False, 0)


async def test_a_timer_may_be_started_while_the_actor_starts() -> None:
    heard: list[tuple[str, float]] = []

    class Early(Clock):
        async def started(self) -> None:
            self.after(0.0, Tick())
            await anyio.sleep(1)

    async with running(lambda: Early(heard)):
        await anyio.sleep(2)
    assert heard == [("tick", 1.0)]


async def test_no_timer_outlives_its_life() -> None:
    async with running(Clock) as run:
        clock = run.lives[0]
    with pytest.raises(RuntimeError, match=r"^<Ref 'actor'> cannot start a timer: it is not running$"):
        clock.after(1.0, Tick())


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
async def test_a_time_that_cannot_come_is_refused(seconds: float) -> None:
    async with running(Clock) as run:
        with pytest.raises(ValueError, match=r"cannot wait .* s for Tick$"):
            run.lives[0].after(seconds, Tick())
        with pytest.raises(ValueError, match=r"cannot wait 0 s for Tick$"):
            run.lives[0].every(0, Tick())


async def test_a_timer_of_a_start_reaches_an_actor_whose_mailbox_was_closed_before() -> None:
    heard: list[tuple[str, float]] = []

    class Early(Clock):
        async def started(self) -> None:
            self.after(0.5, Tick())
            await anyio.sleep(1)

    async with running(lambda: Early(heard), restart=Restart.TRANSIENT) as clock:
        clock.ref.stop()
        await settle()
        await clock.tree.restart_child("actor")
        await settle()
        assert len(clock.lives) == 2
    assert heard == [("tick", 1.0), ("tick", 1.0)]  # one in each life


async def test_an_abandoned_life_sends_its_successor_nothing() -> None:
    heard: list[tuple[str, float]] = []
    gate = anyio.Event()

    class Stubborn(Clock):
        @handler
        async def on_work(self, message: Work) -> None:
            with anyio.CancelScope(shield=True):
                self.every(1.0, Tick("before"))
                await gate.wait()
                self.after(0.0, Tick("after"))
                await anyio.sleep(1.0)

    async with running(lambda: Stubborn(heard), shutdown=1.0) as clock:
        clock.ref.tell(Work(0.0))
        await settle()
        await clock.tree.terminate_child("actor")
        await clock.tree.restart_child("actor")
        gate.set()
        await anyio.sleep(10)
        assert (len(clock.lives), clock.ref.depth) == (2, 0)
    assert heard == []
