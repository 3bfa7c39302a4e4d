"""Handlers that take what has piled up at once."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from actors import Actor, Message, Overflow, Ref, actor_child, handler
from actors.mailbox import Mailbox
from actors.testing import running, settle
from supervisor import Restart, Supervisor

pytestmark = pytest.mark.anyio


class Audio(msgspec.Struct, frozen=True):
    number: int


class Louder(Audio, frozen=True):
    pass


class Silence(msgspec.Struct, frozen=True):
    number: int


class Flush(msgspec.Struct, frozen=True):
    pass


class Heard(Message[list[list[int]]], frozen=True):
    pass


class Break(msgspec.Struct, frozen=True):
    pass


Sound = Audio | Silence


class Ear(Actor[Sound | Flush | Heard]):
    def __init__(self, heard: list[list[int]] | None = None) -> None:
        self.heard: list[list[int]] = [] if heard is None else heard

    @handler
    def on_sound(self, batch: list[Sound]) -> None:
        self.heard.append([sound.number for sound in batch])

    @handler
    def on_flush(self, message: Flush) -> None:
        self.heard.append([])

    @handler
    def on_heard(self, message: Heard) -> list[list[int]]:
        return list(self.heard)  # as it is now: the asker looks later


class Limited(Ear):
    @handler(limit=3)
    def on_sound(self, batch: list[Sound]) -> None:
        super().on_sound(batch)


async def test_what_waits_comes_as_one_batch_in_its_order() -> None:
    async with running(Ear) as ear:
        for number in range(5):
            ear.ref.tell(Audio(number) if number % 2 else Silence(number))
        assert await ear.ref.ask(Heard()) == [[0, 1, 2, 3, 4]]


async def test_a_message_alone_is_a_batch_of_one() -> None:
    async with running(Ear) as ear:
        for number in range(2):
            ear.ref.tell(Audio(number))
            await settle()
        assert await ear.ref.ask(Heard()) == [[0], [1]]


async def test_a_batch_ends_where_another_message_lies_so_that_the_order_stays() -> None:
    async with running(Ear) as ear:
        for message in (Audio(1), Louder(2), Flush(), Audio(3)):
            ear.ref.tell(message)
        assert await ear.ref.ask(Heard()) == [[1, 2], [], [3]]


async def test_a_question_ends_a_batch() -> None:
    ref: Ref[Sound | Flush | Heard] = Ref("ear")
    answers: list[list[list[int]]] = []

    async def ask() -> None:
        answers.append(list(await ref.ask(Heard())))

    async with Supervisor() as tree, anyio.create_task_group() as tasks:
        ref.tell(Audio(1))
        tasks.start_soon(ask)
        await settle()
        ref.tell(Audio(2))
        tasks.start_soon(ask)
        await settle()
        await tree.start_child(actor_child("ear", Ear, ref=ref))
    assert sorted(answers, key=len) == [[[1]], [[1], [2]]]  # trio wakes the askers in any order


async def test_control_messages_come_first_in_a_batch_too() -> None:
    async with running(Ear) as ear:
        ear.ref.tell(Audio(3))
        ear.ref.tell(Audio(1), control=True)
        ear.ref.tell(Audio(2), control=True)
        assert await ear.ref.ask(Heard()) == [[1, 2, 3]]


async def test_a_stop_ends_a_batch_before_the_data_behind_it() -> None:
    heard: list[list[int]] = []
    async with running(lambda: Ear(heard), restart=Restart.TRANSIENT) as ear:
        ear.ref.tell(Audio(1), control=True)
        ear.ref.stop()
        ear.ref.tell(Audio(2))
        await settle()
        assert (heard, ear.ref.depth) == ([[1]], 1)


async def test_a_limit_bounds_a_batch() -> None:
    async with running(Limited) as ear:
        for number in range(7):
            ear.ref.tell(Audio(number))
        assert await ear.ref.ask(Heard()) == [[0, 1, 2], [3, 4, 5], [6]]


async def test_a_batch_makes_room_for_those_who_wait() -> None:
    heard: list[list[int]] = []
    async with running(lambda: Ear(heard), mailbox=Mailbox(2)) as ear:

        async def send() -> None:
            for number in range(10):
                await ear.ref.send(Audio(number))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
        await settle()
    assert [number for batch in heard for number in batch] == list(range(10))


async def test_a_crash_costs_the_batch_in_hand() -> None:
    heard: list[list[int]] = []

    class Fragile(Ear):
        def on_sound(self, batch: list[Sound]) -> None:
            super().on_sound(batch)
            if len(batch) == 2:
                raise ValueError

    async with running(lambda: Fragile(heard)) as ear:
        for message in (Audio(1), Audio(2), Flush(), Audio(3)):
            ear.ref.tell(message)
        await settle()
        assert len(ear.lives) == 2
    assert heard == [[1, 2], [], [3]]


def test_a_batch_of_questions_is_refused_since_it_could_not_answer_them() -> None:
    with pytest.raises(TypeError, match=r"^handler Greedy.on_heard: a batch has no answer to give, but Heard can be"):

        class Greedy(Actor[Heard]):
            @handler
            def on_heard(self, batch: list[Heard]) -> None: ...


def test_a_limit_without_a_batch_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^handler Strange.on_audio has a limit, but takes no batch: annotate a list$"):

        class Strange(Actor[Audio]):
            @handler(limit=3)
            def on_audio(self, message: Audio) -> None: ...


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a batch holds at least 1 message, not 0$"):
        handler(limit=0)


async def test_an_overflowing_mailbox_gives_a_batch_of_the_newest() -> None:
    ref: Ref[Sound | Flush | Heard]
    async with running(Ear, mailbox=Mailbox(2, Overflow.DROP_OLDEST)) as ear:
        ref = ear.ref
        for number in range(5):
            ref.tell(Audio(number))
        await settle()
        assert await ref.ask(Heard()) == [[3, 4]]
