"""Where Python differs from Erlang and hurts: cancellation, exception groups, tasks that live on."""

from __future__ import annotations

import contextvars
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from supervisor import incarnation
from supervisor.commands import ChildState
from supervisor.core import Core
from supervisor.errors import Path, StartFailed, SupervisorGone
from supervisor.incarnation import KILL_GRACE, Incarnation
from supervisor.reports import ChildEnded, ChildFailed, ChildUnstoppable, Event, Exit, ExitKind
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


# ---- interrupts, wherever they are raised


def interrupt(*_: object) -> None:
    raise SystemExit(3)


async def interrupts_at_start(*, task_status: Incarnation) -> None:
    interrupt()


async def interrupts_when_asked_to_stop(*, task_status: Incarnation) -> None:
    task_status.on_stop(interrupt)
    task_status.started()
    await anyio.sleep_forever()


def children_that_interrupt() -> list[Child]:
    raise SystemExit(3)


async def polite(*, task_status: Incarnation) -> None:
    task_status.started()
    await task_status.stop_requested()
    await anyio.sleep(1.0)


@pytest.mark.parametrize(
    "last",
    [Child("c", interrupts_at_start), Supervisor.child("c", children_that_interrupt)],
    ids=["a start", "the making of children"],
)
async def test_an_interrupt_while_entering_stops_what_had_started_and_comes_out_bare(last: Child) -> None:
    record = Recorder()
    with pytest.raises(SystemExit):
        async with Supervisor([Child("a", polite), Child("b", polite), last], on_event=record):
            pytest.fail("entered")
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a"]


async def test_an_interrupt_in_a_restart_is_not_tried_again() -> None:
    record, made = Recorder(), 0
    crash = anyio.Event()

    async def crashes() -> None:
        await crash.wait()
        raise ValueError

    def children() -> list[Child]:
        nonlocal made
        made += 1
        if made > 1:
            interrupt()
        return [Child("x", crashes)]

    nested = Supervisor.child("s", children, intensity=Intensity(0))
    with pytest.raises(SystemExit):  # noqa: PT012
        async with Supervisor([Child("a", polite), nested], intensity=Intensity(9), on_event=record):
            crash.set()
            await anyio.sleep_forever()
    assert (made, record.names()[-2:]) == (2, ["ChildEnded root/a", "ChildEnded root"])


@pytest.mark.parametrize(
    "moment", ["ChildStarted root/a", "ChildStarted root", "ChildFailed root/a", "ChildEnded root/a"]
)
async def test_an_interrupt_in_a_listener_stops_all_in_order_and_comes_out_bare(moment: str) -> None:
    record = Recorder()

    def listener(event: Event) -> None:
        record(event)
        if record.names().count(moment) == 1 and record.names()[-1] == moment:
            interrupt()

    async def crashes() -> None:
        await anyio.sleep(1.0)
        raise ValueError

    with pytest.raises(SystemExit):
        async with Supervisor([Child("z", polite), Child("a", crashes)], on_event=listener):
            await anyio.sleep_forever()
    assert record.names()[-1] in ("ChildEnded root", "ChildStartFailed root")
    assert [event.path[-1] for event in record.of(ChildEnded) if event.path[-1] != "root"][-2:] == ["a", "z"]
    assert record.of(ChildUnstoppable) == []


async def test_an_interrupt_when_asked_to_stop_cancels_that_child_and_the_others_stop_in_order() -> None:
    record = Recorder()
    children = [Child("a", polite), Child("b", interrupts_when_asked_to_stop), Child("c", polite)]
    with pytest.raises(SystemExit):
        async with Supervisor(children, on_event=record):
            await settle()
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["c", "b", "a", "root"]


async def test_an_interrupt_stops_the_tree_even_while_its_body_hears_of_no_cancellation() -> None:
    async def interrupts() -> None:
        await anyio.sleep(1.0)
        interrupt()

    with pytest.raises(SystemExit):  # noqa: PT012
        async with Supervisor([Child("a", polite), Child("b", interrupts)]) as tree:
            with anyio.CancelScope(shield=True):
                await tree.wait()
    assert anyio.current_time() == pytest.approx(2.0)


async def test_an_interrupt_in_a_timer_stops_all_in_order_and_deadlines_still_hold() -> None:
    async def sets_it(*, task_status: Incarnation) -> None:
        task_status.timers.after(1.0, interrupt)
        task_status.on_stop(lambda: None)  # and does not
        task_status.started()
        await anyio.sleep_forever()

    record = Recorder()
    with pytest.raises(SystemExit):
        async with Supervisor([Child("a", polite), Child("b", sets_it, shutdown=2.0)], on_event=record):
            await anyio.sleep_forever()
    assert anyio.current_time() == pytest.approx(1.0 + 2.0 + 1.0)
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "root"]


# ---- tasks that do not do as they are told


def test_a_child_that_swallows_every_cancellation_is_given_up_and_its_siblings_stop_all_the_same(
    monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str
) -> None:
    """In real time: such a child keeps the loop busy, so a virtual clock would stand still."""
    monkeypatch.setattr(incarnation, "KILL_GRACE", 0.05)
    record, given_up = Recorder(), False

    def listener(event: Event) -> None:
        nonlocal given_up
        record(event)
        given_up = given_up or event == ChildEnded(path=("root",), exit=Exit(ExitKind.SHUTDOWN))

    async def swallows() -> None:
        while not given_up:
            with suppress(BaseException):
                await anyio.sleep(3600)

    async def main() -> None:
        children = [Child("a", forever), Child("b", swallows, shutdown=0.01)]
        async with Supervisor(children, on_event=listener, on_leak=lambda paths: None):
            await anyio.lowlevel.checkpoint()

    anyio.run(main, backend=anyio_backend_name)
    assert [event.path for event in record.of(ChildUnstoppable)] == [("root", "b")]
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "root"]


async def test_a_child_whose_start_was_called_off_but_came_up_all_the_same_is_stopped_and_not_given_up() -> None:
    async def deaf(*, task_status: Incarnation) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.5)
        task_status.started()
        await task_status.stop_requested()

    record = Recorder()
    async with Supervisor(strategy=Strategy.DYNAMIC, on_event=record) as tree, anyio.create_task_group() as group:
        group.start_soon(_refused, tree, Child("a", deaf))
        await settle()
        await tree.terminate_child("a")
        assert anyio.current_time() == pytest.approx(0.5)
        await anyio.sleep(10 * KILL_GRACE)
    assert record.names() == [
        "ChildStarted root",
        "ChildStarted root/a",
        "ChildStopping root/a",
        "ChildEnded root/a",
        "ChildStopFailed root/a",  # it had to be cancelled
        "ChildEnded root",
    ]


async def test_a_child_that_comes_up_while_its_supervisor_is_being_killed_is_not_asked_but_cancelled() -> None:
    async def deaf(*, task_status: Incarnation) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.5)
        await polite(task_status=task_status)

    record = Recorder()
    nested = Supervisor.child("s", [Child("a", polite)], shutdown=0)
    async with Supervisor([nested], on_event=record) as tree, anyio.create_task_group() as group:
        group.start_soon(_refused, tree.value("s"), Child("b", deaf))
        await settle()
        await tree.terminate_child("s")
        assert anyio.current_time() == pytest.approx(0.5)
    assert "ChildStopping root/s/b" not in record.names()
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["a", "b", "s", "root"]


async def _refused(tree: Supervisor, child: Child) -> None:
    with pytest.raises(StartFailed):
        await tree.start_child(child)


async def test_a_suspended_supervisor_hears_of_its_end_wherever_it_is_in_the_tree() -> None:
    record = Recorder()
    children = [Child("a", forever), Child("b", polite)]
    async with Supervisor([Supervisor.child("s", children)], on_event=record) as tree:
        nested: Supervisor = tree.value("s")
        nested.suspend()
        await tree.terminate_child("s")
        assert anyio.current_time() == pytest.approx(1.0)
        await tree.restart_child("s")
        tree.value("s").suspend()
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "s"] * 2 + ["root"]


async def test_a_supervisor_that_is_to_stop_cannot_be_suspended_any_more() -> None:
    record = Recorder()
    async with Supervisor([Child("a", polite)], on_event=record) as tree, anyio.create_task_group() as group:
        group.start_soon(tree.terminate_child, "a")
        await settle()
        tree.stop_soon()  # it is its turn when the child has ended
        tree.suspend()
        await tree.wait()
        with pytest.raises(SupervisorGone):
            await tree.inspect()
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["a", "root"]


# ---- whose task, whose context


async def test_who_asks_for_a_start_may_be_cancelled_and_the_child_stays() -> None:
    async def slow(*, task_status: Incarnation) -> None:
        await anyio.sleep(3.0)
        task_status.started("up")
        await anyio.sleep_forever()

    async with Supervisor() as tree:
        with anyio.move_on_after(1.0) as scope:
            await tree.start_child(Child("a", slow))
        await anyio.sleep(5.0)
        assert (scope.cancelled_caught, tree.value("a")) == (True, "up")


async def test_a_child_may_end_its_own_tree() -> None:
    async def last() -> None:
        await anyio.sleep(1.0)
        tree.stop_soon()
        await anyio.sleep_forever()

    record = Recorder()
    async with Supervisor([Child("a", polite), Child("b", last)], on_event=record) as tree:
        await tree.wait()
        assert anyio.current_time() == pytest.approx(2.0)
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "root"]


async def test_children_have_the_context_of_who_entered_the_tree_however_deep_and_whoever_restarts_them() -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen: list[tuple[str, str]] = []
    crash = anyio.Event()

    async def child(*, task_status: Incarnation) -> None:
        nonlocal crash
        seen.append((task_status.path[-1], var.get()))
        var.set("changed by a child")
        task_status.started()
        await crash.wait()
        crash = anyio.Event()
        raise ValueError

    var.set("who enters")
    nested = Supervisor.child("s", [Child("x", child)], intensity=Intensity(0))
    async with Supervisor([nested], intensity=Intensity(3)) as tree:
        var.set("later")
        crash.set()
        await settle()
        assert tree.which_children()[0].state is ChildState.RUNNING
        await tree.value("s").start_child(Child("y", child))
    assert seen == [("x", "who enters"), ("x", "who enters"), ("y", "later")]


async def test_a_tree_may_be_the_body_of_an_async_generator() -> None:
    record = Recorder()

    async def lifespan() -> AsyncIterator[Supervisor]:
        async with Supervisor([Child("a", polite)], on_event=record) as tree:
            yield tree

    generator = lifespan()
    tree = await anext(generator)
    assert tree.count_children().active == 1
    assert [tree async for tree in generator] == []
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["a", "root"]
