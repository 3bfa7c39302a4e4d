"""What only asyncio has: cancellation of a task by anybody, once."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from supervisor import CancelledFromOutside, Child, ChildFailed, ChildState, Incarnation, Intensity, Supervisor
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
    assert [type(event.exit.error) for event in record.of(ChildFailed)] == [CancelledFromOutside] * 2


async def test_no_task_outlives_its_tree() -> None:
    before = asyncio.all_tasks()
    children = [Child("a", polite), Supervisor.child("s", [Child("b", leaky)])]
    async with Supervisor(children, intensity=Intensity(5)):
        await settle()
        assert len(asyncio.all_tasks() - before) >= 3
    assert asyncio.all_tasks() == before
