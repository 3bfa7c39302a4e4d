"""Messages that are lost without their sender being told."""

from __future__ import annotations

import logging

import anyio
import pytest

from actors import ActorGone, DeadLetter, DeadLetters, Down, Lost, Mailbox, MailboxFull, Overflow, Ref, actor_child
from actors.testing import running, settle
from supervisor import Restart, Supervisor
from tests.actors.sample import Add, Command, Fail, Sample, Tally

pytestmark = pytest.mark.anyio


async def test_what_is_dropped_for_room_is_a_dead_letter_but_a_question_is_not_as_its_asker_knows() -> None:
    letters: list[DeadLetter] = []
    dead = DeadLetters(letters.append)
    ref: Ref[Command] = Ref("full", Mailbox(1, Overflow.DROP_OLDEST), dead_letters=dead)
    ref.tell(Add(1))
    ref.tell(Add(2))
    asked: list[object] = []

    async def ask() -> None:
        with pytest.raises(MailboxFull):
            await ref.ask(Tally())
        asked.append("refused")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await settle()
        ref.tell(Add(3))
    assert asked == ["refused"]
    assert letters == [DeadLetter("full", Add(number), Lost.DROPPED) for number in (1, 2)]
    assert dead.counts == {Lost.DROPPED: 2}


async def test_a_message_its_sender_knows_to_be_refused_is_no_dead_letter() -> None:
    dead = DeadLetters()
    ref: Ref[Command] = Ref("gone", dead_letters=dead)
    ref.close()
    with pytest.raises(ActorGone):
        ref.tell(Add(1))
    assert dead.counts == {}


async def test_what_waits_when_the_owner_closes_a_mailbox_is_a_dead_letter() -> None:
    letters: list[DeadLetter] = []
    ref: Ref[Command] = Ref("left", dead_letters=DeadLetters(letters.append))
    ref.tell(Add(2))
    ref.tell(Add(1), control=True)
    ref.stop()
    ref.close()
    ref.close()
    assert letters == [DeadLetter("left", Add(number), Lost.LEFT) for number in (1, 2)]
    assert ref.depth == 0


async def test_the_end_of_an_actor_alone_loses_nothing_as_it_may_be_started_again() -> None:
    async with running(Sample, restart=Restart.TRANSIENT) as sample:
        sample.ref.stop()
        sample.ref.tell(Add(1))
        await settle()
        assert (sample.ref.depth, sample.dead_letters) == (1, [])
        await sample.tree.restart_child("actor")
        assert await sample.ref.ask(Tally()) == [1]


async def test_the_news_of_an_end_that_nobody_is_left_to_hear_is_a_dead_letter() -> None:
    letters: list[DeadLetter] = []
    watcher: Ref[Command] = Ref("watcher", dead_letters=DeadLetters(letters.append))
    watcher.close()
    error = ValueError()
    async with running(Sample) as sample:
        sample.ref.monitor(watcher)
        sample.ref.tell(Fail(error))
        await settle()
    assert letters == [DeadLetter("watcher", Down(sample.ref, error), Lost.GONE)]


async def test_the_news_of_an_end_needs_no_room() -> None:
    diary: list[object] = []
    watcher: Ref[Command] = Ref("watcher", Mailbox(1))
    watcher.tell(Add(1), control=True)
    async with running(Sample) as sample:
        sample.ref.monitor(watcher)
        sample.ref.stop()
        await settle()
        async with Supervisor([actor_child("watcher", lambda: Sample(diary), ref=watcher)]):
            await settle()
    assert diary == ["started", Down(sample.ref, None), ("stopped", None)]


async def test_a_listener_that_fails_is_logged_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(letter: DeadLetter) -> None:
        raise RuntimeError("no ink")

    dead = DeadLetters(fail)
    ref: Ref[Command] = Ref("full", Mailbox(1, Overflow.DROP_OLDEST), dead_letters=dead)
    with caplog.at_level(logging.ERROR, "actors"):
        for number in range(2):
            ref.tell(Add(number))
    assert [record.getMessage() for record in caplog.records] == [
        "the dead letter listener failed over a message for 'full'"
    ]
    assert (dead.counts, ref.depth) == ({Lost.DROPPED: 1}, 1)


async def test_an_address_has_its_dead_letters_already() -> None:
    with pytest.raises(ValueError, match="has its mailbox already"):
        actor_child("a", Sample, ref=Ref("a"), dead_letters=DeadLetters())
