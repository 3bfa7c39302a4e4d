"""One message to many."""

from __future__ import annotations

import msgspec
import pytest

from actors import DeadLetter, DeadLetters, Lost, Mailbox, Overflow, Ref, Topic, actor_child
from actors.testing import Probe, settle
from supervisor import Supervisor
from tests.actors.sample import Add, Command, Sample, Tally

pytestmark = pytest.mark.anyio


class News(msgspec.Struct, frozen=True):
    number: int


async def test_all_who_subscribe_are_told_what_is_published_from_then_on() -> None:
    topic, first, second = Topic[News](), Probe[News]("first"), Probe[News]("second")
    assert topic.publish(News(0)) == 0
    topic.subscribe(first.ref)
    assert topic.publish(News(1)) == 1
    topic.subscribe(second.ref)
    assert topic.publish(News(2)) == 2
    assert [await first.expect(News), await first.expect(News)] == [News(1), News(2)]
    assert await second.expect(News) == News(2)
    await first.expect_nothing()
    await second.expect_nothing()


async def test_an_actor_hears_what_is_published_over_its_restarts() -> None:
    topic, ref = Topic[Add](), Ref[Command]("sample")
    async with Supervisor([actor_child("sample", Sample, ref=ref)]):
        topic.subscribe(ref)
        topic.publish(Add(1))
        await settle()
        ref.stop()
        await settle()
        topic.publish(Add(2))
        assert await ref.ask(Tally()) == [2]


async def test_who_cancels_hears_no_more_and_whoever_subscribes_twice_hears_once() -> None:
    topic, probe = Topic[News](), Probe[News]()
    with topic.subscribe(probe.ref) as subscription:
        assert topic.subscribe(probe.ref) is subscription
        topic.publish(News(1))
        assert len(topic) == 1
    topic.publish(News(2))
    subscription.cancel()
    assert await probe.expect(News) == News(1)
    await probe.expect_nothing()
    assert len(topic) == 0


async def test_a_late_cancel_does_not_end_a_later_subscription() -> None:
    topic, probe = Topic[News](), Probe[News]()
    old = topic.subscribe(probe.ref)
    old.cancel()
    topic.subscribe(probe.ref)
    old.cancel()
    assert len(topic) == 1


@pytest.mark.parametrize(
    ("overflow", "heard", "missed", "lost"),
    [
        (Overflow.DROP_OLDEST, [News(2), News(3)], 0, [(News(0), Lost.DROPPED), (News(1), Lost.DROPPED)]),
        (Overflow.REFUSE, [News(0), News(1)], 2, [(News(2), Lost.FULL), (News(3), Lost.FULL)]),
        (Overflow.WAIT, [News(0), News(1)], 2, [(News(2), Lost.FULL), (News(3), Lost.FULL)]),
    ],
)
async def test_a_slow_subscriber_holds_nobody_up_and_its_mailbox_says_what_it_misses(
    overflow: Overflow, heard: list[News], missed: int, lost: list[tuple[News, Lost]]
) -> None:
    letters: list[DeadLetter] = []
    slow: Ref[News] = Ref("slow", Mailbox(2, overflow), dead_letters=DeadLetters(letters.append))
    topic, quick = Topic[News](), Probe[News]("quick")
    subscription = topic.subscribe(slow)
    topic.subscribe(quick.ref)
    for number in range(4):
        topic.publish(News(number))
    assert [slow._inbox.take() for _ in range(slow.depth)] == heard
    assert (subscription.missed, letters) == (missed, [DeadLetter("slow", news, reason) for news, reason in lost])
    assert [await quick.expect(News) for _ in range(4)] == [News(number) for number in range(4)]


async def test_a_subscriber_that_has_ended_for_good_is_removed_and_the_others_are_told() -> None:
    letters: list[DeadLetter] = []
    gone: Ref[News] = Ref("gone", dead_letters=DeadLetters(letters.append))
    topic, probe = Topic[News](), Probe[News]()
    topic.subscribe(gone)
    topic.subscribe(probe.ref)
    gone.close()
    assert [topic.publish(News(1)), topic.publish(News(2))] == [1, 1]
    assert (len(topic), letters) == (1, [DeadLetter("gone", News(1), Lost.GONE)])
