"""The lanes alone: no actor, no supervisor."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import ActorGone, Mailbox, MailboxFull, Message, Overflow
from actors.asks import Question
from actors.inbox import Inbox
from actors.mailbox import Door, Stop
from supervisor.testing import settle


class Count(Message[int], frozen=True):
    pass


def inbox(capacity: int = 3, overflow: Overflow = Overflow.WAIT) -> Inbox:
    return Inbox("a", Mailbox(capacity, overflow))


def drain(box: Inbox) -> list[object]:
    return [box.take() for _ in range(len(box))]


def test_control_messages_overtake_data_and_each_lane_keeps_its_order() -> None:
    box = inbox()
    box.put(1)
    box.put(2)
    box.put_control("a")
    box.put_control("b")
    assert drain(box) == ["a", "b", 1, 2]


def test_a_mailbox_without_room_for_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Mailbox(0)


@pytest.mark.parametrize("overflow", [Overflow.WAIT, Overflow.REFUSE])
def test_putting_into_a_full_mailbox_is_refused(overflow: Overflow) -> None:
    box = inbox(2, overflow)
    box.put(1)
    box.put(2)
    with pytest.raises(MailboxFull, match=r"^the mailbox of actor 'a' is full \(2 messages\)$"):
        box.put(3)
    assert (drain(box), box.dropped) == ([1, 2], 0)


def test_dropping_takes_the_oldest_and_counts_it() -> None:
    box = inbox(2, Overflow.DROP_OLDEST)
    for number in range(5):
        box.put(number)
    assert (drain(box), box.dropped) == ([3, 4], 3)


def test_a_dropped_question_is_answered_with_the_reason() -> None:
    box = inbox(1, Overflow.DROP_OLDEST)
    question = Question(Count())
    box.put(question)
    box.put(2)
    with pytest.raises(MailboxFull):
        question.result()


@pytest.mark.parametrize("overflow", list(Overflow))
def test_the_control_lane_is_bounded_and_always_refuses(overflow: Overflow) -> None:
    box = inbox(2, overflow)
    box.put_control(1)
    box.put_control(2)
    with pytest.raises(MailboxFull):
        box.put_control(3)
    assert drain(box) == [1, 2]


def test_a_request_to_stop_needs_no_room_and_is_kept_once() -> None:
    box = inbox(1)
    box.put_control(1)
    box.put_stop()
    box.put_stop()
    assert drain(box) == [1, Stop.REQUESTED]


OPERATIONS = st.lists(st.sampled_from(["put", "control", "take"]), max_size=60)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS, st.integers(1, 4), st.sampled_from(list(Overflow)))
def test_whatever_happens_each_accepted_message_is_taken_once_in_order_or_counted_as_dropped(
    operations: list[str], capacity: int, overflow: Overflow
) -> None:
    box = inbox(capacity, overflow)
    accepted: dict[str, list[int]] = {"put": [], "control": []}
    taken: dict[str, list[int]] = {"put": [], "control": []}
    puts: dict[str, Callable[[object], None]] = {"put": box.put, "control": box.put_control}

    def note(message: object) -> None:
        assert isinstance(message, tuple)
        lane, number = message
        taken[lane].append(number)

    for number, operation in enumerate(operations):
        if operation == "take":
            if len(box):
                note(box.take())
            continue
        try:
            puts[operation]((operation, number))
            accepted[operation].append(number)
        except MailboxFull:
            assert overflow is not Overflow.DROP_OLDEST or operation == "control"
        assert len(box.data) <= capacity
        assert len(box.control) <= capacity
    for message in drain(box):
        note(message)
    assert taken["control"] == accepted["control"]
    assert len(taken["put"]) + box.dropped == len(accepted["put"])
    assert taken["put"] == sorted(set(taken["put"]) & set(accepted["put"]))
    assert overflow is Overflow.DROP_OLDEST or taken["put"] == accepted["put"]


def test_a_closed_mailbox_takes_nothing_and_keeps_what_it_has() -> None:
    box = inbox()
    box.put(1)
    box.put_stop()
    reason = ValueError("broken")
    box.shut(Door.CLOSED, reason)
    for put in (box.put, box.put_control):
        with pytest.raises(ActorGone) as caught:
            put(2)
        assert (caught.value.name, caught.value.reason, caught.value.__cause__) == ("a", reason, reason)
    box.put_stop()
    box.shut(Door.OPEN)
    box.put(3)
    assert drain(box) == [1, 3]


@pytest.mark.parametrize("door", [Door.CLOSED, Door.ASKS_REFUSED])
def test_questions_that_nobody_will_answer_fail_and_free_their_places(door: Door) -> None:
    box = inbox(3)
    questions = [Question(Count()), Question(Count())]
    box.put(questions[0])
    box.put(1)
    box.put(questions[1])
    box.shut(door)
    for question in questions:
        with pytest.raises(ActorGone):
            question.result()
    box.shut(Door.OPEN)
    box.put(2)
    box.put(3)
    assert drain(box) == [1, 2, 3]


def test_a_mailbox_that_refuses_asks_takes_other_messages() -> None:
    box = inbox()
    box.shut(Door.ASKS_REFUSED)
    box.put(1)
    with pytest.raises(ActorGone):
        box.put(Question(Count()))
    assert drain(box) == [1]


@pytest.mark.anyio
async def test_senders_wait_for_room_first_come_first_served() -> None:
    box = inbox(1)
    box.put(0)
    taken = []
    async with anyio.create_task_group() as tasks:
        for number in (1, 2, 3):
            tasks.start_soon(box.send, number)
            await settle()
        for _ in range(3):
            taken.append(box.take())
            with pytest.raises(MailboxFull):  # the free place belongs to one who waits
                box.put("pushing in")
            await settle()
    assert taken + drain(box) == [0, 1, 2, 3]


@pytest.mark.anyio
async def test_a_sender_that_gives_up_waiting_leaves_nothing_and_loses_no_place() -> None:
    box = inbox(1)
    box.put(0)
    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(1):
            await box.send("late")
        tasks.start_soon(box.send, 1)
        await settle()
        assert box.take() == 0
    assert drain(box) == [1]


@pytest.mark.anyio
async def test_a_place_that_comes_together_with_the_cancellation_goes_to_the_next_sender() -> None:
    box = inbox(1)
    box.put(0)
    first = anyio.CancelScope()

    async def give_up() -> None:
        with first:
            await box.send("cancelled")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_up)
        await settle()
        tasks.start_soon(box.send, 1)
        await settle()
        first.cancel()
        assert box.take() == 0  # the place is granted to the first sender, which will never use it
    assert drain(box) == [1]


@pytest.mark.anyio
async def test_senders_that_wait_are_turned_away_when_the_mailbox_closes() -> None:
    box = inbox(1)
    box.put(0)
    turned_away = []

    async def send(message: object) -> None:
        try:
            await box.send(message)
        except ActorGone:
            turned_away.append(message)

    async with anyio.create_task_group() as tasks:
        for number in (1, 2):
            tasks.start_soon(send, number)
            await settle()
        box.shut(Door.CLOSED)
    assert (sorted(turned_away), drain(box)) == ([1, 2], [0])  # type: ignore[type-var]


@pytest.mark.anyio
async def test_a_sender_whose_place_comes_together_with_the_closing_is_turned_away_too() -> None:
    box = inbox(1)
    box.put(0)

    async def send() -> None:
        with pytest.raises(ActorGone):
            await box.send("late")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await settle()
        assert box.take() == 0
        box.shut(Door.CLOSED)
    box.shut(Door.OPEN)
    box.put(1)
    assert drain(box) == [1]


@pytest.mark.anyio
async def test_a_sender_may_keep_waiting_where_only_asks_are_refused() -> None:
    box = inbox(1)
    box.put(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(box.send, 1)
        await settle()
        box.shut(Door.ASKS_REFUSED)
        box.take()
    assert drain(box) == [1]


@pytest.mark.anyio
async def test_a_question_that_waits_for_room_is_turned_away_where_asks_are_refused() -> None:
    box = inbox(1)
    box.put(0)
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(ActorGone):
                await box.send(Question(Count()))

        tasks.start_soon(ask)
        await settle()
        box.shut(Door.ASKS_REFUSED)
    assert drain(box) == [0]


def crowded() -> Inbox:
    """Room for two, and two more that were postponed and have come back."""
    box = inbox(2)
    for number in (1, 2):
        box.put(number)
        box.postpone(box.take())
    assert (box.can_postpone, len(box)) == (False, 2)
    for number in (3, 4):
        box.put(number)
    box.redeliver()
    return box


def test_postponed_messages_come_back_before_the_others_and_take_their_room() -> None:
    box = crowded()
    taken = []
    for _ in range(3):
        with pytest.raises(MailboxFull):
            box.put(5)
        taken.append(box.take())
    box.put(5)
    assert taken + drain(box) == [1, 2, 3, 4, 5]


@pytest.mark.anyio
async def test_senders_get_no_room_while_postponed_messages_have_too_much_of_it() -> None:
    box = crowded()
    depths = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(box.send, 5)
        for _ in range(3):
            await settle()
            box.take()
            await settle()
            depths.append(len(box))
    assert (depths, drain(box)) == ([3, 2, 2], [4, 5])
