"""Being told of an end, once."""

from __future__ import annotations

import pytest

from actors import ActorGone, Down, Ref, actor_child
from supervisor import ErrorSurvived, Restart, Supervisor
from supervisor.testing import settle
from tests.actors.sample import Add, Broken, Command, Fail, Finish, Sample, Tally

pytestmark = pytest.mark.anyio


def sample(name: str = "sample") -> Ref[Command]:
    return Ref(name)


async def test_a_monitor_tells_once_when_the_life_it_watches_ends_in_a_crash() -> None:
    ref, told = sample(), list[Down]()
    error = Broken()
    async with Supervisor([actor_child("sample", Sample, ref=ref)]):
        ref.monitor(told.append)
        ref.tell(Fail(error))
        await settle()
        assert await ref.ask(Tally()) == []
    assert told == [Down(ref, error)]


async def test_a_normal_end_and_a_stop_have_no_error() -> None:
    ref, told = sample(), list[Down]()
    async with Supervisor([actor_child("sample", Sample, ref=ref)]):
        ref.monitor(told.append)
        await ref.ask(Finish())
        await settle()
        ref.monitor(told.append)
    assert told == [Down(ref, None), Down(ref, None)]


async def test_where_nobody_runs_a_monitor_tells_at_once() -> None:
    ref, told = sample(), list[Down]()
    ref.monitor(told.append)
    assert [(down.ref, type(down.error)) for down in told] == [(ref, ActorGone)]


async def test_a_cancelled_monitor_does_not_tell() -> None:
    ref, told = sample(), list[str]()
    async with Supervisor([actor_child("sample", Sample, ref=ref)]):
        monitor = ref.monitor(lambda down: told.append("cancelled"))
        ref.monitor(lambda down: told.append("kept"))
        monitor.cancel()
        monitor.cancel()
    assert told == ["kept"]


async def test_monitors_of_one_watcher_add_up_and_each_can_be_cancelled_alone() -> None:
    ref, told = sample(), list[Down]()
    async with Supervisor([actor_child("sample", Sample, ref=ref)]):
        first, _, _ = (ref.monitor(told.append) for _ in range(3))
        first.cancel()
        ref.stop()
        await settle()
        assert ref.running
    assert told == [Down(ref, None)] * 2  # of the first life, and nothing of the second


async def test_an_actor_can_watch_another_by_its_control_lane() -> None:
    watched, watcher, diary = sample("watched"), sample("watcher"), list[object]()
    error = Broken()
    children = [
        actor_child("watcher", lambda: Sample(diary), ref=watcher),
        actor_child("watched", Sample, ref=watched, restart=Restart.TEMPORARY),
    ]
    async with Supervisor(children):
        watched.monitor(watcher)
        watched.tell(Fail(error))
        await settle()
    assert diary == ["started", Down(watched, error), ("stopped", None)]


async def test_a_watcher_that_is_gone_for_good_is_no_trouble() -> None:
    watched, watcher, events = sample("watched"), sample("watcher"), list[object]()
    watcher.close()
    async with Supervisor([actor_child("watched", Sample, ref=watched)], on_event=events.append):
        watched.monitor(watcher)
    assert [event for event in events if isinstance(event, ErrorSurvived)] == []


async def test_a_watcher_that_fails_is_reported_and_the_others_are_told() -> None:
    ref, told, events = sample(), list[Down](), list[object]()
    error = Broken("watcher")

    def fail(down: Down) -> None:
        raise error

    async with Supervisor([actor_child("sample", Sample, ref=ref)], on_event=events.append):
        ref.monitor(fail)
        ref.monitor(told.append)
        assert await ref.ask(Add(1)) == 1
    assert told == [Down(ref, None)]
    assert [event.error for event in events if isinstance(event, ErrorSurvived)] == [error]


async def test_who_is_told_finds_the_mailbox_already_as_the_end_left_it() -> None:
    ref, refused = sample(), list[object]()

    def tell_it(down: Down) -> None:
        try:
            ref.tell(Add(1))
        except ActorGone:
            refused.append(down)

    async with Supervisor([actor_child("sample", Sample, ref=ref, restart=Restart.TEMPORARY)]):
        ref.monitor(tell_it)
        ref.stop()
        await settle()
    assert refused == [Down(ref, None)]


async def test_an_interrupt_in_a_watcher_stops_the_tree_when_the_other_watchers_were_told() -> None:
    ref, told = sample(), list[Down]()

    def interrupt(down: Down) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        async with Supervisor([actor_child("sample", Sample, ref=ref, restart=Restart.TEMPORARY)]):
            ref.monitor(interrupt)
            ref.monitor(told.append)
            ref.tell(Fail(Broken()))
            await settle()
    assert [type(down.error) for down in told] == [Broken]
