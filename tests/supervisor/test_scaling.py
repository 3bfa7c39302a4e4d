"""No cost grows with the number of siblings: counted in executed lines, so that no clock is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from supervisor.commands import DeleteChild, StartChild, Stop, TerminateChild
from supervisor.reports import Exit, ExitKind
from supervisor.spec import AutoShutdown, Child, Intensity, Options, Restart, Strategy
from tests.supervisor.driver import Driver, serve

CRASHED, NORMAL = Exit(ExitKind.CRASHED, ValueError()), Exit(ExitKind.NORMAL)
PATIENT = Intensity(10**6, 1e-3)
FEW, MANY = 40, 400


def children(count: int, restart: Restart = Restart.PERMANENT, *, significant: bool = False) -> list[Child]:
    return [Child(str(n), serve, restart=restart, significant=significant) for n in range(count)]


def a_static_tree(count: int) -> Driver:
    return Driver(children(count), Options(intensity=PATIENT))


def boots(driver: Driver, count: int) -> None:
    a_static_tree(count)


def crashes_of_each(driver: Driver, count: int) -> None:
    for n in range(count):
        driver.now += 1.0
        driver.exit(str(n), CRASHED)


def stops(driver: Driver, count: int) -> None:
    driver.send(Stop(Exit(ExitKind.SHUTDOWN)))


def terminations_and_deletions(driver: Driver, count: int) -> None:
    for n in range(count):
        driver.send(TerminateChild(str(n), ("terminate", n)), DeleteChild(str(n), ("delete", n)))


def a_dynamic_tree(count: int) -> Driver:
    driver = Driver((), Options(strategy=Strategy.DYNAMIC, intensity=PATIENT))
    dynamic_starts(driver, count)
    return driver


def an_empty_dynamic_tree(count: int) -> Driver:
    return Driver((), Options(strategy=Strategy.DYNAMIC))


def dynamic_starts(driver: Driver, count: int) -> None:
    for n, child in enumerate(children(count)):
        driver.send(StartChild(child, ("start", n)))


def dynamic_terminations(driver: Driver, count: int) -> None:
    for n in range(count):
        driver.send(TerminateChild(str(n), ("terminate", n)))


def significant_children(count: int) -> Driver:
    made = children(count, Restart.TRANSIENT, significant=True)
    return Driver(made, Options(auto_shutdown=AutoShutdown.ALL_SIGNIFICANT))


def ends_of_each(driver: Driver, count: int) -> None:
    for n in range(count):
        driver.exit(str(n), NORMAL)


def ends_of_each_from_the_youngest(driver: Driver, count: int) -> None:
    for n in reversed(range(count)):
        driver.exit(str(n), NORMAL)


def the_younger_half(count: int) -> Driver:
    return Driver(children(count), Options(strategy=Strategy.REST_FOR_ONE, intensity=PATIENT))


def crashes_of_the_youngest(driver: Driver, count: int) -> None:
    for _ in range(count):
        driver.now += 1.0
        driver.exit(str(count - 1), CRASHED)


@pytest.mark.parametrize(
    ("prepare", "act"),
    [
        (an_empty_dynamic_tree, boots),
        (a_static_tree, crashes_of_each),
        (a_static_tree, stops),
        (a_static_tree, terminations_and_deletions),
        (an_empty_dynamic_tree, dynamic_starts),
        (a_dynamic_tree, crashes_of_each),
        (a_dynamic_tree, dynamic_terminations),
        (a_dynamic_tree, stops),
        (significant_children, ends_of_each),
        (significant_children, ends_of_each_from_the_youngest),
        (the_younger_half, crashes_of_the_youngest),
    ],
)
def test_a_child_costs_as_much_among_many_as_among_few(
    prepare: Callable[[int], Driver], act: Callable[[Driver, int], None]
) -> None:
    few, many = (lines(act, prepare(count), count) / count for count in (FEW, MANY))
    assert many < 1.2 * few


def lines(act: Callable[[Driver, int], None], driver: Driver, count: int) -> int:
    """How many lines of Python `act` executes."""
    executed = 0

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., object]:
        nonlocal executed
        executed += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act(driver, count)
    finally:
        sys.settrace(before)
    return executed
