from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.commands import (
    ChildState,
    DeleteChild,
    Ended,
    Kill,
    Request,
    RestartChild,
    Resume,
    StartChild,
    Stop,
    Suspend,
    TerminateChild,
)
from supervisor.errors import (
    AlreadyPresent,
    Ignore,
    MaxChildrenReached,
    NotDynamic,
    Shutdown,
    StartAborted,
    StartFailed,
    StillRestarting,
)
from supervisor.policy import Backoff, Directive, Policy, PolicyTable
from supervisor.reports import ErrorEscalated, Exit, ExitKind
from supervisor.spec import AutoShutdown, Child, Intensity, Options, Restart, Strategy
from tests.supervisor.driver import SHUTDOWN, Driver, serve

RUNNING, STOPPED, RESTARTING = ChildState.RUNNING, ChildState.STOPPED, ChildState.RESTARTING
NORMAL = Exit(ExitKind.NORMAL)
ORDERLY = Exit(ExitKind.SHUTDOWN, Shutdown("done"))
CRASHED = Exit(ExitKind.CRASHED, ValueError("x"))
KILLED = Exit(ExitKind.KILLED)
PLENTY = Intensity(100, 5.0)


def child(id: str, restart: Restart = Restart.PERMANENT, *, significant: bool = False) -> Child:
    return Child(id, serve, restart=restart, significant=significant)


# ---- restart type x kind of exit


@pytest.mark.parametrize(
    ("restart", "exit", "restarted"),
    [
        (Restart.PERMANENT, NORMAL, True),
        (Restart.PERMANENT, SHUTDOWN, True),
        (Restart.PERMANENT, ORDERLY, True),
        (Restart.PERMANENT, CRASHED, True),
        (Restart.PERMANENT, KILLED, True),
        (Restart.TRANSIENT, NORMAL, False),
        (Restart.TRANSIENT, SHUTDOWN, False),
        (Restart.TRANSIENT, ORDERLY, False),
        (Restart.TRANSIENT, CRASHED, True),
        (Restart.TRANSIENT, KILLED, True),
        (Restart.TEMPORARY, NORMAL, False),
        (Restart.TEMPORARY, SHUTDOWN, False),
        (Restart.TEMPORARY, ORDERLY, False),
        (Restart.TEMPORARY, CRASHED, False),
        (Restart.TEMPORARY, KILLED, False),
    ],
)
def test_restart_type_and_exit_decide_who_is_restarted(restart: Restart, exit: Exit, restarted: bool) -> None:
    driver = Driver([child("a", restart), child("b")], Options(intensity=PLENTY))
    driver.exit("a", exit)
    kept = {"a": (RUNNING, 2)} if restarted else {"a": (STOPPED, 1)}
    if restart is Restart.TEMPORARY:
        kept = {}
    assert driver.states() == kept | {"b": (RUNNING, 1)}


# ---- strategies


@pytest.mark.parametrize(
    ("strategy", "events"),
    [
        (Strategy.ONE_FOR_ONE, ["ChildStarted b"]),
        (
            Strategy.REST_FOR_ONE,
            ["ChildStopping d", "ChildEnded d", "ChildStopping c", "ChildEnded c", "ChildStarted b", "ChildStarted d"],
        ),
        (
            Strategy.ONE_FOR_ALL,
            [
                "ChildStopping d",
                "ChildEnded d",
                "ChildStopping c",
                "ChildEnded c",
                "ChildStopping a",
                "ChildEnded a",
                "ChildStarted a",
                "ChildStarted b",
                "ChildStarted d",
            ],
        ),
    ],
)
def test_a_strategy_stops_in_reverse_starts_in_order_and_drops_temporary_siblings(
    strategy: Strategy, events: list[str]
) -> None:
    children = [child("a"), child("b"), child("c", Restart.TEMPORARY), child("d", Restart.TRANSIENT)]
    driver = Driver(children, Options(strategy=strategy, intensity=Intensity(1, 5.0)))
    driver.names()
    driver.exit("b", CRASHED)
    assert driver.names() == ["ChildEnded b", "ChildFailed b", "ChildRestarting b", *events]


def test_one_for_all_starts_a_transient_sibling_that_was_done_again() -> None:
    driver = Driver([child("a", Restart.TRANSIENT), child("b")], Options(strategy=Strategy.ONE_FOR_ALL))
    driver.exit("a", NORMAL)
    driver.exit("b", CRASHED)
    assert driver.states() == {"a": (RUNNING, 2), "b": (RUNNING, 2)}


def test_a_failed_restart_waits_behind_the_requests_and_terminate_calls_it_off() -> None:
    driver = Driver([child("a")], Options(intensity=PLENTY), starts={"a": [None, ValueError("init")]})
    driver.send(Suspend())
    driver.exit("a", CRASHED)
    driver.send(RestartChild("a", "restart"), TerminateChild("a", "terminate"), Resume())
    assert driver.states() == {"a": (STOPPED, 2)}
    assert isinstance(driver.answers["restart"], StillRestarting)
    assert driver.answers["terminate"] is None


def test_a_start_that_keeps_failing_uses_up_the_budget_without_any_pause() -> None:
    failures: list[Exception | None] = [None, *[ValueError("init")] * 9]
    driver = Driver([child("a")], Options(intensity=Intensity(3, 5.0)), starts={"a": failures})
    driver.names()
    driver.exit("a", CRASHED)
    assert driver.names() == (
        ["ChildEnded a", "ChildFailed a"] + ["ChildRestarting a", "ChildStartFailed a"] * 3 + ["GaveUp root"]
    )
    [ended] = driver.ended
    assert isinstance(ended, Ended)
    assert ended.exit.kind is ExitKind.SHUTDOWN


def test_the_first_start_is_not_retried_and_what_had_started_is_stopped_again() -> None:
    error = ValueError("init")
    driver = Driver([child("a"), child("b")], Options(intensity=PLENTY), starts={"b": [error]})
    assert driver.names() == ["ChildStarted a", "ChildStartFailed b", "ChildStopping a", "ChildEnded a"]
    [failed] = driver.ended
    assert isinstance(failed.error if not isinstance(failed, Ended) else None, StartFailed)


def test_an_ignored_child_keeps_its_spec_unless_it_is_temporary() -> None:
    starts: dict[str, list[Exception | None]] = {"a": [Ignore()], "b": [Ignore()]}
    driver = Driver([child("a"), child("b", Restart.TEMPORARY)], Options(), starts=starts)
    assert (driver.states(), driver.names()) == ({"a": (STOPPED, 1)}, ["ChildIgnored a", "ChildIgnored b"])


# ---- auto_shutdown


@pytest.mark.parametrize(
    ("mode", "ended"),
    [(AutoShutdown.ANY_SIGNIFICANT, [True, True]), (AutoShutdown.ALL_SIGNIFICANT, [False, True])],
)
def test_significant_children_that_end_end_their_supervisor(mode: AutoShutdown, ended: list[bool]) -> None:
    children = [
        child("a", Restart.TRANSIENT, significant=True),
        child("b", Restart.TEMPORARY, significant=True),
        child("c"),
    ]
    driver = Driver(children, Options(auto_shutdown=mode))
    seen = []
    for id in ("a", "b"):
        if id in driver.live:
            driver.exit(id, NORMAL)
        seen.append(bool(driver.ended))
    assert seen == ended
    assert driver.live == {}


def test_a_child_that_the_supervisor_itself_stops_is_not_significant() -> None:
    options = Options(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    driver = Driver([child("a", Restart.TRANSIENT, significant=True)], options)
    driver.send(TerminateChild("a", "t"))
    assert (driver.ended, driver.answers) == ([], {"t": None})


# ---- policies


def table(directive: Directive, backoff: Backoff | None = None) -> PolicyTable:
    return PolicyTable(default=Policy(directive, backoff))


def test_backoff_waits_in_the_restarting_state_and_grows_until_a_child_lives_long_enough() -> None:
    backoff = Backoff(initial=1.0, factor=2.0, maximum=3.0, reset_after=30.0)
    driver = Driver([child("a")], Options(intensity=PLENTY), policies=table(Directive.BACKOFF, backoff))
    delays = []
    for lived in (1.0, 1.0, 1.0, 29.0, 30.0):
        driver.now += lived
        driver.exit("a", CRASHED)
        assert driver.states()["a"][0] is RESTARTING
        due, delay = driver.pauses.pop()
        delays.append(delay)
        driver.now += delay
        driver.send(due)
        assert driver.states()["a"][0] is RUNNING
    assert delays == [1.0, 2.0, 3.0, 3.0, 1.0]


def test_a_group_is_stopped_before_the_pause_and_started_after_it() -> None:
    driver = Driver(
        [child("a"), child("b"), child("c")],
        Options(strategy=Strategy.REST_FOR_ONE),
        policies=table(Directive.BACKOFF),
    )
    driver.exit("b", CRASHED)
    assert driver.states() == {"a": (RUNNING, 1), "b": (RESTARTING, 1), "c": (STOPPED, 1)}
    driver.send(driver.pauses.pop()[0])
    assert driver.states() == {"a": (RUNNING, 1), "b": (RUNNING, 2), "c": (RUNNING, 2)}


def test_a_pause_that_was_called_off_restarts_nothing() -> None:
    driver = Driver([child("a")], Options(), policies=table(Directive.BACKOFF))
    driver.exit("a", CRASHED)
    due, _ = driver.pauses.pop()
    driver.send(TerminateChild("a", "t"), RestartChild("a", "r"), due)
    assert (driver.states(), driver.answers) == ({"a": (RUNNING, 2)}, {"t": None, "r": "a2"})


def test_a_pause_that_was_called_off_does_not_cut_a_later_one_short() -> None:
    driver = Driver([child("a")], Options(intensity=PLENTY), policies=table(Directive.BACKOFF))
    driver.exit("a", CRASHED)
    old, _ = driver.pauses.pop()
    driver.send(TerminateChild("a", "t"), RestartChild("a", "r"))
    driver.exit("a", CRASHED)
    driver.send(old)
    assert driver.states() == {"a": (RESTARTING, 2)}
    driver.send(driver.pauses.pop()[0])
    assert driver.states() == {"a": (RUNNING, 3)}


def test_restarts_with_a_pause_count_in_the_window() -> None:
    driver = Driver([child("a")], Options(intensity=Intensity(1, 60.0)), policies=table(Directive.BACKOFF))
    driver.exit("a", CRASHED)
    driver.send(driver.pauses.pop()[0])
    driver.exit("a", CRASHED)
    assert (driver.pauses, len(driver.ended)) == ([], 1)


@pytest.mark.parametrize(
    ("directive", "restart", "state"),
    [
        (Directive.STOP, Restart.PERMANENT, (STOPPED, 1)),
        (Directive.STOP, Restart.TRANSIENT, (STOPPED, 1)),
        (Directive.CONTINUE, Restart.PERMANENT, (RUNNING, 2)),
        (Directive.CONTINUE, Restart.TRANSIENT, (STOPPED, 1)),
    ],
)
def test_a_directive_overrules_the_restart_type(
    directive: Directive, restart: Restart, state: tuple[ChildState, int]
) -> None:
    driver = Driver([child("a", restart)], Options(), policies=table(directive))
    driver.exit("a", CRASHED)
    assert driver.states() == {"a": state}


@pytest.mark.parametrize("restart", list(Restart))
def test_escalate_ends_the_supervisor_with_the_error_whatever_the_restart_type(restart: Restart) -> None:
    driver = Driver([child("a"), child("b", restart)], Options(), policies=table(Directive.ESCALATE))
    driver.exit("b", CRASHED)
    [ended] = driver.ended
    assert isinstance(ended, Ended)
    assert (ended.exit, driver.live) == (CRASHED, {})
    escalated = ErrorEscalated(path=("root",), child=("root", "b"), error=CRASHED.error)
    assert escalated in driver.events


class Coded(Exception):
    def __init__(self, code: str, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after


def by_code(**policies: Policy) -> PolicyTable:
    return PolicyTable(policies, default=Policy(Directive.RESTART))


def test_a_normal_end_asks_no_policy() -> None:
    driver = Driver([child("a")], Options(), policies=table(Directive.ESCALATE))
    driver.exit("a", NORMAL)
    assert (driver.states(), driver.ended) == ({"a": (RUNNING, 2)}, [])


def test_each_error_is_looked_up_even_that_of_a_restart_that_failed() -> None:
    starts: dict[str, list[Exception | None]] = {"a": [None, Coded("NET_001"), Coded("NET_404")]}
    policies = by_code(NET=Policy(Directive.BACKOFF, Backoff(initial=1.0)), NET_404=Policy(Directive.STOP))
    driver = Driver([child("a")], Options(intensity=PLENTY), policies=policies, starts=starts)
    driver.exit("a", CRASHED)  # the default: at once, and that fails with NET_001
    assert (driver.states(), driver.pauses[0][1]) == ({"a": (RESTARTING, 2)}, 1.0)
    driver.send(driver.pauses.pop()[0])  # fails with NET_404
    assert (driver.states(), driver.pauses, driver.ended) == ({"a": (STOPPED, 3)}, [], [])


def test_a_restart_that_fails_with_an_error_to_escalate_ends_the_supervisor() -> None:
    starts: dict[str, list[Exception | None]] = {"a": [None, Coded("AUTH_001")]}
    driver = Driver([child("a")], Options(), policies=by_code(AUTH=Policy(Directive.ESCALATE)), starts=starts)
    driver.exit("a", CRASHED)
    [ended] = driver.ended
    assert isinstance(ended, Ended)
    assert ended.exit.kind is ExitKind.CRASHED


def test_a_rate_limit_waits_as_long_as_each_error_says_and_grows_where_it_says_nothing() -> None:
    policies = table(Directive.RATE_LIMIT, Backoff(initial=1.0, factor=2.0, maximum=60.0))
    driver = Driver([child("a")], Options(intensity=PLENTY), policies=policies)
    delays = []
    for hint in (None, 12.5, None):
        driver.exit("a", Exit(ExitKind.CRASHED, Coded("API_429", hint)))
        assert driver.states()["a"][0] is RESTARTING
        due, delay = driver.pauses.pop()
        delays.append(delay)
        driver.send(due)
    assert delays == [1.0, 12.5, 4.0]


def test_the_pauses_grow_over_restarts_that_fail_however_long_that_takes() -> None:
    failures: list[Exception | None] = [None, *[ValueError("init")] * 3]
    policies = table(Directive.BACKOFF, Backoff(initial=1.0, factor=2.0, maximum=60.0, reset_after=5.0))
    driver = Driver([child("a")], Options(intensity=PLENTY), policies=policies, starts={"a": failures})
    driver.exit("a", CRASHED)
    delays = []
    while driver.pauses:
        due, delay = driver.pauses.pop()
        delays.append(delay)
        driver.now += delay
        driver.send(due)
    assert (delays, driver.states()) == ([1.0, 2.0, 4.0, 8.0], {"a": (RUNNING, 5)})


@pytest.mark.parametrize("directive", [Directive.BACKOFF, Directive.RATE_LIMIT])
def test_while_it_waits_every_request_is_answered_as_in_otps_restarting(directive: Directive) -> None:
    driver = Driver([child("a")], Options(), policies=table(directive))
    driver.exit("a", CRASHED)
    driver.send(StartChild(child("a"), 1), RestartChild("a", 2), DeleteChild("a", 3))
    assert [type(driver.answers[n]) for n in (1, 2, 3)] == [AlreadyPresent, StillRestarting, StillRestarting]
    count = driver.core.count_children()
    assert (count.specs, count.active, count.workers) == (1, 0, 1)
    driver.send(TerminateChild("a", 4), DeleteChild("a", 5), StartChild(child("a"), 6))
    assert [driver.answers[n] for n in (4, 5, 6)] == [None, None, "a1"]


# ---- dynamic


DYNAMIC = Options(strategy=Strategy.DYNAMIC, intensity=PLENTY, max_children=2)


def test_a_dynamic_supervisor_is_full_with_children_that_wait_for_a_restart() -> None:
    driver = Driver([], DYNAMIC, policies=table(Directive.BACKOFF))
    driver.send(StartChild(child("a"), 1), StartChild(child("b"), 2), StartChild(child("c"), 3))
    driver.exit("a", CRASHED)
    driver.send(StartChild(child("d"), 4), StartChild(child("a"), 5))
    kinds = [driver.answers[1], driver.answers[2], *(type(driver.answers[n]) for n in (3, 4, 5))]
    assert kinds == ["a1", "b1", MaxChildrenReached, MaxChildrenReached, AlreadyPresent]


@pytest.mark.parametrize("way", ["it gives up", "it escalates", "its significant child has ended"])
def test_a_dynamic_supervisor_that_ends_by_itself_calls_off_the_starts_under_way(way: str) -> None:
    options = Options(strategy=Strategy.DYNAMIC, intensity=Intensity(0), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    directive = Directive.ESCALATE if way == "it escalates" else Directive.RESTART
    driver = Driver([], options, policies=table(directive), slow=True)
    significant = way == "its significant child has ended"
    first = child("a", Restart.TEMPORARY if significant else Restart.PERMANENT, significant=significant)
    driver.send(StartChild(first, 1))
    driver.proceed()
    driver.send(StartChild(child("b"), 2))
    driver.exit("a", CRASHED)
    assert (len(driver.ended), driver.live, driver.states()) == (1, {}, {})
    refused = driver.answers[2]
    assert isinstance(refused, StartFailed)
    assert isinstance(refused.error, StartAborted)


@pytest.mark.parametrize("what", ["the child", "the supervisor"])
def test_a_restart_under_way_is_called_off_when_a_dynamic_child_or_its_supervisor_is_to_stop(what: str) -> None:
    driver = Driver([], DYNAMIC, slow=True)
    driver.send(StartChild(child("a"), 1))
    driver.proceed()
    driver.exit("a", CRASHED)
    assert driver.states() == {"a": (ChildState.STARTING, 2)}
    driver.send(TerminateChild("a", 2) if what == "the child" else Stop(SHUTDOWN))
    assert (driver.states(), driver.live, driver.pauses) == ({}, {}, [])
    if what == "the child":
        assert (driver.answers[2], driver.ended) == (None, [])
    else:
        assert len(driver.ended) == 1


def test_a_dynamic_supervisor_forgets_a_child_that_ended_and_has_nothing_to_restart() -> None:
    driver = Driver([], DYNAMIC)
    driver.send(StartChild(child("a", Restart.TRANSIENT), 1))
    driver.exit("a", NORMAL)
    driver.send(RestartChild("a", 2), DeleteChild("a", 3), TerminateChild("a", 4))
    assert driver.states() == {}
    assert [type(driver.answers[n]) for n in (2, 3)] == [NotDynamic, NotDynamic]
    assert driver.answers[4] is None


# ---- any sequence of events

IDS = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("exit"), IDS, st.sampled_from([NORMAL, SHUTDOWN, CRASHED, KILLED])),
    st.tuples(st.sampled_from(["start", "terminate", "restart", "delete"]), IDS),
    st.tuples(st.sampled_from(["suspend", "resume", "pause_over", "wait", "proceed", "proceed"])),
)


def request(kind: str, id: str, spec: Child, reply: int) -> Request:
    match kind:
        case "start":
            return StartChild(replace(spec, id=id), reply)
        case "terminate":
            return TerminateChild(id, reply)
        case "restart":
            return RestartChild(id, reply)
        case _:
            return DeleteChild(id, reply)


@settings(max_examples=150, deadline=None)
@given(
    strategy=st.sampled_from(Strategy),
    restart=st.sampled_from(Restart),
    directive=st.sampled_from([Directive.RESTART, Directive.BACKOFF, Directive.STOP, Directive.ESCALATE]),
    failing=st.lists(st.booleans(), max_size=8),
    slow=st.booleans(),
    kill=st.booleans(),
    steps=st.lists(STEPS, max_size=25),
)
def test_whatever_happens_each_call_is_answered_once_and_a_stop_leaves_nobody(
    strategy: Strategy,
    restart: Restart,
    directive: Directive,
    failing: list[bool],
    slow: bool,
    kill: bool,
    steps: list[tuple[Any, ...]],
) -> None:
    spec = child("a", restart)
    boot = [] if strategy is Strategy.DYNAMIC else [spec, child("b")]
    script: list[Exception | None] = [None, *(ValueError("init") if fails else None for fails in failing)]
    driver = Driver(
        boot,
        Options(strategy=strategy, intensity=Intensity(3, 5.0)),
        policies=table(directive),
        starts={"a": script, "c": script},
        slow=slow,
    )
    asked = 0
    for step in steps:
        match step:
            case ("exit", id, exit):
                if id in driver.live:
                    driver.exit(id, exit)
            case ("suspend",):
                driver.send(Suspend())
            case ("resume",):
                driver.send(Resume())
            case ("pause_over",):
                for due, delay in driver.pauses:
                    driver.now += delay
                    driver.send(due)
                driver.pauses.clear()
            case ("wait",):
                driver.now += 3.0
            case ("proceed",):
                driver.proceed()
            case (kind, id):
                driver.send(request(kind, id, spec, asked))
                asked += 1
    driver.send(Kill() if kill else Stop(SHUTDOWN), Resume())
    while driver.proceed():
        pass
    assert (driver.live, len(driver.ended), set(driver.answers)) == ({}, 1, set(range(asked)))
