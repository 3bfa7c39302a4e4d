"""Where Python differs from Erlang and hurts: cancellation, exception groups, tasks that live on."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import anyio
import pytest

from supervisor.core import Core
from supervisor.errors import Path
from supervisor.incarnation import KILL_GRACE, Incarnation
from supervisor.reports import ChildEnded, ChildFailed, ChildUnstoppable, Exit, ExitKind
from supervisor.spec import BRUTAL_KILL, Child, Intensity, Restart, Strategy
from supervisor.testing import Recorder, settle
from supervisor.tree import Supervisor

pytestmark = pytest.mark.anyio


async def forever() -> None:
    await anyio.sleep_forever()


async def test_a_graceful_stop_is_not_cancelled_again_and_again() -> None:
    cancelled, steps = 0, 0

    async def drains(*, task_status: Incarnation) -> None:
        nonlocal cancelled, steps
        task_status.started()
        await task_status.stop_requested()
        for _ in range(10):
            try:
                await anyio.sleep(0.1)
            except anyio.get_cancelled_exc_class():
                cancelled += 1
                raise
            steps += 1

    with anyio.CancelScope() as scope:
        async with Supervisor([Child("a", drains)]):
            await settle()
            scope.cancel()
            await anyio.sleep_forever()
    assert (cancelled, steps, scope.cancelled_caught) == (0, 10, True)


async def test_a_child_that_is_cancelled_may_still_clean_up_behind_a_shield() -> None:
    done: list[str] = []

    async def cleans() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(1.0, shield=True):
                await anyio.sleep(0.5)
                done.append("cleaned")

    record = Recorder()
    async with Supervisor([Child("a", cleans)], on_event=record):
        await settle()
    assert done == ["cleaned"]
    assert record.of(ChildEnded)[0].exit == Exit(ExitKind.SHUTDOWN)


async def test_a_child_that_swallows_a_cancellation_gets_the_next_one() -> None:
    swallowed = 0

    async def swallows() -> None:
        nonlocal swallowed
        try:
            await anyio.sleep_forever()
        except BaseException:
            swallowed += 1
        await anyio.sleep_forever()

    record = Recorder()
    async with Supervisor([Child("a", swallows, shutdown=BRUTAL_KILL)], on_event=record):
        await settle()
    assert (swallowed, record.of(ChildUnstoppable)) == (1, [])
    assert record.of(ChildEnded)[0].exit == Exit(ExitKind.KILLED)


async def test_a_child_that_does_not_die_is_replaced_all_the_same_and_its_late_end_changes_nothing() -> None:
    lives: list[int] = []

    async def undying(*, task_status: Incarnation) -> None:
        number = task_status.number
        lives.append(number)
        task_status.started(number)
        with anyio.CancelScope(shield=number == 1):
            await anyio.sleep(100.0)

    record = Recorder()
    spec = Child("a", undying, shutdown=0, restart=Restart.TRANSIENT)
    async with Supervisor([spec], intensity=Intensity(0), on_event=record) as tree:
        await settle()
        await tree.terminate_child("a")
        assert anyio.current_time() == pytest.approx(KILL_GRACE)
        assert await tree.restart_child("a") == 2
        await anyio.sleep(99.5)  # the first one ends meanwhile, in vain
        assert (lives, tree.value("a")) == ([1, 2], 2)
    assert [event.number for event in record.of(ChildEnded) if event.path == ("root", "a")] == [1, 2]


async def test_a_tree_is_left_without_a_child_that_swallows_every_cancellation() -> None:
    let_go, gone = anyio.Event(), anyio.Event()

    async def undying() -> None:
        while not let_go.is_set():
            with suppress(anyio.get_cancelled_exc_class()):
                await let_go.wait()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
        gone.set()

    record = Recorder()
    leaks: list[list[Path]] = []
    async with Supervisor([Child("a", undying, shutdown=0)], on_event=record, on_leak=leaks.append):
        await settle()
    left = (leaks, gone.is_set())
    let_go.set()  # before any assertion: the event loop cannot end without it
    await gone.wait()
    assert left == ([[("root", "a")]], False)
    assert record.names()[-4:-2] == ["ChildUnstoppable root/a", "ChildEnded root/a"]


async def test_an_interrupt_in_a_child_that_outlived_its_tree_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def late() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(30.0)
        raise KeyboardInterrupt

    async with Supervisor([Child("a", late, shutdown=0)], on_leak=lambda _: None):
        await settle()
    caplog.clear()
    await anyio.sleep(60.0)
    assert [record.getMessage() for record in caplog.records] == ["a child that outlived its tree raised"]


async def test_a_defect_of_the_supervisor_is_raised_where_the_tree_was_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    defect = RuntimeError("defect")

    def broken(core: Core, what: object) -> None:
        raise defect

    monkeypatch.setattr(Core, "_on_exit", broken)

    async def life() -> None: ...

    with pytest.raises(RuntimeError) as caught:
        async with Supervisor([Child("a", life)]):
            await anyio.sleep(3600.0)
    assert caught.value is defect


def test_an_interrupt_reaches_a_child_that_never_yields() -> None:
    program = """
import signal, trio
from supervisor import Child, Supervisor

async def busy():
    signal.raise_signal(signal.SIGINT)
    while True: pass

async def main():
    async with Supervisor([Child("busy", busy)]):
        await trio.sleep_forever()

trio.run(main)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.stderr.splitlines()[-1] == "KeyboardInterrupt"


async def test_an_exception_group_of_the_body_comes_out_as_it_is() -> None:
    group = ExceptionGroup("mine", [ValueError(), KeyError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with Supervisor([Child("a", forever)]):
            raise group
    assert caught.value is group


async def test_several_errors_of_one_child_stay_together() -> None:
    group = ExceptionGroup("both", [ValueError(), KeyError()])

    async def fails() -> None:
        raise group

    record = Recorder()
    async with Supervisor([Child("a", fails, restart=Restart.TEMPORARY)], on_event=record):
        await settle()
    assert [event.exit.error for event in record.of(ChildFailed)] == [group]


async def test_an_interrupt_in_the_body_comes_out_bare_after_the_ordered_stop() -> None:
    record = Recorder()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        async with Supervisor([Child(id, forever) for id in "ab"], on_event=record):
            await settle()
            raise KeyboardInterrupt
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "root"]


async def test_a_tree_is_left_by_the_task_that_entered_it() -> None:
    tree = Supervisor([Child("a", forever)])
    async with tree, anyio.create_task_group() as group:
        errors: list[str] = []

        async def other() -> None:
            with pytest.raises(RuntimeError) as caught:
                await tree.__aexit__(None, None, None)
            errors.append(str(caught.value))

        group.start_soon(other)
        await settle()
        assert errors == ["supervisor 'root' must be left by the task that entered it"]
        assert tree.count_children().active == 1


async def test_a_child_may_start_and_stop_others_of_its_own_supervisor() -> None:
    async def parent(*, task_status: Incarnation) -> None:
        task_status.started()
        await tree.start_child(Child("helper", forever))
        await tree.terminate_child("helper")
        await tree.delete_child("helper")
        done.set()
        await anyio.sleep_forever()

    done = anyio.Event()
    async with Supervisor() as tree:
        await tree.start_child(Child("parent", parent))
        await done.wait()
        assert [c.id for c in tree.which_children()] == ["parent"]


async def test_a_tree_stopped_while_requests_wait_answers_them_all() -> None:
    answers: list[str] = []

    async def slow(*, task_status: Incarnation) -> None:
        await anyio.sleep(10.0)
        task_status.started()
        await anyio.sleep_forever()

    async def ask(tree: Supervisor, id: str) -> None:
        try:
            await tree.start_child(Child(id, slow))
        except Exception as error:
            answers.append(type(error).__name__)

    async with anyio.create_task_group() as group, Supervisor(strategy=Strategy.ONE_FOR_ONE) as tree:
        for id in "abc":
            group.start_soon(ask, tree, id)
        await settle()
    assert sorted(answers) == ["StartFailed", "StartFailed", "StartFailed"]
