"""Actors whose handlers depend on a state."""

from __future__ import annotations

from enum import Enum

import anyio
import msgspec
import pytest

from actors import (
    Actor,
    ActorGone,
    AskTimeout,
    InvalidTransition,
    Mailbox,
    MailboxFull,
    Message,
    Postpone,
    StateMachine,
    UnhandledMessage,
    entering,
    handler,
    in_state,
    timed_out,
)
from actors.testing import Running, running, settle
from supervisor import Directive, Intensity, Policy, PolicyTable, Restart

pytestmark = pytest.mark.anyio

CONTINUE = PolicyTable({}, default=Policy(Directive.CONTINUE))


class Line(Enum):
    IDLE = "idle"
    CALLING = "calling"
    TALKING = "talking"


class Call(Message[str], frozen=True):
    number: str


class PickUp(msgspec.Struct, frozen=True):
    pass


class HangUp(msgspec.Struct, frozen=True):
    pass


class Say(Message[str], frozen=True):
    text: str


class Whisper(Say, frozen=True):
    pass


class Where(Message[Line], frozen=True):
    pass


class Trip(msgspec.Struct, frozen=True):
    """Ask for another state, and fail."""


Command = Call | PickUp | HangUp | Say | Where | Trip


class Phone(StateMachine[Line, Command], initial=Line.IDLE):
    """Rings for 30 s; what is said while it rings is said once somebody listens."""

    def __init__(self, diary: list[str] | None = None) -> None:
        self.diary = [] if diary is None else diary

    @in_state(Line.IDLE)
    def dial(self, message: Call) -> str:
        self.go(Line.CALLING)
        return f"calling {message.number}"

    @in_state(Line.CALLING)
    async def answered(self, message: PickUp) -> None:
        await anyio.lowlevel.checkpoint()
        self.go(Line.TALKING)

    @in_state(Line.CALLING)
    def hold_words(self, message: Say) -> str:
        raise Postpone

    @in_state(Line.TALKING)
    def say(self, message: Say) -> str:
        self.diary.append(message.text)
        return message.text.upper()

    @handler
    def hang_up(self, message: HangUp) -> None:
        self.go(Line.IDLE)

    @handler
    def where(self, message: Where) -> Line:
        return self.state

    @handler
    def trip(self, message: Trip) -> None:
        self.go(Line.TALKING)
        raise ValueError("tripped")

    @entering(Line.IDLE)
    def rest(self) -> None:
        self.diary.append("idle")

    @entering(Line.CALLING)
    def ring(self) -> None:
        self.diary.append("ring")
        self.state_timeout(30.0)

    @entering(Line.TALKING)
    async def greet(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.diary.append("hello")

    @timed_out(Line.CALLING)
    def nobody_there(self) -> None:
        self.diary.append("nobody")
        self.go(Line.IDLE)


def phone_of(run: Running[Command]) -> Phone:
    phone = run.lives[-1]
    assert isinstance(phone, Phone)
    return phone


async def test_a_machine_begins_in_its_initial_state_and_enters_it() -> None:
    async with running(Phone) as phone:
        assert (await phone.ref.ask(Where()), phone_of(phone).diary) == (Line.IDLE, ["idle"])


async def test_messages_have_the_handler_of_the_state_and_change_it() -> None:
    async with running(Phone) as phone:
        assert await phone.ref.ask(Call("112")) == "calling 112"
        assert await phone.ref.ask(Where()) is Line.CALLING
        phone.ref.tell(PickUp())
        assert await phone.ref.ask(Say("fire")) == "FIRE"
        assert phone_of(phone).diary == ["idle", "ring", "hello", "fire"]


async def test_a_message_without_a_handler_in_the_state_is_an_error_that_names_both() -> None:
    async with running(Phone) as phone:
        with pytest.raises(ActorGone) as caught:
            await phone.ref.ask(Say("fire"))
        assert isinstance(caught.value.reason, InvalidTransition)
        assert str(caught.value.reason) == "actor 'actor' has no handler for Say in state IDLE"
        assert (caught.value.reason.state, caught.value.reason.message) == ("IDLE", "Say")


async def test_a_message_without_a_handler_in_any_state_is_unhandled_as_everywhere() -> None:
    class Unknown(Message[None], frozen=True):
        pass

    async with running(Phone) as phone:
        with pytest.raises(ActorGone) as caught:
            await phone.ref.ask(Unknown())
        assert isinstance(caught.value.reason, UnhandledMessage)


async def test_postponed_messages_come_after_the_change_of_state_before_later_ones_and_in_order() -> None:
    async with running(Phone) as phone:
        for message in (Call("112"), Say("one"), Whisper("two"), PickUp(), Say("three")):
            phone.ref.tell(message)
        await settle()
        assert phone_of(phone).diary == ["idle", "ring", "hello", "one", "two", "three"]


async def test_a_postponed_question_is_answered_in_the_state_that_can() -> None:
    answers: list[str] = []
    async with running(Phone) as phone, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append(await phone.ref.ask(Say("fire")))

        phone.ref.tell(Call("112"))
        tasks.start_soon(ask)
        await settle()
        assert (answers, phone.ref.depth) == ([], 1)
        phone.ref.tell(PickUp())
        await settle()
        assert (answers, phone.ref.depth) == (["FIRE"], 0)


async def test_a_postponed_question_may_time_out() -> None:
    async with running(Phone) as phone:
        phone.ref.tell(Call("112"))
        with pytest.raises(AskTimeout):
            await phone.ref.ask(Say("fire"), timeout=10.0)


async def test_a_crash_keeps_what_was_postponed_for_the_next_life() -> None:
    diary: list[str] = []
    async with running(lambda: Phone(diary)) as phone:
        for message in (Call("112"), Say("one"), Say("two")):
            phone.ref.tell(message)
        await settle()
        phone.ref.tell(Trip(), control=True)
        phone.ref.tell(Call("113"), control=True)
        phone.ref.tell(PickUp())
        await settle()
        assert len(phone.lives) == 2
    assert diary == ["idle", "ring", "idle", "ring", "hello", "one", "two"]


async def test_what_is_postponed_has_a_bound_and_says_so() -> None:
    async with running(Phone, mailbox=Mailbox(2), policies=CONTINUE) as phone:
        phone.ref.tell(Call("112"))
        await settle()
        for number in range(3):
            phone.ref.tell(Say(str(number)))
            await settle()
        with pytest.raises(MailboxFull):
            await phone.ref.ask(Say("more"))
        phone.ref.tell(PickUp())
        await settle()
        assert [type(error) for error in phone.survived] == [MailboxFull, MailboxFull]
        assert phone_of(phone).diary == ["idle", "ring", "hello", "0", "1"]


async def test_a_state_timeout_comes_when_the_state_lasts_that_long() -> None:
    diary: list[str] = []
    async with running(lambda: Phone(diary)) as phone:
        phone.ref.tell(Call("112"))
        await anyio.sleep(29.9)
        assert diary == ["idle", "ring"]
        await anyio.sleep(0.2)
        assert diary == ["idle", "ring", "nobody", "idle"]


async def test_a_change_of_state_cancels_the_timeout_even_one_that_is_on_its_way() -> None:
    class Slow(Phone):
        @in_state(Line.CALLING)
        async def answered(self, message: PickUp) -> None:
            await anyio.sleep(60)  # the time is up meanwhile
            self.go(Line.TALKING)

    diary: list[str] = []
    async with running(lambda: Slow(diary)) as phone:
        phone.ref.tell(Call("112"))
        phone.ref.tell(PickUp())
        await anyio.sleep(3600)
        assert (await phone.ref.ask(Where()), diary) == (Line.TALKING, ["idle", "ring", "hello"])


async def test_a_new_timeout_replaces_the_old_one_and_each_state_has_its_own() -> None:
    class Patient(Phone):
        @in_state(Line.CALLING)
        def hold_words(self, message: Say) -> str:
            self.state_timeout(20.0)
            return "patience"

    diary: list[str] = []
    async with running(lambda: Patient(diary)) as phone:
        phone.ref.tell(Call("112"))
        await anyio.sleep(25)
        phone.ref.tell(Say("wait"))
        await anyio.sleep(19)
        assert await phone.ref.ask(Where()) is Line.CALLING
        await anyio.sleep(2)
        assert await phone.ref.ask(Where()) is Line.IDLE
        await anyio.sleep(3600)
    assert diary == ["idle", "ring", "nobody", "idle"]


async def test_a_state_timeout_ends_with_the_life_that_set_it() -> None:
    diary: list[str] = []
    async with running(lambda: Phone(diary)) as phone:
        phone.ref.tell(Call("112"))
        await anyio.sleep(10)
        phone.ref.tell(Trip())
        await settle()
        phone.ref.tell(Call("113"))  # in the next life: 30 s from here
        await anyio.sleep(25)
        assert diary == ["idle", "ring", "idle", "ring"]
        await anyio.sleep(6)
    assert diary == ["idle", "ring", "idle", "ring", "nobody", "idle"]


async def test_where_nothing_is_done_at_a_timeout_none_can_be_set() -> None:
    async with running(Phone) as phone:
        with pytest.raises(RuntimeError, match=r"^Phone has nothing that is done when IDLE times out$"):
            phone_of(phone).state_timeout(1.0)


async def test_to_go_where_one_is_changes_nothing() -> None:
    async with running(Phone) as phone:
        phone.ref.tell(HangUp())
        await settle()
        assert phone_of(phone).diary == ["idle"]


async def test_a_handler_that_raises_has_changed_nothing() -> None:
    async with running(Phone, policies=CONTINUE) as phone:
        phone.ref.tell(Trip())
        assert await phone.ref.ask(Where()) is Line.IDLE
        assert phone_of(phone).diary == ["idle"]


async def test_a_machine_may_begin_where_it_was_before_a_restart() -> None:
    class Resuming(Phone):
        async def started(self) -> None:
            if self.incarnation.number > 1:
                self.go(Line.TALKING)

    diary: list[str] = []
    async with running(lambda: Resuming(diary)) as phone:
        phone.ref.tell(Trip())
        assert await phone.ref.ask(Say("again")) == "AGAIN"
    assert diary == ["idle", "hello", "again"]


async def test_an_entry_cannot_change_the_state() -> None:
    class Restless(Phone):
        @entering(Line.CALLING)
        def ring(self) -> None:
            self.go(Line.IDLE)

    async with running(Restless, policies=CONTINUE) as phone:
        phone.ref.tell(Call("112"))
        assert await phone.ref.ask(Where()) is Line.CALLING
        assert [str(error) for error in phone.survived] == ["<Ref 'actor'> cannot leave CALLING while it enters it"]


async def test_an_entry_that_fails_loses_no_postponed_message() -> None:
    class Shy(Phone):
        @entering(Line.TALKING)
        async def greet(self) -> None:
            raise ValueError

    async with running(Shy, policies=CONTINUE) as phone:
        for message in (Call("112"), Say("one"), PickUp()):
            phone.ref.tell(message)
        await settle()
        assert phone_of(phone).diary == ["idle", "ring", "one"]


async def test_to_postpone_is_an_error_in_an_actor_without_states() -> None:
    class Plain(Actor[Where]):
        @handler
        def where(self, message: Where) -> Line:
            raise Postpone

    async with running(Plain) as plain:
        with pytest.raises(ActorGone) as caught:
            await plain.ref.ask(Where())
        assert isinstance(caught.value.reason, Postpone)


async def test_a_postponed_timer_can_be_cancelled_and_dies_with_its_life() -> None:
    class Later(Phone):
        @entering(Line.CALLING)
        def ring(self) -> None:
            self.timer = self.after(1.0, Say("timer"))

    diary: list[str] = []
    async with running(lambda: Later(diary), intensity=Intensity(2, 5.0)) as phone:
        phone.ref.tell(Call("112"))
        await anyio.sleep(2)
        assert phone.ref.depth == 1
        phone.ref.tell(PickUp())
        await settle()
        assert diary == ["idle", "hello", "timer"]
        phone.ref.tell(HangUp())
        phone.ref.tell(Call("113"))
        await anyio.sleep(2)
        phone.ref.tell(Trip())
        await settle()
        phone.ref.tell(Call("114"))
        phone.ref.tell(PickUp())
        await settle()
    assert diary == ["idle", "hello", "timer", "idle", "idle", "hello"]


async def test_senders_wait_until_postponed_messages_fit_again() -> None:
    diary: list[str] = []
    async with running(lambda: Phone(diary), mailbox=Mailbox(2), restart=Restart.TRANSIENT) as phone:
        phone.ref.tell(Call("112"))
        await settle()
        for number in range(2):
            await phone.ref.send(Say(str(number)))
        await settle()

        async def send() -> None:
            await phone.ref.send(PickUp())
            for number in range(2, 6):
                await phone.ref.send(Say(str(number)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
        await settle()
    assert diary == ["idle", "ring", "hello", "0", "1", "2", "3", "4", "5"]


def test_two_handlers_for_one_message_in_one_state_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^Torn has two handlers for PickUp in Line.IDLE$"):

        class Torn(StateMachine[Line, PickUp], initial=Line.IDLE):
            @in_state(Line.IDLE)
            def one(self, message: PickUp) -> None: ...

            @in_state(Line.IDLE, Line.CALLING)
            def two(self, message: PickUp) -> None: ...


def test_a_message_that_no_state_handles_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Deaf has no handler for HangUp$"):

        class Deaf(StateMachine[Line, PickUp | HangUp], initial=Line.IDLE):
            @in_state(Line.IDLE)
            def one(self, message: PickUp) -> None: ...


def test_a_state_of_another_machine_is_refused() -> None:
    class Other(Enum):
        STATE = "state"

    with pytest.raises(TypeError, match=r"^Lost begins in Line.IDLE, and can never be in .*Other.STATE$"):

        class Lost(StateMachine[Line, PickUp], initial=Line.IDLE):
            @in_state(Other.STATE)
            def one(self, message: PickUp) -> None: ...


def test_a_machine_without_a_beginning_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Endless has no initial state$"):

        class Endless(StateMachine[Line, PickUp]):
            @in_state(Line.IDLE)
            def one(self, message: PickUp) -> None: ...


def test_two_entries_for_one_state_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^Twice has two methods for Line.IDLE: one and two$"):

        class Twice(StateMachine[Line, PickUp], initial=Line.IDLE):
            @entering(Line.IDLE)
            def one(self) -> None: ...

            @entering(Line.IDLE)
            def two(self) -> None: ...

            @handler
            def pick_up(self, message: PickUp) -> None: ...


def test_a_batch_in_a_machine_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Greedy is a state machine: it takes one PickUp at a time, no list$"):

        class Greedy(StateMachine[Line, PickUp], initial=Line.IDLE):
            @handler
            def pick_up(self, batch: list[PickUp]) -> None: ...
