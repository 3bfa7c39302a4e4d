from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.breaker import TRANSITIONS, Breaker, BreakerState, Cause
from supervisor.commands import ChildState, Proven, Resume, StartChild, Suspend, TerminateChild
from supervisor.errors import Ignore, InvalidSpec
from supervisor.incarnation import Incarnation
from supervisor.policy import Backoff, Directive, Policy, PolicyTable
from supervisor.reports import BreakerClosed, BreakerOpened, BreakerProbed, BudgetSpent, Exit, ExitKind
from supervisor.spec import AutoShutdown, Child, Intensity, Options, Restart, Strategy
from supervisor.testing import Recorder
from supervisor.tree import Supervisor
from tests.supervisor.driver import Driver, serve

CLOSED, OPEN, HALF_OPEN = BreakerState
RUNNING, STOPPED, RESTARTING = ChildState.RUNNING, ChildState.STOPPED, ChildState.RESTARTING
ERROR = ValueError("down")
CRASHED = Exit(ExitKind.CRASHED, ERROR)
PLENTY = Intensity(1000, 5.0)


def breaker(failures: int = 3) -> Breaker:
    """Opens at the third failure within 10 s: for 4 s, then 8, then 10. Proven after 2 s."""
    return Breaker(
        "riva",
        threshold=Intensity(failures - 1, 10.0),
        pause=Backoff(4.0, 2.0, 10.0),
        proven_after=2.0,
        probe_time=30.0,
        spread=1.0,
        random=lambda: 0.0,
    )


def opened() -> Breaker:
    made = breaker()
    assert [made.failed(who, 0.0) for who in "abc"] == [None, None, 4.0]
    return made


def test_it_opens_when_too_many_have_failed_in_its_window() -> None:
    made = breaker()
    assert [made.failed("a", now) for now in (0.0, 5.0, 10.1, 15.0)] == [None, None, None, 4.0]
    assert made.state is OPEN
    assert made.ask("a", 16.0) == 3.0


def test_after_the_pause_one_may_try_and_the_others_ask_again() -> None:
    made = opened()
    assert [made.ask(who, 4.0) for who in "abca"] == [0.0, 1.0, 1.0, 0.0]
    assert (made.state, made.is_probe("a"), made.is_probe("b")) == (HALF_OPEN, True, False)


def test_a_probe_that_fails_opens_it_for_longer_up_to_the_maximum() -> None:
    made, now, pauses = opened(), 4.0, []
    for _ in range(3):
        made.ask("a", now)
        pauses.append(made.failed("a", now))
        now = now + (pauses[-1] or 0.0)
    assert pauses == [8.0, 10.0, 10.0]


def test_a_proven_probe_closes_it_and_all_counting_begins_anew() -> None:
    made = opened()
    made.ask("a", 4.0)
    assert (made.proven("b"), made.proven("a"), made.state) == (False, True, CLOSED)
    assert [made.failed(who, 6.0) for who in "abc"] == [None, None, 4.0]


def test_old_failures_tell_nothing_new_while_it_is_not_closed() -> None:
    made = opened()
    assert made.failed("d", 1.0) is None
    made.ask("a", 4.0)
    assert made.failed("d", 5.0) is None
    assert (made.state, made.is_probe("a")) == (HALF_OPEN, True)


def test_it_can_be_opened_whatever_was_counted_for_as_long_as_is_known() -> None:
    made = breaker()
    assert (made.trip(1.0, 7.0), made.state, made.free_in(1.0)) == (7.0, OPEN, 7.0)
    assert (made.trip(2.0, 3.0), made.trip(2.0, 9.0)) == (6.0, 9.0)  # never sooner than was said before
    made.ask("a", 11.0)
    assert (made.trip(11.0), made.state) == (8.0, OPEN)  # by itself: as after any probe that failed


def test_a_pause_can_be_over_before_its_time() -> None:
    made = opened()
    made.hurry(1.0)
    assert (made.state, made.free_in(1.0), made.ask("a", 1.0)) == (OPEN, 0.0, 0.0)


def test_whether_somebody_new_may_try_can_be_asked_without_trying() -> None:
    made = breaker()
    assert made.free_in(0.0) == 0.0
    made.trip(0.0, 4.0)
    assert (made.free_in(1.0), made.free_in(4.0), made.state) == (3.0, 0.0, OPEN)
    made.ask("a", 4.0)
    assert made.free_in(5.0) == 29.0
    made.release("a")
    assert (made.free_in(5.0), made.state) == (0.0, HALF_OPEN)


def test_one_that_closes_and_opens_by_turns_stays_open_longer_each_time() -> None:
    made = Breaker("b", threshold=Intensity(0, 1.0), pause=Backoff(1.0, 2.0, 8.0), calm=60.0, random=lambda: 0.0)

    def pause_after(seconds: float) -> float | None:
        nonlocal now
        made.hurry(now)
        made.ask("a", now)
        made.proven("a")
        now += seconds
        return made.failed("a", now)

    now = 0.0
    assert made.failed("a", now) == 1.0
    assert [pause_after(seconds) for seconds in (1.0, 59.0, 60.0)] == [2.0, 4.0, 1.0]


@pytest.mark.parametrize("lost", ["released", "out of time"])
def test_a_probe_that_is_lost_makes_room_for_the_next(lost: str) -> None:
    made, now = opened(), 4.0
    made.ask("a", now)
    if lost == "released":
        made.release("b")
        made.release("a")
    else:
        now += 30.0
    assert made.ask("b", now) == 0.0
    assert (made.is_probe("b"), made.proven("a"), made.failed("a", now)) == (True, False, None)


def test_a_move_that_is_not_in_the_table_is_a_defect() -> None:
    assert len(TRANSITIONS) == 4
    with pytest.raises(KeyError):
        breaker()._move(Cause.PROBE_PROVEN)


@pytest.mark.parametrize(
    "options",
    [{"proven_after": -1.0}, {"proven_after": 5.0, "probe_time": 4.0}, {"spread": 0.0}, {"calm": -1.0}],
)
def test_a_breaker_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        Breaker("b", **options)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ask", "fail", "prove", "release", "wait"]), st.sampled_from("abcd"), st.floats(0, 1)
        )
    )
)
def test_while_it_is_not_closed_at_most_one_may_try_at_a_time(steps: list[tuple[str, str, float]]) -> None:
    draws = iter(float(draw) % 1.0 for _, _, draw in steps * 3)
    made = Breaker(
        "b", threshold=Intensity(1, 5.0), pause=Backoff(1.0), probe_time=10.0, random=lambda: next(draws, 0.5)
    )
    now, trying = 0.0, dict[str, float]()  # who was let in while it was not closed, and when
    for what, who, amount in steps:
        match what:
            case "ask":
                delay = made.ask(who, now)
                assert delay >= 0.0
                if made.state is HALF_OPEN and delay == 0.0:
                    others = [other for other, since in trying.items() if other != who and now - since < 10.0]
                    assert others == []
                    trying[who] = now
            case "fail":
                made.failed(who, now)
                trying.pop(who, None)
            case "prove":
                was = made.is_probe(who)
                assert made.proven(who) is was
            case "release":
                made.release(who)
                trying.pop(who, None)
            case _:
                now += amount * 20
        if made.state is CLOSED:
            trying.clear()


# ---- in a supervisor


def guarded(made: Breaker, directive: Directive = Directive.RESTART) -> PolicyTable:
    return PolicyTable(default=Policy(directive, breaker=made))


def crash_all(driver: Driver, ids: str) -> None:
    for id in ids:
        driver.exit(id, CRASHED)


def pause_over(driver: Driver) -> None:
    """Let the earliest pause pass."""
    driver.pauses.sort(key=lambda pause: pause[1])
    due, delay = driver.pauses.pop(0)
    driver.now += delay
    driver.send(due)


def test_restarts_wait_in_the_restarting_state_until_the_breaker_lets_one_try() -> None:
    driver = Driver([Child(id, serve) for id in "abc"], Options(intensity=PLENTY), policies=guarded(breaker()))
    crash_all(driver, "abc")
    assert driver.states() == {"a": (RUNNING, 2), "b": (RUNNING, 2), "c": (RESTARTING, 1)}
    assert [event.path for event in driver.events if isinstance(event, BreakerOpened)] == [("root", "c")]
    crash_all(driver, "ab")
    assert [delay for _, delay in driver.pauses] == [4.0, 4.0, 4.0]
    pause_over(driver)
    driver.send(driver.pauses.pop(0)[0])
    states = sorted(driver.states().values(), key=str)
    assert states == sorted([(RUNNING, 2), (RESTARTING, 2), (RESTARTING, 2)], key=str)


def test_its_moves_are_events_of_the_child_that_caused_them() -> None:
    driver = Driver([Child("a", serve)], Options(intensity=PLENTY), policies=guarded(breaker(failures=1)))
    driver.exit("a", CRASHED)
    pause_over(driver)
    [(proven, delay)] = driver.pauses
    assert (proven, delay) == (Proven(driver.core.find("a"), 2), 2.0)
    driver.send(proven)
    path = ("root", "a")
    assert [event for event in driver.events if type(event).__name__.startswith("Breaker")] == [
        BreakerOpened(path=path, number=1, breaker="riva", error=ERROR, seconds=4.0),
        BreakerProbed(path=path, number=1, breaker="riva"),
        BreakerClosed(path=path, number=2, breaker="riva"),
    ]


def test_a_probe_that_ended_is_not_proven_by_the_clock_of_its_last_life() -> None:
    made = breaker(failures=1)
    driver = Driver([Child("a", serve)], Options(intensity=PLENTY), policies=guarded(made))
    driver.exit("a", CRASHED)
    pause_over(driver)
    (stale, _) = driver.pauses.pop()
    driver.exit("a", CRASHED)
    driver.send(stale)
    assert (made.state, driver.states()) == (OPEN, {"a": (RESTARTING, 2)})
    pause_over(driver)
    driver.send(stale)
    assert (made.state, driver.states()) == (HALF_OPEN, {"a": (RUNNING, 3)})


def test_a_probe_whose_end_is_known_but_not_yet_dealt_with_is_not_proven() -> None:
    made = breaker(failures=1)
    driver = Driver([Child("a", serve)], Options(intensity=PLENTY), policies=guarded(made))
    driver.exit("a", CRASHED)
    pause_over(driver)
    driver.send(Suspend())
    driver.exit("a", CRASHED)
    driver.send(driver.pauses.pop()[0], Resume())
    assert (made.state, driver.states()) == (OPEN, {"a": (RESTARTING, 2)})


def test_a_held_back_restart_is_called_off_like_any_other() -> None:
    driver = Driver([Child("a", serve)], Options(intensity=PLENTY), policies=guarded(breaker(failures=1)))
    driver.exit("a", CRASHED)
    driver.send(TerminateChild("a", 1))
    pause_over(driver)
    assert driver.states() == {"a": (STOPPED, 1)}


@pytest.mark.parametrize("way", ["terminated", "ended well", "declined"])
def test_a_probe_that_goes_without_a_verdict_lets_the_next_one_try(way: str) -> None:
    made = breaker(failures=1)
    spec = Child("a", serve, restart=Restart.TRANSIENT)
    starts: dict[str, list[Exception | None]] = {"a": [None, Ignore() if way == "declined" else None]}
    driver = Driver([spec], Options(intensity=PLENTY), policies=guarded(made), starts=starts, slow=True)
    driver.proceed()
    driver.exit("a", CRASHED)
    pause_over(driver)
    assert made.ask("other", driver.now) > 0
    driver.proceed()
    if way == "terminated":
        driver.send(TerminateChild("a", 1))
        driver.proceed()
    elif way == "ended well":
        driver.exit("a", Exit(ExitKind.NORMAL))
    assert made.ask("other", driver.now) == 0.0


@settings(max_examples=100, deadline=None)
@given(data=st.data(), failing=st.lists(st.booleans(), max_size=12))
def test_however_its_children_fare_no_two_supervisors_let_two_children_try_at_once(
    data: st.DataObject, failing: list[bool]
) -> None:
    made = breaker(failures=2)
    options = Options(strategy=Strategy.DYNAMIC, intensity=PLENTY)
    script: list[Exception | None] = [None, *(ERROR if fails else None for fails in failing)]
    both = [Driver([], options, policies=guarded(made), starts={"a": script, "b": script}) for _ in range(2)]
    for driver in both:
        driver.send(StartChild(Child("a", serve), 1), StartChild(Child("b", serve), 2))
    for _ in range(data.draw(st.integers(0, 30))):
        driver = data.draw(st.sampled_from(both))
        for other in both:
            other.now = driver.now = max(one.now for one in both)
        if data.draw(st.booleans()) and driver.pauses:
            pause_over(driver)
        elif driver.live:
            driver.exit(data.draw(st.sampled_from(sorted(driver.live))), CRASHED)
        probes = [entry for one in both for entry in one.core.entries() if entry.probe is not None]
        current = [entry for entry in probes if made.is_probe(entry)]
        assert len(current) <= 1
        assert current == [] or made.state is HALF_OPEN


@pytest.mark.anyio
async def test_children_of_many_supervisors_come_back_one_by_one_after_the_probe() -> None:
    up = False
    lives: list[tuple[float, str]] = []
    record = Recorder()

    async def connects(*, task_status: Incarnation) -> None:
        lives.append((anyio.current_time() - began, task_status.path[1]))
        if not up and task_status.number > 1:
            raise ERROR
        task_status.started()
        await (anyio.sleep_forever() if up else anyio.sleep(1.0))
        raise ERROR

    made = Breaker("riva", threshold=Intensity(2, 10.0), pause=Backoff(10.0, 1.0, 10.0), random=lambda: 0.5)
    sessions = [
        Supervisor.child(f"s{n}", [Child("stream", connects)], intensity=PLENTY, policies=guarded(made))
        for n in range(5)
    ]
    began = anyio.current_time()
    async with Supervisor(sessions, on_event=record) as tree:
        await anyio.sleep(15.0)
        up = True
        await anyio.sleep(15.0)
        assert all(c.state is RUNNING for n in range(5) for c in tree.value(f"s{n}").which_children())
    first, tried = lives[:5], lives[5:]
    assert [when for when, _ in first] == [0.0] * 5
    # Two were within the threshold and failed again at once; then one at a time, and nobody else, knocks.
    assert [when for when, _ in tried if when < 16.0] == pytest.approx([1.0, 1.0, 8.5])
    assert len(record.of(BreakerClosed)) == 1


# ---- a child's own budget


def test_a_child_over_its_own_budget_stays_down_and_leaves_its_siblings_alone() -> None:
    children = [Child("a", serve, budget=Intensity(2, 60.0)), Child("b", serve)]
    driver = Driver(children, Options(intensity=PLENTY))
    for driver.now in (0.0, 30.0, 60.0):
        driver.exit("a", CRASHED)
    assert (driver.states(), driver.ended) == ({"a": (STOPPED, 3), "b": (RUNNING, 1)}, [])
    assert driver.events[-1] == BudgetSpent(path=("root", "a"), number=3, error=ERROR)


def test_its_own_window_slides_too() -> None:
    driver = Driver([Child("a", serve, budget=Intensity(1, 60.0))], Options(intensity=PLENTY))
    for driver.now in (0.0, 60.1, 120.2):
        driver.exit("a", CRASHED)
    assert driver.states() == {"a": (RUNNING, 4)}


def test_failed_attempts_use_up_the_childs_budget_as_well() -> None:
    failures: list[Exception | None] = [None, *[ERROR] * 9]
    driver = Driver([Child("a", serve, budget=Intensity(3))], Options(intensity=PLENTY), starts={"a": failures})
    driver.exit("a", CRASHED)
    assert (driver.states(), driver.ended) == ({"a": (STOPPED, 4)}, [])


def test_the_supervisors_budget_still_holds() -> None:
    driver = Driver([Child("a", serve, budget=Intensity(5))], Options(intensity=Intensity(1)))
    driver.exit("a", CRASHED)
    driver.exit("a", CRASHED)
    assert len(driver.ended) == 1


def test_a_significant_child_over_its_budget_is_gone_for_good() -> None:
    spec = Child("a", serve, restart=Restart.TRANSIENT, significant=True, budget=Intensity(0))
    driver = Driver([spec], Options(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT))
    driver.exit("a", CRASHED)
    assert len(driver.ended) == 1


@pytest.mark.parametrize("options", [{"budget": 3}, {"budget": Intensity(), "restart": Restart.TEMPORARY}])
def test_a_budget_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        Child("a", serve, **options)


def test_a_breaker_where_nothing_is_restarted_is_refused() -> None:
    with pytest.raises(InvalidSpec):
        Policy(Directive.STOP, breaker=breaker())
