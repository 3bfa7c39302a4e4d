"""What only asyncio has: cancellation of a task by anybody, once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import anyio
import pytest

from supervisor import (
    CancelledFromOutside,
    Child,
    ChildEnded,
    ChildFailed,
    ChildStartFailed,
    ChildState,
    ChildStopFailed,
    Directive,
    Incarnation,
    Intensity,
    Policy,
    PolicyTable,
    StartFailed,
    Supervisor,
)
from supervisor.testing import Recorder, settle, virtual_backend

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return virtual_backend("asyncio")


async def polite(*, task_status: Incarnation) -> None:
    task_status.started(asyncio.current_task())
    await task_status.stop_requested()
    await anyio.sleep(1.0)


async def test_native_cancels_of_the_host_lead_to_the_ordered_stop_however_many() -> None:
    record = Recorder()
    entered = asyncio.Event()

    async def host() -> None:
        async with Supervisor([Child(id, polite) for id in "abc"], on_event=record):
            entered.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(host())
    await entered.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.5)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.get_running_loop().time() == pytest.approx(3.0)
    ended = [name for name in record.names() if name.startswith("ChildEnded")]
    assert ended == [f"ChildEnded {path}" for path in ("root/c", "root/b", "root/a", "root")]


async def leaky(*, task_status: Incarnation) -> None:
    task_status.started(asyncio.current_task())
    if task_status.number == 1:
        raise asyncio.CancelledError
    await anyio.sleep_forever()


async def test_a_cancellation_that_no_supervisor_asked_for_is_a_crash_and_leaves_the_siblings_alone() -> None:
    record = Recorder()
    children = [Child("a", polite), Child("b", leaky)]
    async with Supervisor(children, intensity=Intensity(2), on_event=record) as tree:
        await settle()
        tree.value("a").cancel()
        await settle()
        assert [(c.id, c.state, c.number) for c in tree.which_children()] == [
            ("a", ChildState.RUNNING, 2),
            ("b", ChildState.RUNNING, 2),
        ]
    errors = [event.exit.error for event in record.of(ChildFailed)]
    assert [type(error) for error in errors] == [CancelledFromOutside] * 2
    assert [type(error.__cause__) for error in errors if error is not None] == [asyncio.CancelledError] * 2


async def test_no_task_outlives_its_tree() -> None:
    before = asyncio.all_tasks()
    children = [Child("a", polite), Supervisor.child("s", [Child("b", leaky)])]
    async with Supervisor(children, intensity=Intensity(5)):
        await settle()
        assert len(asyncio.all_tasks() - before) >= 3
    assert asyncio.all_tasks() == before


async def test_a_child_cancelled_while_it_stops_in_its_own_time_is_reported_and_the_others_still_have_theirs() -> None:
    record = Recorder()
    async with Supervisor([Child("a", polite), Child("b", polite)], on_event=record) as tree:
        task = tree.value("b")
        tree.stop_soon()
        await asyncio.sleep(0.5)
        task.cancel()
    assert asyncio.get_running_loop().time() == pytest.approx(1.5)
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "root"]
    assert [type(event.exit.error) for event in record.of(ChildStopFailed)] == [CancelledFromOutside]


@pytest.mark.parametrize("restarts", [0, 1000])
@pytest.mark.parametrize("directive", [Directive.RESTART, Directive.BACKOFF])
async def test_to_cancel_every_other_task_there_is_stops_the_tree_and_is_told(
    restarts: int, directive: Directive
) -> None:
    """What shutdown code of many applications does, and which must not leave a body that takes its tree for alive."""
    record, before = Recorder(), asyncio.all_tasks()
    policies = PolicyTable(default=Policy(directive))
    children = [Child("a", polite), Supervisor.child("s", [Child("b", polite)], policies=policies)]
    with pytest.raises(CancelledFromOutside):  # noqa: PT012
        async with Supervisor(children, intensity=Intensity(restarts), policies=policies, on_event=record) as tree:
            await settle()
            for task in asyncio.all_tasks() - before:
                task.cancel()
            await asyncio.sleep(3600)
    assert asyncio.all_tasks() == before
    assert [name for name in record.names() if name.startswith("ChildEnded")][-1] == "ChildEnded root"
    assert all(child.state is ChildState.STOPPED for child in tree.which_children())


@pytest.mark.parametrize("steps", [0, 1])
async def test_the_task_of_the_timers_cancelled_leads_to_the_ordered_stop(steps: int) -> None:
    record = Recorder()
    children = [Child("a", polite), Child("b", polite, shutdown=0.25)]
    with pytest.raises(CancelledFromOutside):  # noqa: PT012
        async with Supervisor(children, on_event=record):
            for _ in range(steps):
                await settle()
            [task] = [task for task in asyncio.all_tasks() if task.get_name() == "supervisor.timers"]
            task.cancel()
            await asyncio.sleep(3600)
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "root"]
    assert asyncio.get_running_loop().time() == pytest.approx(1.25)  # so the deadline of b still works


async def plain() -> None:
    await asyncio.sleep(3600)


@pytest.mark.filterwarnings("ignore:coroutine 'Incarnation.live' was never awaited")
@pytest.mark.parametrize(("unborn", "number"), [(leaky, None), (plain, 2)])
async def test_a_child_cancelled_before_its_first_step_fails_like_any_other(
    unborn: Callable[..., Awaitable[None]], number: int | None
) -> None:
    """Nothing of such a task ever runs, so that it cannot tell of its end itself."""
    record, before = Recorder(), asyncio.all_tasks()
    async with Supervisor([Child("a", polite)], intensity=Intensity(1), on_event=record) as tree:
        start = asyncio.ensure_future(tree.start_child(Child("x", unborn)))
        await asyncio.sleep(0)
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "root/x"]
        task.cancel()
        await settle()
        assert {child.id: child.number for child in tree.which_children()} == {"a": 1} | ({"x": 2} if number else {})
    failed = [*record.of(ChildStartFailed), *(event.exit for event in record.of(ChildFailed))]
    assert [type(each.error) for each in failed] == [CancelledFromOutside]
    assert isinstance(start.exception(), type(None) if number else StartFailed)
    assert asyncio.all_tasks() == before
    gc.collect()  # while the warning is expected
