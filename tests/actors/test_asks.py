"""Tell, send and ask, with an actor at the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint

from actors import ActorGone, AskTimeout, Mailbox, MailboxFull, Overflow, Ref, UnhandledMessage, actor_child, testing
from supervisor import Directive, ErrorSurvived, Escalated, Intensity, Policy, PolicyTable, Restart, Supervisor
from supervisor.testing import settle
from supervisor.timers import LITTER
from tests.actors.sample import Add, Broken, Command, Fail, Finish, Harmless, Sample, Tally, Unknown, Wait

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(mailbox: Mailbox | None = None, restart: Restart = Restart.PERMANENT) -> AsyncIterator[Ref[Command]]:
    ref: Ref[Command] = Ref("sample", mailbox)
    async with Supervisor([actor_child("sample", Sample, ref=ref, restart=restart)]):
        yield ref


async def test_messages_are_handled_in_the_order_they_were_told() -> None:
    async with running() as ref:
        for number in range(200):  # more than the actor handles in one turn
            ref.tell(Add(number))
        assert await ref.ask(Tally()) == list(range(200))


async def test_control_messages_are_handled_before_data_that_came_earlier() -> None:
    async with running() as ref:
        for number in (1, 2):
            ref.tell(Add(number))
        ref.tell(Add(3), control=True)
        assert await ref.ask(Tally()) == [3, 1, 2]


async def test_an_ask_gives_what_the_handler_returns_sync_or_async() -> None:
    async with running() as ref:
        assert (await ref.ask(Add(2)), await ref.ask(Add(3)), await ref.ask(Tally())) == (2, 5, [2, 3])


async def test_an_ask_that_takes_long_waits_for_its_answer() -> None:
    async with running() as ref, anyio.create_task_group() as tasks:
        gate = anyio.Event()
        began = anyio.current_time()
        tasks.start_soon(_open_after, gate, 3.0)
        assert await ref.ask(Wait(gate)) == "opened"
        assert anyio.current_time() - began == pytest.approx(3.0)


async def test_an_ask_without_an_answer_ends_at_its_timeout_and_the_late_answer_is_dropped() -> None:
    async with running() as ref:
        gate = anyio.Event()
        began = anyio.current_time()
        with pytest.raises(AskTimeout, match=r"^actor 'sample' did not answer Wait within 1.5 s$"):
            await ref.ask(Wait(gate), timeout=1.5)
        assert anyio.current_time() - began == pytest.approx(1.5)
        gate.set()
        assert await ref.ask(Add(1)) == 1


async def test_an_ask_of_an_actor_that_never_starts_ends_at_its_timeout() -> None:
    ref: Ref[Command] = Ref("never")
    with pytest.raises(AskTimeout):
        await ref.ask(Tally())


async def test_who_says_nothing_waits_five_seconds() -> None:
    async with running() as ref:
        began = anyio.current_time()
        with pytest.raises(AskTimeout):
            await ref.ask(Wait(anyio.Event()))
        assert anyio.current_time() - began == pytest.approx(5.0)


async def test_many_asks_that_wait_each_end_at_their_own_time_by_one_timer() -> None:
    ends: list[tuple[int, float]] = []

    async def ask(number: int) -> None:
        with pytest.raises(AskTimeout):
            await sample.ref.ask(Tally(), timeout=float(number))
        ends.append((number, round(anyio.current_time() - began, 6)))

    async with testing.running(Sample) as sample, anyio.create_task_group() as tasks:
        sample.ref.tell(Wait(anyio.Event()))
        await settle()
        began = anyio.current_time()
        for number in (30, 10, 20):
            tasks.start_soon(ask, number)
        await settle()
        assert len(sample.lives[0].incarnation.timers._heap) == 3
        await anyio.sleep(60.0)
    assert ends == [(10, 10.0), (20, 20.0), (30, 30.0)]


async def test_an_ask_of_an_actor_that_starts_later_is_answered() -> None:
    ref: Ref[Command] = Ref("later")
    answers = []

    async def ask() -> None:
        answers.append(await ref.ask(Add(7)))

    async with Supervisor() as tree, anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await settle()
        assert await tree.start_child(actor_child("later", Sample, ref=ref)) is ref
    assert answers == [7]


async def test_the_started_value_is_a_ref_even_when_none_was_given() -> None:
    async with Supervisor([actor_child("sample", Sample)]) as tree:
        ref: Ref[Command] = tree.value("sample")
        assert (await ref.ask(Add(1)), ref.name, ref.running) == (1, "sample", True)


async def test_a_ref_comes_with_its_mailbox() -> None:
    with pytest.raises(ValueError, match="has its mailbox already"):
        actor_child("a", Sample, ref=Ref("a"), mailbox=Mailbox())


async def test_an_ask_ends_at_its_timeout_even_if_the_tree_and_its_clock_have_ended_before() -> None:
    ref: Ref[Command] = Ref("sample")
    began = anyio.current_time()
    ends: list[float] = []

    async def ask() -> None:
        with pytest.raises(AskTimeout):
            await ref.ask(Tally(), timeout=30.0)
        ends.append(anyio.current_time() - began)

    async def live_for(seconds: float) -> None:
        async with Supervisor([actor_child("sample", Sample, ref=ref)], intensity=Intensity(0, 1.0)):
            gate = anyio.Event()
            ref.tell(Wait(gate))
            await settle()
            ref.tell(Fail(Broken()), control=True)
            tasks.start_soon(ask)
            await anyio.sleep(seconds)
            gate.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        with pytest.raises(Escalated):
            await live_for(10.0)
        assert anyio.current_time() - began == pytest.approx(10.0)
        assert ends == []
    assert ends == [pytest.approx(30.0)]


async def test_asks_that_were_answered_leave_no_deadline_behind() -> None:
    async with testing.running(Sample) as sample, anyio.create_task_group() as tasks:
        for _ in range(500):
            gate = anyio.Event()
            tasks.start_soon(_open_after, gate, 0.01)
            assert await sample.ref.ask(Wait(gate), timeout=3600.0) == "opened"
        assert len(sample.lives[0].incarnation.timers._heap) < 2 * LITTER


async def test_an_asker_that_is_cancelled_disturbs_nobody() -> None:
    async with running() as ref:
        gate = anyio.Event()
        with anyio.move_on_after(1):
            await ref.ask(Wait(gate))
        gate.set()
        assert await ref.ask(Add(1)) == 1


async def test_the_asker_of_a_fatal_question_learns_what_the_actor_died_of() -> None:
    async with running() as ref:
        error = Broken("fatal")
        with pytest.raises(ActorGone, match=r"^actor 'sample' is gone: Broken\('fatal'\)$") as caught:
            await ref.ask(Fail(error))
        assert (caught.value.reason, caught.value.__cause__) == (error, error)
        assert await ref.ask(Tally()) == []


async def test_questions_behind_the_fatal_one_are_answered_by_the_next_life() -> None:
    answers: list[object] = []

    async with running() as ref, anyio.create_task_group() as tasks:

        async def add(number: int) -> None:
            answers.append(await ref.ask(Add(number)))

        ref.tell(Fail(Broken()))
        for number in (1, 2):
            tasks.start_soon(add, number)
    assert sorted(answers, key=str) in ([1, 3], [2, 3])


async def test_a_message_nobody_handles_is_an_error_that_names_it() -> None:
    async with running() as ref:
        with pytest.raises(ActorGone) as caught:
            await ref.ask(Unknown())
        assert isinstance(caught.value.reason, UnhandledMessage)
        assert str(caught.value.reason) == "actor 'sample' has no handler for Unknown"


async def test_where_the_policy_is_to_continue_the_asker_gets_the_error_and_the_state_survives() -> None:
    events: list[object] = []
    policies = PolicyTable({"HARMLESS": Policy(Directive.CONTINUE)}, default=Policy(Directive.RESTART))
    ref: Ref[Command] = Ref("sample")
    error = Harmless("never mind")
    async with Supervisor([actor_child("sample", Sample, ref=ref)], policies=policies, on_event=events.append):
        await ref.ask(Add(1))
        with pytest.raises(Harmless) as caught:
            await ref.ask(Fail(error))
        ref.tell(Fail(error))
        assert await ref.ask(Add(2)) == 3
    assert caught.value is error
    assert [event.error for event in events if isinstance(event, ErrorSurvived)] == [error, error]


async def test_an_ask_waits_for_room_within_its_timeout() -> None:
    async with running(Mailbox(1)) as ref, anyio.create_task_group() as tasks:
        gate = anyio.Event()
        ref.tell(Wait(gate))
        await settle()
        ref.tell(Add(1))
        with pytest.raises(AskTimeout):
            await ref.ask(Add(10), timeout=1.0)
        tasks.start_soon(_open_after, gate, 1.0)
        assert await ref.ask(Add(2)) == 3


async def test_a_full_mailbox_that_refuses_says_so_to_tell_send_and_ask() -> None:
    async with running(Mailbox(1, Overflow.REFUSE)) as ref:
        gate = anyio.Event()
        ref.tell(Wait(gate))
        await settle()
        await ref.send(Add(1))
        with pytest.raises(MailboxFull):
            ref.tell(Add(2))
        with pytest.raises(MailboxFull):
            await ref.send(Add(3))
        with pytest.raises(MailboxFull):
            await ref.ask(Add(4))
        gate.set()
        await settle()
        assert await ref.ask(Tally()) == [1]


async def test_a_mailbox_may_drop_the_oldest_and_counts_them() -> None:
    async with running(Mailbox(2, Overflow.DROP_OLDEST)) as ref:
        for number in range(5):
            ref.tell(Add(number))
        assert (ref.depth, ref.dropped) == (2, 3)
        await settle()
        assert await ref.ask(Tally()) == [3, 4]


async def test_senders_wait_for_a_slow_actor_and_lose_nothing() -> None:
    async with running(Mailbox(3)) as ref:

        async def send(first: int) -> None:
            for number in range(first, first + 50):
                await ref.send(Add(number))

        async with anyio.create_task_group() as tasks:
            for first in (0, 100, 200):
                tasks.start_soon(send, first)
        numbers = await ref.ask(Tally())
    by_sender = [[number for number in numbers if number // 100 == sender] for sender in range(3)]
    assert by_sender == [list(range(first, first + 50)) for first in (0, 100, 200)]


async def test_an_actor_with_much_to_do_lets_others_run() -> None:
    heard_at_turn = []
    async with running() as ref:
        for number in range(1000):
            ref.tell(Add(number))
        while ref.depth:
            heard_at_turn.append(ref.depth)
            await checkpoint()
    assert len(heard_at_turn) >= 1000 // 64


async def test_an_actor_that_has_finished_answers_the_last_question_and_then_nobody() -> None:
    async with running(restart=Restart.TRANSIENT) as ref:
        assert await ref.ask(Finish()) == "bye"
        await settle()
        with pytest.raises(ActorGone, match=r"^actor 'sample' is gone: it was stopped$"):
            await ref.ask(Tally())
        with pytest.raises(ActorGone):
            ref.tell(Add(1))
        with pytest.raises(ActorGone):
            ref.tell(Add(1), control=True)
        with pytest.raises(ActorGone):
            await ref.send(Add(1))


async def _open_after(gate: anyio.Event, seconds: float) -> None:
    await anyio.sleep(seconds)
    gate.set()
