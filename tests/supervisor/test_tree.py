from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable

import anyio
import pytest
from anyio.abc import TaskStatus

from supervisor import (
    BRUTAL_KILL,
    INFINITY,
    KILL_GRACE,
    AlreadyStarted,
    AutoShutdown,
    Backoff,
    BrutalKill,
    Child,
    ChildEnded,
    ChildFailed,
    ChildRestarting,
    ChildState,
    ChildStopFailed,
    ChildUnstoppable,
    Directive,
    ErrorSurvived,
    Escalated,
    Event,
    Exit,
    ExitKind,
    Ignore,
    Incarnation,
    Intensity,
    MaxChildrenReached,
    NotFound,
    NotRunning,
    Policy,
    PolicyTable,
    Restart,
    StartAborted,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorGone,
)
from supervisor.testing import Recorder, settle

pytestmark = pytest.mark.anyio

SHUTDOWN = Exit(ExitKind.SHUTDOWN)
KILLED = Exit(ExitKind.KILLED)


async def forever(*, task_status: TaskStatus[object]) -> None:
    """Ends only when it is cancelled."""
    task_status.started("value")
    await anyio.sleep_forever()


async def polite(*, task_status: Incarnation) -> None:
    """Takes a second over its end when asked to."""
    task_status.started()
    await task_status.stop_requested()
    await anyio.sleep(1.0)


async def shielded(*, task_status: TaskStatus[object]) -> None:
    """Does not notice its cancellation for a minute."""
    task_status.started()
    with anyio.CancelScope(shield=True):
        await anyio.sleep(60.0)


class Crashing:
    """A child that raises when told to, and otherwise waits."""

    def __init__(self) -> None:
        self.lives = 0
        self._crash = anyio.Event()
        self._error: BaseException = ValueError()

    def crash(self, error: BaseException) -> None:
        self._error = error
        self._crash.set()

    async def run(self, *, task_status: Incarnation) -> None:
        self.lives += 1
        self._crash = anyio.Event()
        task_status.started(self.lives)
        await self._crash.wait()
        raise self._error


def stops(record: Recorder) -> list[str]:
    return [name for name in record.names() if name.startswith(("ChildStopping", "ChildEnded"))]


IN_ORDER = [
    "ChildStopping root/c",
    "ChildEnded root/c",
    "ChildStopping root/b",
    "ChildEnded root/b",
    "ChildStopping root/a",
    "ChildEnded root/a",
    "ChildEnded root",
]


def three(record: Recorder) -> Supervisor:
    return Supervisor([Child(id, polite) for id in "abc"], on_event=record)


# ---- entering and leaving


async def test_children_start_in_order_and_stop_one_by_one_in_reverse() -> None:
    record = Recorder()
    async with three(record):
        began = anyio.current_time()
    assert anyio.current_time() - began == 3.0
    started = ["ChildStarted root/a", "ChildStarted root/b", "ChildStarted root/c", "ChildStarted root"]
    assert record.names() == started + IN_ORDER


async def test_the_error_of_the_body_comes_out_bare_after_the_ordered_stop() -> None:
    record, error = Recorder(), KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with three(record):
            raise error
    assert caught.value is error
    assert stops(record) == IN_ORDER


async def test_an_outer_cancellation_leads_to_the_ordered_stop() -> None:
    record = Recorder()
    with anyio.move_on_after(5.0) as scope:
        async with three(record):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert anyio.current_time() == pytest.approx(8.0)
    assert stops(record) == IN_ORDER


async def test_a_child_that_does_not_come_up_fails_the_entering_with_its_error_as_cause() -> None:
    record, error = Recorder(), ValueError("no device")

    async def broken(*, task_status: TaskStatus[object]) -> None:
        raise error

    with pytest.raises(StartFailed, match=r"child root/b failed to start: ValueError\('no device'\)") as caught:
        async with Supervisor([Child("a", polite), Child("b", broken)], on_event=record):
            pytest.fail("entered")
    assert (caught.value.__cause__, caught.value.path) == (error, ("root", "b"))
    assert record.names() == [
        "ChildStarted root/a",
        "ChildStartFailed root/b",
        "ChildStopping root/a",
        "ChildEnded root/a",
        "ChildStartFailed root",
    ]


async def test_a_cancellation_while_entering_calls_the_start_off() -> None:
    async def slow(*, task_status: TaskStatus[object]) -> None:
        await anyio.sleep_forever()

    record = Recorder()
    with anyio.move_on_after(2.0) as scope:
        async with Supervisor([Child("a", polite), Child("b", slow)], on_event=record):
            pytest.fail("entered")
    assert scope.cancelled_caught
    assert stops(record) == ["ChildStopping root/a", "ChildEnded root/a"]


async def test_a_supervisor_is_entered_once() -> None:
    tree = Supervisor()
    async with tree:
        pass
    with pytest.raises(RuntimeError, match="cannot be entered twice"):
        await tree.__aenter__()


async def test_a_supervisor_that_was_never_entered_says_so_and_starts_nothing() -> None:
    tree = Supervisor([Child("a", forever)])
    with anyio.CancelScope() as scope:
        scope.cancel()
        await tree.__aenter__()
    for use in (tree.which_children, tree.count_children, tree.snapshot, tree.stop_soon, lambda: tree.value("a")):
        with pytest.raises(RuntimeError, match="'root' runs only while it is entered"):
            use()
    with pytest.raises(RuntimeError, match="runs only while it is entered"):
        await tree.start_child(Child("b", forever))
    async with tree:  # it is none the worse for it
        assert [child.id for child in tree.which_children()] == ["a"]


async def test_after_the_end_requests_are_refused_and_waiting_is_over() -> None:
    async with Supervisor([Child("a", forever)]) as tree:
        await tree.stop()
        await tree.wait()
        with pytest.raises(SupervisorGone):
            await tree.start_child(Child("b", forever))
    assert tree.which_children()[0].state is ChildState.STOPPED


# ---- what a child is


async def test_a_plain_coroutine_function_is_a_child() -> None:
    lives = 0

    async def tick() -> None:
        nonlocal lives
        lives += 1
        await anyio.sleep(1.0)

    async with Supervisor([Child("tick", tick)], intensity=Intensity(10, 5.0)) as tree:
        await anyio.sleep(3.5)
        assert tree.value("tick") is None
    assert lives == 4


async def test_the_started_value_is_returned_and_kept() -> None:
    async with Supervisor() as tree:
        assert await tree.start_child(Child("a", forever)) == "value"
        assert tree.value("a") == "value"
        await tree.terminate_child("a")
        with pytest.raises(NotRunning):
            tree.value("a")
        assert await tree.restart_child("a") == "value"
        with pytest.raises(NotFound):
            tree.value("b")


async def test_an_incarnation_knows_its_path_and_number() -> None:
    seen: list[tuple[tuple[str, ...], int]] = []

    async def once(*, task_status: Incarnation) -> None:
        seen.append((task_status.path, task_status.number))
        task_status.started()
        if task_status.number < 3:
            raise ValueError
        await anyio.sleep_forever()

    tree = Supervisor([Supervisor.child("s", [Child("x", once)], intensity=Intensity(5, 5.0))], name="app")
    async with tree:
        await settle()
    assert seen == [(("app", "s", "x"), number) for number in (1, 2, 3)]


async def test_a_child_that_returns_without_having_started_has_not_come_up() -> None:
    async def silent(*, task_status: TaskStatus[object]) -> None: ...

    async with Supervisor() as tree:
        with pytest.raises(StartFailed, match=r"without having called started\(\)"):
            await tree.start_child(Child("a", silent))
        assert tree.which_children() == ()


async def test_starting_twice_is_a_crash() -> None:
    async def twice(*, task_status: TaskStatus[object]) -> None:
        task_status.started()
        task_status.started()

    record = Recorder()
    async with Supervisor([Child("a", twice, restart=Restart.TEMPORARY)], on_event=record):
        await settle()
    [failed] = record.of(ChildFailed)
    assert "called started() twice" in str(failed.exit.error)


async def test_a_child_that_declines_answers_none() -> None:
    async def declines(*, task_status: TaskStatus[object]) -> None:
        raise Ignore

    async with Supervisor() as tree:
        assert await tree.start_child(Child("a", declines)) is None
        assert tree.which_children()[0].state is ChildState.STOPPED


async def test_a_child_keeps_the_context_of_who_started_it_over_restarts() -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
    seen: list[str] = []
    crashing = Crashing()

    async def child(*, task_status: Incarnation) -> None:
        seen.append(var.get())
        var.set("changed by the child")
        await crashing.run(task_status=task_status)

    async with Supervisor() as tree:
        var.set("session 7")
        await tree.start_child(Child("a", child))
        var.set("later")
        crashing.crash(ValueError())
        await settle()
    assert seen == ["session 7", "session 7"]


# ---- stopping


@pytest.mark.parametrize(
    ("start", "shutdown", "seconds", "exit"),
    [
        (forever, 5.0, 0.0, SHUTDOWN),
        (forever, BRUTAL_KILL, 0.0, KILLED),
        (polite, 5.0, 1.0, SHUTDOWN),
        (polite, INFINITY, 1.0, SHUTDOWN),
        (polite, 0.25, 0.25, KILLED),
        (polite, 0, 0.0, KILLED),
        (polite, BRUTAL_KILL, 0.0, KILLED),
    ],
)
async def test_a_child_is_asked_first_and_cancelled_when_its_time_is_over(
    start: Callable[..., object], shutdown: float | BrutalKill, seconds: float, exit: Exit
) -> None:
    record = Recorder()
    child = Child("a", start, shutdown=shutdown)  # type: ignore[arg-type]
    async with Supervisor([child], on_event=record):
        await settle()
        began = anyio.current_time()
    assert anyio.current_time() - began == seconds
    assert record.of(ChildEnded)[0] == ChildEnded(path=("root", "a"), exit=exit)
    reported = exit is KILLED and shutdown is not BRUTAL_KILL
    assert len(record.of(ChildStopFailed)) == reported


async def test_a_child_that_cannot_be_stopped_is_reported_and_keeps_nobody_else() -> None:
    record = Recorder()
    leaks: list[tuple[float, list[tuple[str, ...]]]] = []
    tree = Supervisor(
        [Child("a", polite), Child("b", shielded, shutdown=2.0)],
        on_event=record,
        on_leak=lambda paths: leaks.append((anyio.current_time(), paths)),
    )
    async with tree:
        await settle()
        await tree.stop()
        assert anyio.current_time() == pytest.approx(2.0 + KILL_GRACE + 1.0)
        assert record.of(ChildUnstoppable) == [ChildUnstoppable(path=("root", "b"))]
        assert record.of(ChildStopFailed) == [ChildStopFailed(path=("root", "b"), exit=KILLED)]
        assert stops(record)[-3:] == ["ChildStopping root/a", "ChildEnded root/a", "ChildEnded root"]
    [(when, paths)] = leaks
    assert (round(when, 6), paths) == (4.0, [("root", "b")])
    assert anyio.current_time() == pytest.approx(4.0)  # it is left without the child, which goes on until 60


async def test_a_child_that_was_given_up_but_has_ended_since_is_no_leak(caplog: pytest.LogCaptureFixture) -> None:
    record = Recorder()
    async with Supervisor([Child("b", shielded, shutdown=0)], on_event=record) as tree:
        await settle()
        await tree.terminate_child("b")
        assert len(record.of(ChildUnstoppable)) == 1
        await anyio.sleep(60.0)
    assert (caplog.records, [event.path[-1] for event in record.of(ChildEnded)]) == ([], ["b", "root"])


async def test_who_registers_for_a_stop_that_has_been_asked_for_already_is_called_at_once() -> None:
    async def late(*, task_status: Incarnation) -> None:
        task_status.started()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1.0)
            await task_status.stop_requested()

    async with Supervisor([Child("a", late, shutdown=INFINITY)]) as tree:
        await settle()
        await tree.terminate_child("a")
        assert anyio.current_time() == pytest.approx(1.0)


async def test_a_leak_is_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    async with Supervisor([Child("b", shielded, shutdown=0)]):
        await settle()
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.CRITICAL, "all has stopped but root/b")]


async def test_a_stop_callback_that_fails_means_cancellation(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ValueError

    async def child(*, task_status: Incarnation) -> None:
        task_status.on_stop(broken)
        task_status.started()
        await anyio.sleep_forever()

    record = Recorder()
    async with Supervisor([Child("a", child)], on_event=record):
        await settle()
    assert record.of(ChildEnded)[0] == ChildEnded(path=("root", "a"), exit=SHUTDOWN)
    assert [r.getMessage() for r in caplog.records] == ["on_stop of child root/a failed; it is cancelled"]


async def test_an_error_while_stopping_is_reported_and_does_not_stop_the_stopping() -> None:
    error = ValueError("while stopping")

    async def crashes(*, task_status: Incarnation) -> None:
        task_status.started()
        await task_status.stop_requested()
        raise error

    record = Recorder()
    async with Supervisor([Child("a", polite), Child("b", crashes)], on_event=record):
        await settle()
    assert record.of(ChildStopFailed) == [ChildStopFailed(path=("root", "b"), exit=Exit(ExitKind.CRASHED, error))]
    assert stops(record)[-2:] == ["ChildEnded root/a", "ChildEnded root"]


# ---- crashes, cancellations and the like


async def test_giving_up_cancels_the_body_and_raises_escalated_with_the_last_error() -> None:
    crashing = Crashing()
    error = ValueError("second")
    with pytest.raises(Escalated, match=r"supervisor root gave up on child root/a: ValueError") as caught:  # noqa: PT012
        async with Supervisor([Child("a", crashing.run)], intensity=Intensity(1, 5.0)):
            crashing.crash(ValueError("first"))
            await settle()
            crashing.crash(error)
            await anyio.sleep_forever()
    assert (caught.value.__cause__, crashing.lives) == (error, 2)


async def test_the_error_of_a_body_whose_tree_gave_up_says_so() -> None:
    crashing = Crashing()
    with pytest.raises(KeyError) as caught:  # noqa: PT012
        async with Supervisor([Child("a", crashing.run)], intensity=Intensity(0, 5.0)) as tree:
            crashing.crash(ValueError("x"))
            with anyio.CancelScope(shield=True):
                await tree.wait()
            raise KeyError
    assert caught.value.__notes__ == ["meanwhile supervisor root gave up on child root/a: ValueError('x')"]


async def test_a_restart_waits_for_its_backoff_on_the_clock() -> None:
    crashing, record = Crashing(), Recorder()
    policies = PolicyTable(default=Policy(Directive.BACKOFF, Backoff(initial=2.0)))
    async with Supervisor([Child("a", crashing.run)], policies=policies, on_event=record) as tree:
        began = anyio.current_time()
        crashing.crash(ValueError())
        await settle()
        assert tree.which_children()[0].state is ChildState.RESTARTING
        [restarting] = record.of(ChildRestarting)
        await anyio.sleep(restarting.delay - 0.001)
        assert crashing.lives == 1
        await anyio.sleep(0.002)
        assert (crashing.lives, 0 < restarting.delay <= 2.0) == (2, True)
        assert anyio.current_time() - began == pytest.approx(restarting.delay + 0.001)


async def test_a_pending_restart_does_not_hold_up_the_stop() -> None:
    crashing = Crashing()
    policies = PolicyTable(default=Policy(Directive.BACKOFF, Backoff(initial=3600.0, maximum=3600.0)))
    async with Supervisor([Child("a", crashing.run)], policies=policies):
        crashing.crash(ValueError())
        await settle()
        began = anyio.current_time()
    assert (anyio.current_time(), crashing.lives) == (began, 1)


async def test_a_group_of_one_error_is_looked_up_as_that_error() -> None:
    class Coded(Exception):
        code = "RIVA_002"

    async def child(*, task_status: Incarnation) -> None:
        task_status.started()
        async with anyio.create_task_group():
            raise Coded

    record = Recorder()
    policies = PolicyTable({"RIVA": Policy(Directive.STOP)})
    async with Supervisor([Child("a", child)], policies=policies, on_event=record) as tree:
        await settle()
        assert tree.which_children()[0].state is ChildState.STOPPED
    assert isinstance(record.of(ChildFailed)[0].exit.error, Coded)


async def test_an_error_that_policy_says_to_survive_is_reported_by_the_child() -> None:
    error = ValueError("bad message")
    directives: list[Directive] = []

    async def child(*, task_status: Incarnation) -> None:
        task_status.started()
        directives.append(task_status.directive(error))
        task_status.report(error)
        await anyio.sleep_forever()

    record = Recorder()
    policies = PolicyTable(default=Policy(Directive.CONTINUE))
    async with Supervisor([Child("a", child)], policies=policies, on_event=record):
        await settle()
    assert directives == [Directive.CONTINUE]
    assert record.of(ErrorSurvived) == [ErrorSurvived(path=("root", "a"), error=error)]


@pytest.mark.parametrize("error", [KeyboardInterrupt("^C"), SystemExit(3)])
async def test_an_interrupt_in_a_child_stops_all_in_order_and_is_raised_where_the_tree_was_entered(
    error: BaseException,
) -> None:
    crashing, record = Crashing(), Recorder()
    children = [Child("a", polite), Supervisor.child("s", [Child("x", crashing.run)]), Child("b", polite)]
    with pytest.raises(type(error)) as caught:  # noqa: PT012
        async with Supervisor(children, on_event=record):
            crashing.crash(error)
            await anyio.sleep_forever()
    assert (caught.value, crashing.lives) == (error, 1)
    assert stops(record) == [
        "ChildEnded root/s/x",
        "ChildStopping root/b",
        "ChildEnded root/b",
        "ChildStopping root/s",
        "ChildEnded root/s",
        "ChildStopping root/a",
        "ChildEnded root/a",
        "ChildEnded root",
    ]


async def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def listener(event: Event) -> None:
        raise ValueError

    async with Supervisor([Child("a", forever)], on_event=listener) as tree:
        assert tree.value("a") == "value"
    assert {r.levelno for r in caplog.records} == {logging.ERROR}


# ---- nested


async def test_a_nested_supervisor_that_gives_up_is_restarted_with_a_fresh_budget() -> None:
    crashing, inner, outer = Crashing(), Recorder(), Recorder()
    nested = Supervisor.child(
        "s", [Child("x", crashing.run)], intensity=Intensity(0, 5.0), on_event=inner, restart=Restart.PERMANENT
    )
    async with Supervisor([nested], on_event=outer) as tree:
        first = tree.value("s")
        crashing.crash(ValueError("x"))
        await settle()
        second = tree.value("s")
        assert (first is second, crashing.lives) == (False, 2)
        assert second.value("x") == 2
    assert inner.names()[:4] == ["ChildStarted root/s/x"] + [
        f"{kind} root/s/x" for kind in ("ChildEnded", "ChildFailed")
    ] + ["GaveUp root/s"]
    assert [name for name in outer.names() if "root/s/x" in name or name == "GaveUp root/s"] == inner.names()


async def test_an_escalated_error_reaches_the_policy_of_the_supervisor_above() -> None:
    class Coded(Exception):
        code = "RIVA_013"

    crashing = Crashing()
    escalate = PolicyTable({"RIVA": Policy(Directive.ESCALATE)})
    stop = PolicyTable({"RIVA_013": Policy(Directive.STOP)})
    nested = Supervisor.child("s", [Child("x", crashing.run)], policies=escalate)
    async with Supervisor([nested, Child("b", forever)], policies=stop) as tree:
        crashing.crash(Coded())
        await settle()
        assert [c.state for c in tree.which_children()] == [ChildState.STOPPED, ChildState.RUNNING]


async def test_a_nested_supervisor_without_a_table_is_plain_otp_whatever_the_table_above_it() -> None:
    crashing = Crashing()
    nested = Supervisor.child("s", [Child("x", crashing.run)])
    async with Supervisor([nested], policies=PolicyTable(default=Policy(Directive.STOP))) as tree:
        crashing.crash(ValueError())
        await settle()
        assert (crashing.lives, tree.value("s").value("x")) == (2, 2)
        crashing.crash(ValueError())  # once too often: what it gives up with is no abnormal exit, so no policy's affair
        await settle()
        assert (crashing.lives, tree.which_children()[0].number) == (3, 2)


async def test_an_error_escalated_by_the_root_is_raised_where_the_tree_was_entered() -> None:
    crashing, record, error = Crashing(), Recorder(), ValueError("wrong key")
    policies = PolicyTable(default=Policy(Directive.ESCALATE))
    with pytest.raises(Escalated) as caught:  # noqa: PT012
        async with Supervisor([Child("a", polite), Child("b", crashing.run)], policies=policies, on_event=record):
            crashing.crash(error)
            await anyio.sleep_forever()
    assert (caught.value.__cause__, caught.value.child) == (error, ("root", "b"))
    assert stops(record)[1:] == ["ChildStopping root/a", "ChildEnded root/a", "ChildEnded root"]


async def test_a_nested_supervisor_out_of_time_is_killed_with_all_below_it() -> None:
    record = Recorder()
    nested = Supervisor.child("s", [Child(id, polite, shutdown=INFINITY) for id in "xyz"], shutdown=0.5)
    async with Supervisor([nested], on_event=record):
        await settle()
        began = anyio.current_time()
    assert anyio.current_time() - began == 0.5
    ended = {"/".join(e.path): e.exit for e in record.of(ChildEnded)}
    assert ended == {
        "root/s/x": KILLED,
        "root/s/y": KILLED,
        "root/s/z": KILLED,
        "root/s": KILLED,
        "root": SHUTDOWN,
    }


async def test_children_made_by_a_function_are_made_anew_for_each_incarnation() -> None:
    made: list[Crashing] = []

    def children() -> list[Child]:
        made.append(Crashing())
        return [Child("x", made[-1].run)]

    nested = Supervisor.child("s", children, intensity=Intensity(0, 5.0))
    async with Supervisor([nested]):
        made[0].crash(ValueError())
        await settle()
        assert [crashing.lives for crashing in made] == [1, 1]


async def test_auto_shutdown_ends_the_tree_and_lets_the_body_go_on() -> None:
    async def job() -> None:
        await anyio.sleep(7.0)

    child = Child("job", job, restart=Restart.TRANSIENT, significant=True)
    done = False
    async with Supervisor([child], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT) as tree:
        await tree.wait()
        done = True
    assert (done, anyio.current_time()) == (True, 7.0)


# ---- dynamic


async def test_a_slow_start_or_stop_under_a_dynamic_supervisor_keeps_nobody_waiting() -> None:
    async def slow(*, task_status: Incarnation) -> None:
        await anyio.sleep(10.0)
        task_status.started()
        await task_status.stop_requested()
        await anyio.sleep(4.0)

    async with Supervisor(strategy=Strategy.DYNAMIC) as tree, anyio.create_task_group() as group:
        group.start_soon(tree.start_child, Child("slow", slow))
        await settle()
        assert await tree.start_child(Child("quick", forever)) == "value"
        assert anyio.current_time() == 0.0
        with pytest.raises(AlreadyStarted):
            await tree.start_child(Child("slow", forever))
        await anyio.sleep(10.0)
        group.start_soon(tree.terminate_child, "slow")
        await settle()
        await tree.terminate_child("quick")
        assert anyio.current_time() == 10.0
        await tree.terminate_child("slow")
        assert (anyio.current_time(), tree.which_children()) == (14.0, ())


async def test_terminating_a_child_that_is_still_starting_calls_its_start_off() -> None:
    errors: list[BaseException] = []

    async def never(*, task_status: TaskStatus[object]) -> None:
        await anyio.sleep_forever()

    async def start() -> None:
        with pytest.raises(StartFailed) as caught:
            await tree.start_child(Child("a", never))
        errors.append(caught.value.error)

    async with Supervisor(strategy=Strategy.DYNAMIC) as tree, anyio.create_task_group() as group:
        group.start_soon(start)
        await settle()
        await tree.terminate_child("a")
        assert tree.which_children() == ()
    assert [type(error) for error in errors] == [StartAborted]


async def test_a_dynamic_supervisor_stops_all_at_once() -> None:
    async with Supervisor(strategy=Strategy.DYNAMIC, max_children=100) as tree:
        for number in range(100):
            await tree.start_child(Child(f"c{number}", polite))
        with pytest.raises(MaxChildrenReached):
            await tree.start_child(Child("more", polite))
        began = anyio.current_time()
    assert anyio.current_time() - began == 1.0


async def test_queries_answer_while_a_slow_stop_is_under_way() -> None:
    async with Supervisor([Child("a", polite)]) as tree, anyio.create_task_group() as group:
        group.start_soon(tree.terminate_child, "a")
        await settle()
        assert tree.which_children()[0].state is ChildState.STOPPING
        assert (await tree.inspect())[0].state is ChildState.STOPPED


async def test_a_tree_leaves_nothing_behind_when_many_small_trees_come_and_go() -> None:
    async with Supervisor(strategy=Strategy.DYNAMIC) as tree:
        for number in range(300):
            small = [Child("session", forever), Child("recogniser", forever)]
            spec = Supervisor.child(f"s{number}", small, strategy=Strategy.REST_FOR_ONE, restart=Restart.TEMPORARY)
            nested = await tree.start_child(spec)
            assert nested.count_children().active == 2
            await tree.terminate_child(f"s{number}")
        assert tree.which_children() == ()


async def test_a_suspended_tree_can_be_left() -> None:
    record = Recorder()
    async with Supervisor([Child("a", forever)], on_event=record) as tree:
        tree.suspend()
    assert stops(record)[-2:] == ["ChildEnded root/a", "ChildEnded root"]


async def test_a_tree_entered_in_a_cancelled_scope_starts_nothing_and_keeps_nobody() -> None:
    record = Recorder()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with Supervisor([Child("a", forever)], on_event=record):
            raise AssertionError("entered")
    assert (scope.cancelled_caught, record.events) == (True, [])
