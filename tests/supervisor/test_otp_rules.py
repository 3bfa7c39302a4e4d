"""OTP's rules one by one, as far as the other modules do not have them: what a supervisor does, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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
    Escalated,
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
from supervisor.reports import (
    ChildEnded,
    ChildFailed,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    Exit,
    ExitKind,
    GaveUp,
    Occasion,
)
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
ORDERLY = Exit(ExitKind.SHUTDOWN, Shutdown("done"))
KILLED = Exit(ExitKind.KILLED)
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


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("restarts", "crashes", "lives"),
    [(0, [1.0], 1), (2, [0.0, 1.0, 2.0], 3), (2, [0.0, 4.0, 5.0], 3), (2, [0.0, 5.0, 10.0], 4), (1, [0.0, 5.5], 3)],
)
async def test_the_window_is_measured_on_the_clock_of_the_loop(restarts: int, crashes: list[float], lives: int) -> None:
    """Rule 2: exactly, and not in whole seconds."""
    began = anyio.current_time()
    lived = 0

    async def crashes_on_time() -> None:
        nonlocal lived
        lived += 1
        if lived > len(crashes):
            await anyio.sleep_forever()
        await anyio.sleep_until(began + crashes[lived - 1])
        raise ValueError

    with suppress(Escalated):
        async with Supervisor([Child("a", crashes_on_time)], intensity=Intensity(restarts, 5.0)):
            await anyio.sleep(20.0)
    assert lived == lives


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
def test_a_group_restart_counts_once(strategy: Strategy) -> None:
    """Rule 3: one incident is one stamp, however many siblings follow."""
    driver = Driver([child(id) for id in "abcdefgh"], Options(strategy=strategy, intensity=Intensity(1)))
    driver.exit("a", CRASHED)
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
    assert (exit_of(driver), driver.states()) == (ExitKind.SHUTDOWN, dict.fromkeys("abc", (STOPPED, 1)))


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


async def returns() -> None: ...


async def shuts_down() -> None:
    raise Shutdown


async def shuts_down_with_a_word() -> None:
    raise Shutdown("done")


async def raises() -> None:
    raise ValueError


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("start", "kind", "restarted"),
    [
        (returns, ExitKind.NORMAL, ["permanent"]),
        (shuts_down, ExitKind.SHUTDOWN, ["permanent"]),
        (shuts_down_with_a_word, ExitKind.SHUTDOWN, ["permanent"]),
        (raises, ExitKind.CRASHED, ["permanent", "transient"]),
    ],
)
async def test_each_way_to_end_is_told_from_the_others(
    start: Callable[..., Any], kind: ExitKind, restarted: list[str]
) -> None:
    """Rule 5, from the end of a task on."""
    record = Recorder()

    async def live(*, task_status: Incarnation) -> None:
        task_status.started()
        if task_status.number == 1:
            await start()
        else:
            await anyio.sleep_forever()

    children = [Child(restart.value, live, restart=restart) for restart in Restart]
    async with Supervisor(children, intensity=PLENTY, on_event=record) as tree:
        await settle()
        assert [c.id for c in tree.which_children()] == ["permanent", "transient"]
        assert [c.id for c in tree.which_children() if c.state is RUNNING] == restarted
        assert {event.exit.kind for event in record.of(ChildEnded)} == {kind}


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


@pytest.mark.parametrize(
    ("restart", "exit", "ends"),
    [
        (Restart.TRANSIENT, NORMAL, True),
        (Restart.TRANSIENT, SHUTDOWN, True),
        (Restart.TRANSIENT, ORDERLY, True),
        (Restart.TRANSIENT, CRASHED, False),
        (Restart.TRANSIENT, KILLED, False),
        (Restart.TEMPORARY, NORMAL, True),
        (Restart.TEMPORARY, ORDERLY, True),
        (Restart.TEMPORARY, CRASHED, True),
        (Restart.TEMPORARY, KILLED, True),
    ],
)
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.DYNAMIC])
def test_which_ends_of_one_significant_child_are_enough(
    strategy: Strategy, restart: Restart, exit: Exit, ends: bool
) -> None:
    """Rule 8, any_significant: those after which it is not restarted."""
    options = Options(strategy=strategy, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    children = [child("other", Restart.TRANSIENT), child("a", restart, significant=True)]
    driver = Driver([] if strategy is Strategy.DYNAMIC else children, options)
    if strategy is Strategy.DYNAMIC:
        driver.send(*(StartChild(one, one.id) for one in children))
    driver.exit("other", NORMAL)  # it does not count
    assert exit_of(driver) is None
    driver.exit("a", exit)
    assert exit_of(driver) is (ExitKind.SHUTDOWN if ends else None)


def test_the_end_of_a_significant_child_is_told_before_the_others_stop() -> None:
    """Rule 7: first the child is done with, then the supervisor ends, in order."""
    options = Options(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    driver = Driver([child("a"), child("b", Restart.TEMPORARY, significant=True), child("c")], options)
    driver.names()
    driver.exit("b", CRASHED)
    stops = ["ChildStopping c", "ChildEnded c", "ChildStopping a", "ChildEnded a"]
    assert driver.names() == ["ChildEnded b", "ChildFailed b", "SignificantEnded root", *stops]
    assert driver.states() == dict.fromkeys("ac", (STOPPED, 1))


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


SIGNIFICANT_MODES = pytest.mark.parametrize("mode", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])


@SIGNIFICANT_MODES
def test_a_significant_child_stopped_with_its_group_ends_nothing(mode: AutoShutdown) -> None:
    """Rule 9."""
    options = Options(strategy=Strategy.ONE_FOR_ALL, auto_shutdown=mode)
    driver = Driver([child("a"), child("b", Restart.TEMPORARY, significant=True)], options)
    driver.exit("a", CRASHED)
    assert (driver.states(), exit_of(driver)) == ({"a": (RUNNING, 2)}, None)


@SIGNIFICANT_MODES
@pytest.mark.parametrize("dead_already", [False, True])
def test_a_significant_child_terminated_by_request_ends_nothing(mode: AutoShutdown, dead_already: bool) -> None:
    """Rule 9: not even if it has ended by itself meanwhile, which the request then is about."""
    driver = Driver([child("a", Restart.TRANSIENT, significant=True)], Options(auto_shutdown=mode))
    driver.send(Suspend(), TerminateChild("a", 1))
    if dead_already:
        driver.exit("a", NORMAL)
    driver.send(Resume())
    assert (driver.states(), exit_of(driver), driver.answers[1]) == ({"a": (STOPPED, 1)}, None, None)


@SIGNIFICANT_MODES
def test_a_significant_child_that_declines_its_restart_ends_nothing(mode: AutoShutdown) -> None:
    """Rules 7 and 16: that is a restart too."""
    driver = Driver(
        [child("a", Restart.TRANSIENT, significant=True)], Options(auto_shutdown=mode), starts={"a": [None, Ignore()]}
    )
    driver.exit("a", CRASHED)
    assert (driver.states(), exit_of(driver)) == ({"a": (STOPPED, 2)}, None)


# ---- strategies


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("strategy", "events"),
    [
        (Strategy.ONE_FOR_ONE, ["ChildStarted b"]),
        (Strategy.REST_FOR_ONE, ["ChildEnded c", "ChildStarted b", "ChildStarted c"]),
        (
            Strategy.ONE_FOR_ALL,
            ["ChildEnded c", "ChildEnded a", "ChildStarted a", "ChildStarted b", "ChildStarted c"],
        ),
    ],
)
async def test_tasks_are_stopped_in_reverse_and_started_in_order(strategy: Strategy, events: list[str]) -> None:
    """Rule 11: and each has all its time for its end."""
    crash, record = anyio.Event(), Recorder()

    async def live(*, task_status: Incarnation) -> None:
        task_status.started()
        if task_status.path[-1] == "b" and task_status.number == 1:
            await crash.wait()
            raise ValueError
        await task_status.stop_requested()
        await anyio.sleep(1.0)

    async with Supervisor([Child(id, live) for id in "abc"], strategy=strategy, on_event=record):
        began = anyio.current_time()
        record.events.clear()
        crash.set()
        await anyio.sleep(10.0)
        told = [name.replace("root/", "") for name in record.names() if not name.startswith("ChildStopping")]
        assert told == ["ChildEnded b", "ChildFailed b", "ChildRestarting b", *events]
    assert anyio.current_time() - began == 13.0


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


def test_between_two_attempts_other_requests_are_served() -> None:
    """Rule 13."""
    driver = Driver([child("a")], Options(intensity=PLENTY), starts={"a": [None, FAILS]})
    driver.send(Suspend())
    driver.exit("a", CRASHED)
    driver.send(StartChild(child("b"), 1), StartChild(child("a"), 2), Inspect(3), Resume())
    assert kinds(driver, 1, 2) == ["b1", AlreadyPresent]
    assert driver.answers[3] == (ChildInfo("a", RESTARTING, 2, False), ChildInfo("b", RUNNING, 1, False))
    assert driver.states() == {"a": (RUNNING, 3), "b": (RUNNING, 1)}


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
def test_a_group_restart_that_fails_half_way_leaves_the_older_ones_up_and_the_younger_ones_down(
    strategy: Strategy,
) -> None:
    """Rule 14, between the two attempts."""
    starts: dict[str, list[Exception | None]] = {"b": [None, FAILS]}
    driver = Driver([child(id) for id in "abc"], Options(strategy=strategy, intensity=PLENTY), starts=starts)
    driver.send(Suspend())
    driver.exit("a", CRASHED)
    driver.send(Inspect(1), Resume())
    states = [(RUNNING, 2), (RESTARTING, 2), (STOPPED, 1)]
    assert driver.answers[1] == tuple(ChildInfo(id, *state, False) for id, state in zip("abc", states, strict=True))


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


def test_a_sibling_that_declines_its_restart_does_not_keep_the_others_from_theirs() -> None:
    """Rule 16, in a group: and it is no failure that would be tried again."""
    starts: dict[str, list[Exception | None]] = {"b": [None, Ignore()]}
    driver = Driver([child(id) for id in "abc"], Options(strategy=Strategy.ONE_FOR_ALL), starts=starts)
    driver.exit("a", CRASHED)
    assert driver.states() == {"a": (RUNNING, 2), "b": (STOPPED, 2), "c": (RUNNING, 2)}


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
async def test_a_first_start_that_fails_below_fails_all_above_it_and_each_says_who_it_was() -> None:
    """Rule 18, nested: the whole way down is in the causes."""

    async def fails(*, task_status: Incarnation) -> None:
        raise FAILS

    record = Recorder()
    nested = Supervisor.child("s", [Child("a", stubborn, shutdown=1.0), Child("b", fails)], intensity=PLENTY)
    with pytest.raises(StartFailed) as caught:
        async with Supervisor([nested], intensity=PLENTY, on_event=record):
            pytest.fail("entered")
    inner = caught.value.error
    assert isinstance(inner, StartFailed)
    assert (caught.value.path, inner.path, inner.error) == (("root", "s"), ("root", "s", "b"), FAILS)
    failed = ["ChildStartFailed root/s/b", "ChildStopping root/s/a", "ChildEnded root/s/a", "ChildStopFailed root/s/a"]
    assert record.names() == ["ChildStarted root/s/a", *failed, "ChildStartFailed root/s", "ChildStartFailed root"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("nested", "word"),
    [
        (Supervisor.child("s", [child("a"), child("a")]), "duplicate_child_name"),
        (Supervisor.child("s", [child("a", Restart.TRANSIENT, significant=True)]), "bad_combination"),
        (Supervisor.child("s", [child("a")], strategy=Strategy.DYNAMIC), "bad_start_spec"),
        (Supervisor.child("s", max_children=1), "invalid_max_children"),
    ],
)
async def test_what_is_wrong_with_a_nested_supervisor_is_told_when_it_is_started(nested: Child, word: str) -> None:
    """Rule 10, as a failed start."""
    async with Supervisor() as tree:
        with pytest.raises(StartFailed) as caught:
            await tree.start_child(nested)
        assert isinstance(caught.value.error, InvalidSpec)
        assert (caught.value.error.word, tree.which_children()) == (word, ())


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
    assert (failed.error, failed.path) == (FAILS, ("root", "bad"))
    driver.send(StartChild(child("bad"), "again"))  # nothing of it was kept
    assert driver.answers["again"] == "bad1"


def test_start_child_finds_the_id_of_one_that_is_being_stopped_still_taken() -> None:
    """Rule 20, where children are dealt with side by side: it is not yet forgotten."""
    driver = Driver([], Options(strategy=Strategy.DYNAMIC), slow=True)
    driver.send(StartChild(child("a"), 1), StartChild(child("a"), 2))
    driver.proceed()
    driver.send(TerminateChild("a", 3), StartChild(child("a"), 4))
    assert kinds(driver, 1, 2, 4) == ["a1", AlreadyStarted, AlreadyStarted]
    driver.proceed()
    driver.send(StartChild(child("a"), 5))
    driver.proceed()
    assert kinds(driver, 3, 5) == [None, "a1"]


def test_a_restart_by_request_that_fails_is_answered_and_not_tried_again() -> None:
    """Rules 3 and 21: it costs no budget, and the spec is kept."""
    starts: dict[str, list[Exception | None]] = {"a": [None, FAILS, Ignore()]}
    driver = Driver([child("a")], Options(intensity=Intensity(0)), starts=starts)
    driver.send(TerminateChild("a", 1), RestartChild("a", 2))
    failed = driver.answers[2]
    assert isinstance(failed, StartFailed)
    assert (failed.error, driver.states(), exit_of(driver)) == (FAILS, {"a": (STOPPED, 2)}, None)
    driver.send(RestartChild("a", 3), RestartChild("a", 4))
    assert (kinds(driver, 3, 4), driver.states()) == ([None, "a4"], {"a": (RUNNING, 4)})


@pytest.mark.anyio
async def test_terminate_child_answers_when_the_child_has_ended_if_need_be_killed() -> None:
    """Rule 21: always ok."""
    record = Recorder()
    async with Supervisor([Child("a", stubborn, shutdown=3.0)], on_event=record) as tree:
        await settle()
        await tree.terminate_child("a")
        assert anyio.current_time() == pytest.approx(3.0)
        assert tree.which_children() == (ChildInfo("a", STOPPED, 1, False),)
    assert record.of(ChildEnded)[0].exit == Exit(ExitKind.KILLED)


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


def test_a_place_under_max_children_is_taken_by_a_start_and_free_again_after_an_end() -> None:
    """Rule 23: a start under way counts, one that failed does not."""
    starts: dict[str, list[Exception | None]] = {"bad": [FAILS]}
    driver = Driver([], Options(strategy=Strategy.DYNAMIC, max_children=1), starts=starts, slow=True)
    driver.send(StartChild(child("bad"), 1), StartChild(child("b"), 2))
    driver.proceed()
    driver.send(StartChild(child("c", Restart.TEMPORARY), 3))
    driver.proceed()
    driver.exit("c", NORMAL)
    driver.send(StartChild(child("d"), 4))
    driver.proceed()
    assert kinds(driver, 1, 2, 3, 4) == [StartFailed, MaxChildrenReached, "c1", "d1"]


def test_a_dynamic_supervisor_has_room_for_any_number_unless_told_otherwise() -> None:
    """Rule 23: max_children is infinity by default."""
    driver = Driver([], Options(strategy=Strategy.DYNAMIC))
    driver.send(*(StartChild(child(f"c{n}"), n) for n in range(2000)))
    assert len(driver.live) == 2000


def test_a_spec_that_cannot_be_is_refused_by_start_child_too() -> None:
    """Rule 10."""
    driver = Driver([], Options())
    driver.send(StartChild(child("a", Restart.TRANSIENT, significant=True), 1))
    refused = driver.answers[1]
    assert isinstance(refused, InvalidSpec)
    assert (refused.word, driver.states()) == ("bad_combination", {})


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


def test_a_child_between_two_lives_is_not_active_and_one_that_stops_still_is() -> None:
    """Rule 22."""
    starts: dict[str, list[Exception | None]] = {"b": [None, FAILS]}
    driver = Driver([child("a"), child("b")], Options(intensity=PLENTY), starts=starts)
    driver.send(Suspend())
    driver.exit("b", CRASHED)
    assert driver.core.count_children().active == 2  # not heard of yet
    driver.send(Inspect(1), Resume())
    assert driver.answers[1] == (ChildInfo("a", RUNNING, 1, False), ChildInfo("b", RESTARTING, 2, False))
    slow = Driver([child("a"), child("b")], Options(), slow=True)
    while slow.proceed():
        pass
    slow.send(TerminateChild("a", 1))
    assert (slow.core.count_children().active, slow.states()["a"]) == (2, (ChildState.STOPPING, 1))
    slow.proceed()
    assert slow.core.count_children().active == 1


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


@pytest.mark.parametrize("shutdown", [5.0, INFINITY, BRUTAL_KILL])
@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("exit", [NORMAL, SHUTDOWN, ORDERLY, CRASHED, KILLED], ids=lambda exit: exit.kind.value)
def test_which_ends_are_silent(exit: Exit, restart: Restart, shutdown: float | BrutalKill) -> None:
    """Rule 25, of a child whose own end came before its supervisor's word."""
    permanent, brutal = restart is Restart.PERMANENT, shutdown is BRUTAL_KILL
    silent = {
        NORMAL: not permanent,
        ORDERLY: not permanent,
        SHUTDOWN: not (permanent and brutal),  # brutally killed, it was not asked to
        KILLED: brutal,
        CRASHED: False,
    }
    driver = Driver([Child("a", serve, restart=restart, shutdown=shutdown), child("b")], Options())
    driver.send(Suspend(), TerminateChild("a", 1))
    driver.exit("a", exit)
    driver.names()
    driver.send(Resume())
    assert driver.names() == ([] if silent[exit] else ["ChildStopFailed a"])
    assert driver.answers[1] is None


@pytest.mark.anyio
async def test_the_children_of_a_dynamic_supervisor_are_stopped_within_one_time_for_all() -> None:
    """Rule 12: all are asked at once, so the slowest decides."""
    record = Recorder()
    async with Supervisor(strategy=Strategy.DYNAMIC, on_event=record) as tree:
        for number in range(20):
            await tree.start_child(Child(f"c{number}", stubborn, shutdown=2.0))
        await settle()
        began = anyio.current_time()
        record.events.clear()
    assert anyio.current_time() - began == 2.0
    assert record.names()[:20] == [f"ChildStopping root/c{number}" for number in range(20)]
    assert {event.exit.kind for event in record.of(ChildEnded) if len(event.path) == 2} == {ExitKind.KILLED}


@pytest.mark.anyio
async def test_one_can_look_at_a_tree_that_starts_or_stops() -> None:
    """Rule 26: it answers requests one after the other, and questions at once."""

    async def slow(*, task_status: Incarnation) -> None:
        await anyio.sleep(1.0)
        task_status.started(task_status.path[-1])
        await task_status.stop_requested()
        await anyio.sleep(1.0)

    tree = Supervisor([Supervisor.child("s", [Child(id, slow) for id in "ab"])])
    seen: list[tuple[float, str, int, int]] = []

    async def look() -> None:
        await anyio.sleep(0.5)
        while seen == [] or seen[-1][1] != "stopped":
            [nested] = tree.snapshot().children
            states = [child.state for child in nested.children]
            active = sum(state in (RUNNING, ChildState.STOPPING) for state in states)
            seen.append((anyio.current_time(), nested.state.value, active, tree.count_children().active))
            assert tree.render().count("\n") == 1 + len(states)
            await anyio.sleep(1.0)

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        async with tree:
            pass
    assert seen == [
        (0.5, "starting", 0, 0),
        (1.5, "starting", 1, 0),
        (2.5, "stopping", 2, 1),
        (3.5, "stopping", 1, 1),
        (4.5, "stopped", 0, 0),
    ]


def test_each_report_says_who_which_life_in_what_and_why() -> None:
    """Rule 27: child_terminated, start_error, shutdown_error and the supervisor's own shutdown."""
    starts: dict[str, list[Exception | None]] = {"b": [None, FAILS]}
    driver = Driver([child("a"), child("b")], Options(intensity=Intensity(2)), starts=starts)
    a, b = ("root", "a"), ("root", "b")
    driver.exit("b", CRASHED)
    assert driver.events == [
        ChildStarted(path=a, number=1),
        ChildStarted(path=b, number=1),
        ChildEnded(path=b, number=1, exit=CRASHED),
        ChildFailed(path=b, number=1, exit=CRASHED),
        ChildRestarting(path=b, number=1, error=CRASHED.error, delay=0.0),
        ChildStartFailed(path=b, number=2, error=FAILS, occasion=Occasion.RESTART),
        ChildRestarting(path=b, number=2, error=FAILS, delay=0.0),
        ChildStarted(path=b, number=3),
    ]
    driver.events.clear()
    driver.send(Suspend(), TerminateChild("a", 1))
    driver.exit("a", CRASHED)
    driver.exit("b", NORMAL)
    driver.send(Resume())
    assert driver.events == [
        ChildEnded(path=a, number=1, exit=CRASHED),
        ChildEnded(path=b, number=3, exit=NORMAL),
        ChildStopFailed(path=a, number=1, exit=CRASHED),
        ChildFailed(path=b, number=3, exit=NORMAL),
        GaveUp(path=("root",), child=b, error=None),
    ]
    [ended] = driver.ended
    assert isinstance(ended, Ended)
    assert (ended.exit.kind, ended.cause) == (ExitKind.SHUTDOWN, ended.exit.error)


@pytest.mark.parametrize("occasion", [Occasion.BOOT, Occasion.CALL])
def test_a_failed_start_says_what_it_was_part_of(occasion: Occasion) -> None:
    """Rule 27: a listener can tell what its own request was answered from what nobody was told."""
    boot = [child("a")] if occasion is Occasion.BOOT else []
    driver = Driver(boot, Options(), starts={"a": [FAILS]})
    if not boot:
        driver.send(StartChild(child("a"), 1))
    assert driver.events == [ChildStartFailed(path=("root", "a"), error=FAILS, occasion=occasion)]
