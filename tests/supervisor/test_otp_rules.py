"""OTP's rules one by one, as far as the other modules do not have them: what a supervisor does, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from supervisor.commands import (
    ChildInfo,
    ChildState,
    DeleteChild,
    Ended,
    Inspect,
    NotUp,
    RestartChild,
    Resume,
    StartChild,
    Stop,
    Suspend,
    TerminateChild,
)
from supervisor.errors import (
    AlreadyPresent,
    AlreadyStarted,
    Ignore,
    InvalidSpec,
    MaxChildrenReached,
    NotDynamic,
    NotFound,
    Shutdown,
    StartFailed,
    StillRestarting,
    StillRunning,
    SupervisorGone,
)
from supervisor.incarnation import Incarnation
from supervisor.reports import ChildEnded, ChildStopFailed, Exit, ExitKind
from supervisor.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    BrutalKill,
    Child,
    Intensity,
    Options,
    Restart,
    Strategy,
)
from supervisor.testing import Recorder, settle
from supervisor.tree import Supervisor
from tests.supervisor.driver import SHUTDOWN, Driver, serve

RUNNING, STOPPED, RESTARTING = ChildState.RUNNING, ChildState.STOPPED, ChildState.RESTARTING
NORMAL = Exit(ExitKind.NORMAL)
CRASHED = Exit(ExitKind.CRASHED, ValueError("x"))
PLENTY = Intensity(100, 5.0)
FAILS = ValueError("init")


def child(id: str, restart: Restart = Restart.PERMANENT, *, significant: bool = False) -> Child:
    return Child(id, serve, restart=restart, significant=significant)


def kinds(driver: Driver, *replies: object) -> list[object]:
    """The answers: a refusal as its class, all else as it is."""
    answers = [driver.answers[reply] for reply in replies]
    return [type(answer) if isinstance(answer, Exception) else answer for answer in answers]


def exit_of(driver: Driver) -> ExitKind | None:
    """How the supervisor ended; None if it did not."""
    assert all(isinstance(end, Ended) for end in driver.ended)
    return next((end.exit.kind for end in driver.ended if isinstance(end, Ended)), None)


# ---- intensity


@pytest.mark.parametrize(
    ("restarts", "crashes", "survived"),
    [(0, [0.0], 0), (2, [0.0, 1.0, 2.0], 2), (2, [0.0, 4.0, 5.0], 2), (2, [0.0, 5.0, 10.0], 3)],
)
def test_one_restart_more_than_allowed_within_the_closed_window_ends_it(
    restarts: int, crashes: list[float], survived: int
) -> None:
    """Rules 1 and 2: the edge of the window is inside, and 0 allows none."""
    driver, lived = Driver([child("a")], Options(intensity=Intensity(restarts, 5.0))), 0
    for driver.now in crashes:
        driver.exit("a", CRASHED)
        if exit_of(driver) is None:
            lived += 1
    assert lived == survived


def test_a_group_restart_counts_once() -> None:
    """Rule 3: one incident is one stamp, however many siblings follow."""
    children = [child(id) for id in "abcdefgh"]
    driver = Driver(children, Options(strategy=Strategy.ONE_FOR_ALL, intensity=Intensity(1)))
    driver.exit("d", CRASHED)
    assert driver.states() == dict.fromkeys("abcdefgh", (RUNNING, 2))


def test_restarts_by_request_cost_nothing() -> None:
    """Rule 3: terminate_child and restart_child leave the budget alone."""
    driver = Driver([child("a")], Options(intensity=Intensity(1)))
    for _ in range(5):
        driver.send(TerminateChild("a", object()), RestartChild("a", object()))
    driver.exit("a", CRASHED)
    assert (driver.states(), exit_of(driver)) == ({"a": (RUNNING, 7)}, None)


def test_the_budget_is_the_supervisors_and_not_each_childs() -> None:
    """Rule 3: crashes of different children add up."""
    driver = Driver([child("a"), child("b")], Options(intensity=Intensity(1)))
    driver.exit("a", CRASHED)
    driver.exit("b", CRASHED)
    assert exit_of(driver) is ExitKind.SHUTDOWN


def test_over_budget_the_others_stop_in_reverse_and_the_end_is_a_shutdown() -> None:
    """Rule 4: report, then the stop; the failed child is not stopped again."""
    driver = Driver([child("a"), child("b"), child("c")], Options(intensity=Intensity(0)))
    driver.names()
    driver.exit("b", CRASHED)
    stops = ["ChildStopping c", "ChildEnded c", "ChildStopping a", "ChildEnded a"]
    assert driver.names() == ["ChildEnded b", "ChildFailed b", "GaveUp root", *stops]
    assert exit_of(driver) is ExitKind.SHUTDOWN


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("restart", "left"),
    [
        (Restart.PERMANENT, [("s", RUNNING, 2)]),
        (Restart.TRANSIENT, [("s", STOPPED, 1)]),
        (Restart.TEMPORARY, []),
    ],
)
async def test_a_supervisor_that_gave_up_is_restarted_only_if_it_is_permanent(
    restart: Restart, left: list[tuple[str, ChildState, int]]
) -> None:
    """Rule 4: the parent sees `shutdown`, which is no abnormal exit."""
    crash = anyio.Event()

    async def crashes_once() -> None:
        await crash.wait()
        if any(c.number == 1 for c in tree.which_children()):
            raise ValueError
        await anyio.sleep_forever()

    nested = Supervisor.child("s", [Child("a", crashes_once)], intensity=Intensity(0), restart=restart)
    async with Supervisor([nested]) as tree:
        crash.set()
        await settle()
        assert [(c.id, c.state, c.number) for c in tree.which_children()] == left


# ---- who is restarted


def test_a_transient_child_that_is_done_keeps_its_spec_and_can_be_revived() -> None:
    """Rule 6: no stamp, no report."""
    driver = Driver([child("a", Restart.TRANSIENT)], Options(intensity=Intensity(0)))
    driver.names()
    driver.exit("a", NORMAL)
    assert (driver.names(), driver.states()) == (["ChildEnded a"], {"a": (STOPPED, 1)})
    driver.send(RestartChild("a", 1))
    assert (driver.answers[1], driver.states()) == ("a2", {"a": (RUNNING, 2)})


@pytest.mark.parametrize("mode", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_a_restart_of_a_significant_child_ends_nothing(mode: AutoShutdown) -> None:
    """Rule 7: auto_shutdown is looked at only when a child is not restarted."""
    driver = Driver([child("a", Restart.TRANSIENT, significant=True)], Options(auto_shutdown=mode))
    driver.exit("a", CRASHED)
    assert (driver.states(), exit_of(driver)) == ({"a": (RUNNING, 2)}, None)


def test_a_significant_child_between_two_attempts_counts_as_alive() -> None:
    """Rule 8: all_significant waits for the one that is being restarted."""
    children = [child(id, Restart.TRANSIENT, significant=True) for id in "ab"]
    options = Options(auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, intensity=PLENTY)
    driver = Driver(children, options, starts={"a": [None, FAILS]})
    driver.send(Suspend())
    driver.exit("a", CRASHED)  # its restart fails, and the next attempt is queued behind b's end
    driver.exit("b", NORMAL)
    driver.send(Resume())
    assert (driver.states(), exit_of(driver)) == ({"a": (RUNNING, 3), "b": (STOPPED, 1)}, None)
    driver.exit("a", NORMAL)
    assert exit_of(driver) is ExitKind.SHUTDOWN


def test_a_dynamic_supervisor_ends_when_its_last_significant_child_has() -> None:
    """Rule 8, for children that come and go."""
    options = Options(strategy=Strategy.DYNAMIC, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    driver = Driver([], options)
    driver.send(*(StartChild(child(id, Restart.TEMPORARY, significant=True), id) for id in "ab"))
    driver.exit("a", CRASHED)
    assert exit_of(driver) is None
    driver.exit("b", NORMAL)
    assert exit_of(driver) is ExitKind.SHUTDOWN


def test_a_significant_child_stopped_with_its_group_ends_nothing() -> None:
    """Rule 9: nor does one that is terminated by request."""
    options = Options(strategy=Strategy.ONE_FOR_ALL, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    driver = Driver([child("a"), child("b", Restart.TEMPORARY, significant=True)], options)
    driver.exit("a", CRASHED)
    assert (driver.states(), exit_of(driver)) == ({"a": (RUNNING, 2)}, None)


# ---- strategies


def test_one_for_one_keeps_the_position_of_the_restarted_child() -> None:
    """Rule 11."""
    driver = Driver([child(id) for id in "abc"], Options())
    driver.exit("b", CRASHED)
    assert list(driver.states().items()) == [("a", (RUNNING, 1)), ("b", (RUNNING, 2)), ("c", (RUNNING, 1))]


def test_a_sibling_that_declined_is_started_with_its_group() -> None:
    """Rule 11: every spec of the group is started, running before or not; older ones are left alone."""
    starts: dict[str, list[Exception | None]] = {"a": [Ignore()], "c": [Ignore()]}
    driver = Driver([child(id) for id in "abc"], Options(strategy=Strategy.REST_FOR_ONE), starts=starts)
    driver.exit("b", CRASHED)
    assert driver.states() == {"a": (STOPPED, 1), "b": (RUNNING, 2), "c": (RUNNING, 2)}


def test_a_stop_gets_in_between_two_attempts_to_restart() -> None:
    """Rule 13: a failed restart is tried again behind all that waits already, so a stop is not held up by it."""
    failures: list[Exception | None] = [None, *[FAILS] * 50]
    driver = Driver([child("a")], Options(intensity=PLENTY), starts={"a": failures})
    driver.send(Suspend())
    driver.exit("a", CRASHED)
    driver.send(Inspect("look"), Stop(SHUTDOWN), Resume())
    # Told to stop, it makes not even the first attempt.
    assert driver.answers["look"] == (ChildInfo("a", RESTARTING, 1, False),)
    assert (driver.states(), exit_of(driver)) == ({"a": (STOPPED, 1)}, ExitKind.SHUTDOWN)


@pytest.mark.parametrize(
    ("strategy", "numbers"),
    [(Strategy.REST_FOR_ONE, {"a": 2, "b": 3, "c": 2}), (Strategy.ONE_FOR_ALL, {"a": 3, "b": 3, "c": 2})],
)
def test_a_group_restart_that_fails_half_way_goes_on_from_there(strategy: Strategy, numbers: dict[str, int]) -> None:
    """Rule 14: with the one that failed as the failed child; one_for_all begins anew."""
    driver = Driver(
        [child(id) for id in "abc"], Options(strategy=strategy, intensity=PLENTY), starts={"b": [None, FAILS]}
    )
    driver.exit("a", CRASHED)
    assert driver.states() == {id: (RUNNING, number) for id, number in numbers.items()}


def test_a_retry_that_was_called_off_is_not_taken_up_by_a_later_one() -> None:
    """Rule 15: the attempt queued for the old failure is void, whatever happens to the child meanwhile."""
    driver = Driver([child("a")], Options(intensity=PLENTY), starts={"a": [None, FAILS, None]})
    driver.send(Suspend())
    driver.exit("a", CRASHED)
    driver.send(TerminateChild("a", 1), RestartChild("a", 2), Resume())
    assert (kinds(driver, 1, 2), driver.states()) == ([None, "a3"], {"a": (RUNNING, 3)})


@pytest.mark.parametrize(("strategy", "left"), [(Strategy.ONE_FOR_ONE, {"a": (STOPPED, 2)}), (Strategy.DYNAMIC, {})])
def test_a_child_that_declines_its_restart_is_left_alone(
    strategy: Strategy, left: dict[str, tuple[ChildState, int]]
) -> None:
    """Rule 16: its spec stays (a dynamic one goes), and it is not tried again."""
    boot = [child("a")] if strategy is not Strategy.DYNAMIC else []
    driver = Driver(boot, Options(strategy=strategy), starts={"a": [None, Ignore()]})
    if not boot:
        driver.send(StartChild(child("a"), 1))
    driver.exit("a", CRASHED)
    assert (driver.states(), exit_of(driver)) == (left, None)


# ---- start


def test_children_start_one_after_the_other() -> None:
    """Rule 17: each only when the one before it is up."""
    driver = Driver([child("a"), child("b")], Options(), slow=True)
    seen = [driver.states()]
    while driver.proceed():
        seen.append(driver.states())
    starting = ChildState.STARTING
    assert seen == [
        {"a": (starting, 1)},
        {"a": (RUNNING, 1), "b": (starting, 1)},
        {"a": (RUNNING, 1), "b": (RUNNING, 1)},
    ]


def test_a_failed_first_start_stops_those_before_it_in_reverse_and_says_who_failed() -> None:
    """Rule 18: not retried, however much of the budget is left."""
    driver = Driver([child("a"), child("b"), child("c")], Options(intensity=PLENTY), starts={"c": [FAILS]})
    stops = ["ChildStopping b", "ChildEnded b", "ChildStopping a", "ChildEnded a"]
    assert driver.names() == ["ChildStarted a", "ChildStarted b", "ChildStartFailed c", *stops]
    [failed] = driver.ended
    assert isinstance(failed, NotUp)
    assert isinstance(failed.error, StartFailed)
    assert (failed.error.path, failed.error.__cause__) == (("root", "c"), FAILS)


@pytest.mark.anyio
async def test_a_supervisor_may_decline_to_start() -> None:
    """Rule 18: what makes its children raises Ignore."""

    def declines() -> list[Child]:
        raise Ignore

    async with Supervisor([Supervisor.child("s", declines)]) as tree:
        assert [(c.id, c.state) for c in tree.which_children()] == [("s", STOPPED)]


# ---- requests


def test_what_start_child_answers() -> None:
    """Rules 19 and 20: a failed start leaves no spec, a declined one does."""
    starts: dict[str, list[Exception | None]] = {"bad": [FAILS], "none": [Ignore()], "gone": [Ignore()]}
    driver = Driver([child("a"), child("done", Restart.TRANSIENT)], Options(), starts=starts)
    driver.exit("done", NORMAL)
    specs = [child("new"), child("a"), child("done"), child("bad"), child("none"), child("gone", Restart.TEMPORARY)]
    driver.send(*(StartChild(spec, spec.id) for spec in specs))
    answers = kinds(driver, *(spec.id for spec in specs))
    assert answers == ["new1", AlreadyStarted, AlreadyPresent, StartFailed, None, None]
    assert list(driver.states()) == ["a", "done", "new", "none"]
    failed = driver.answers["bad"]
    assert isinstance(failed, StartFailed)
    assert failed.error is FAILS


def test_what_restart_delete_and_terminate_child_answer() -> None:
    """Rule 21: by the state of the child."""
    children = [child("up"), child("retrying"), child("down", Restart.TRANSIENT), child("temporary", Restart.TEMPORARY)]
    driver = Driver(children, Options(intensity=PLENTY), starts={"retrying": [None, FAILS]})
    driver.exit("down", NORMAL)
    driver.send(Suspend())
    driver.exit("retrying", CRASHED)
    driver.send(Inspect("look"))
    for ask in (RestartChild, DeleteChild):
        driver.send(*(ask(id, (ask, id)) for id in ("up", "retrying", "nobody")))
    driver.send(RestartChild("down", "revived"), TerminateChild("down", "again"), DeleteChild("down", "deleted"))
    driver.send(TerminateChild("temporary", "temporary"), TerminateChild("nobody", "nobody"), Resume())
    for ask in (RestartChild, DeleteChild):
        refusals = kinds(driver, *((ask, id) for id in ("up", "retrying", "nobody")))
        assert refusals == [StillRunning, StillRestarting, NotFound]
    assert kinds(driver, "revived", "again", "deleted") == ["down2", None, None]
    assert kinds(driver, "temporary", "nobody") == [None, NotFound]
    assert list(driver.states()) == ["up", "retrying"]


def test_a_dynamic_supervisor_refuses_what_needs_a_spec_that_stays() -> None:
    """Rules 12 and 23: and it is full at max_children, before anything is started."""
    driver = Driver([], Options(strategy=Strategy.DYNAMIC, max_children=1))
    driver.send(StartChild(child("a"), 1), StartChild(child("b"), 2), RestartChild("a", 3), DeleteChild("a", 4))
    assert kinds(driver, 1, 2, 3, 4) == ["a1", MaxChildrenReached, NotDynamic, NotDynamic]
    assert driver.names() == ["ChildStarted a"]


def test_a_spec_that_cannot_be_is_refused_by_start_child_too() -> None:
    """Rule 10."""
    driver = Driver([], Options())
    driver.send(StartChild(child("a", Restart.TRANSIENT, significant=True), 1))
    assert kinds(driver, 1) == [InvalidSpec]


def test_after_the_end_every_request_is_refused() -> None:
    """Calls to a supervisor that is gone fail, and never hang."""
    driver = Driver([child("a")], Options())
    driver.send(Suspend(), Inspect(1), Stop(SHUTDOWN), TerminateChild("a", 2), Resume(), Inspect(3))
    assert kinds(driver, 2, 3) == [SupervisorGone, SupervisorGone]
    assert driver.answers[1] == (ChildInfo("a", RUNNING, 1, False),)


@pytest.mark.anyio
async def test_children_are_listed_and_counted_by_state_and_kind() -> None:
    """Rule 22: only those alive are active."""

    async def declines(*, task_status: Incarnation) -> None:
        raise Ignore

    async def stays() -> None:
        await anyio.sleep_forever()

    async with Supervisor([Child("a", stays), Child("b", declines), Supervisor.child("s")]) as tree:
        listed = [(c.id, c.state, c.supervises) for c in tree.which_children()]
        assert listed == [("a", RUNNING, False), ("b", STOPPED, False), ("s", RUNNING, True)]
        count = tree.count_children()
        assert (count.specs, count.active, count.supervisors, count.workers) == (3, 2, 1, 2)


# ---- shutdown


def ends_with(error: Exception | None) -> Callable[..., Any]:
    async def start(*, task_status: Incarnation) -> None:
        task_status.started()
        await task_status.stop_requested()
        if error is not None:
            raise error

    return start


async def stubborn(*, task_status: Incarnation) -> None:
    task_status.started()
    await task_status.stop_requested()
    await anyio.sleep(3600)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("start", "restart", "shutdown", "reported"),
    [
        (ends_with(None), Restart.PERMANENT, 5.0, None),
        (ends_with(Shutdown()), Restart.PERMANENT, 5.0, None),
        (ends_with(Shutdown("because")), Restart.PERMANENT, 5.0, ExitKind.SHUTDOWN),
        (ends_with(Shutdown("because")), Restart.TRANSIENT, 5.0, None),
        (ends_with(ValueError()), Restart.TRANSIENT, 5.0, ExitKind.CRASHED),
        (ends_with(ValueError()), Restart.TEMPORARY, INFINITY, ExitKind.CRASHED),
        (stubborn, Restart.PERMANENT, 5.0, ExitKind.KILLED),
        (stubborn, Restart.PERMANENT, 0, ExitKind.KILLED),
        (stubborn, Restart.PERMANENT, BRUTAL_KILL, None),
    ],
)
async def test_which_ends_of_a_child_told_to_stop_are_worth_a_report(
    start: Callable[..., Any], restart: Restart, shutdown: float | BrutalKill, reported: ExitKind | None
) -> None:
    """Rules 24 and 25: and none of them keeps the sibling from being stopped."""
    record = Recorder()
    async with Supervisor(
        [Child("a", stubborn, shutdown=1.0), Child("b", start, restart=restart, shutdown=shutdown)], on_event=record
    ):
        await settle()
    reports = [event.exit.kind for event in record.of(ChildStopFailed) if event.path == ("root", "b")]
    assert reports == ([reported] if reported else [])
    assert [event.path[-1] for event in record.of(ChildEnded)] == ["b", "a", "root"]


@pytest.mark.anyio
async def test_a_supervisor_child_may_take_as_long_as_its_children_need() -> None:
    """Rule 24: the default of a supervisor is no limit, that of a worker 5 s."""
    assert (Supervisor.child("s").shutdown, Child("a", serve).shutdown) == (INFINITY, 5.0)
    record = Recorder()
    async with Supervisor(
        [Supervisor.child("s", [Child(id, stubborn, shutdown=60.0) for id in "ab"])], on_event=record
    ):
        await settle()
        began = anyio.current_time()
    assert anyio.current_time() - began == 120.0
    assert [e.exit.kind for e in record.of(ChildEnded) if e.path == ("root", "s")] == [ExitKind.SHUTDOWN]


def test_every_successful_start_is_reported() -> None:
    """Rule 27: progress, for first starts, restarts and starts by request."""
    driver = Driver([child("a")], Options())
    driver.exit("a", CRASHED)
    driver.send(StartChild(child("b"), 1))
    assert [name for name in driver.names() if name.startswith("ChildStarted")] == [
        "ChildStarted a",
        "ChildStarted a",
        "ChildStarted b",
    ]


@pytest.mark.parametrize(("restart", "reported"), [(Restart.PERMANENT, True), (Restart.TRANSIENT, False)])
def test_a_child_that_returned_just_before_it_was_told_to_stop(restart: Restart, reported: bool) -> None:
    """Rule 25: a normal end is silent unless the child is permanent."""
    driver = Driver([child("a", restart)], Options())
    driver.send(Suspend(), TerminateChild("a", 1))
    driver.exit("a", NORMAL)
    driver.send(Resume())
    assert (driver.states(), "ChildStopFailed a" in driver.names()) == ({"a": (STOPPED, 1)}, reported)
