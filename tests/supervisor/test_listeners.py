"""The opt-in listeners: log lines and metrics."""

from __future__ import annotations

import logging
import subprocess
import sys
import typing

import pytest
from prometheus_client import CollectorRegistry

from supervisor.logs import LEVELS, LogListener, describe
from supervisor.names import DynamicName, event_name
from supervisor.prometheus import PrometheusListener
from supervisor.reports import (
    BreakerClosed,
    BreakerOpened,
    BreakerProbed,
    BudgetSpent,
    ChildEnded,
    ChildFailed,
    ChildIgnored,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildStopping,
    ChildUnstoppable,
    ErrorEscalated,
    ErrorSurvived,
    Event,
    Exit,
    ExitKind,
    GaveUp,
    LoopBlocked,
    LoopRecovered,
    Occasion,
    SignificantEnded,
)
from supervisor.spec import Child, Intensity, Restart, Strategy
from supervisor.testing import settle
from supervisor.tree import Supervisor

PATH, CHILD = ("root", "s"), ("root", "s", "a")
ERROR = ValueError("no device")
CRASHED = Exit(ExitKind.CRASHED, ERROR)

LINES: list[tuple[Event, str]] = [
    (ChildStarted(path=PATH), "started"),
    (ChildIgnored(path=PATH), "declined to start"),
    (ChildStartFailed(path=PATH, error=ERROR, occasion=Occasion.CALL), "did not start: ValueError('no device')"),
    (ChildStopping(path=PATH), "is asked to stop"),
    (ChildEnded(path=PATH, exit=Exit(ExitKind.NORMAL)), "ended: normal"),
    (ChildFailed(path=PATH, exit=CRASHED), "failed: crashed, ValueError('no device')"),
    (ChildStopFailed(path=PATH, exit=Exit(ExitKind.KILLED)), "ended badly when told to stop: killed"),
    (ChildUnstoppable(path=PATH), "does not stop and was given up; its task leaks"),
    (ChildRestarting(path=PATH, error=ERROR, delay=0.0), "is restarted"),
    (ChildRestarting(path=PATH, error=ERROR, delay=0.12345), "is restarted in 0.123 s"),
    (ErrorSurvived(path=PATH, error=ERROR), "goes on after an error: ValueError('no device')"),
    (BudgetSpent(path=PATH, error=ERROR), "has used up its restarts and stays down"),
    (GaveUp(path=PATH, child=CHILD, error=ERROR), "gave up because of root/s/a"),
    (ErrorEscalated(path=PATH, child=CHILD, error=ERROR), "ends with the error of root/s/a"),
    (SignificantEnded(path=PATH, child=CHILD), "shuts down after root/s/a"),
    (BreakerOpened(path=PATH, breaker="riva", error=ERROR, seconds=1.5), "opened breaker riva for 1.5 s"),
    (BreakerProbed(path=PATH, breaker="riva"), "tries for breaker riva"),
    (BreakerClosed(path=PATH, breaker="riva"), "closed breaker riva"),
    (LoopBlocked(path=PATH, seconds=2.0, stack="File x"), "event loop blocked for 2 s, in:\nFile x"),
    (LoopRecovered(path=PATH, seconds=2.5), "event loop goes on after 2.5 s"),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=[type(event).__name__ for event, _ in LINES])
def test_an_event_is_told_in_a_few_words(event: Event, line: str) -> None:
    assert describe(event) == line


def test_no_event_is_forgotten() -> None:
    kinds = set(typing.get_args(Event))
    assert set(LEVELS) == kinds
    assert {type(event) for event, _ in LINES} == kinds


def test_a_record_has_the_level_of_its_event_the_path_and_the_first_error(caplog: pytest.LogCaptureFixture) -> None:
    listener = LogListener(levels={ChildStarted: logging.INFO})
    with caplog.at_level(logging.INFO):
        for event, _ in LINES[:10]:
            listener(event)
    seen = [(r.levelname, r.getMessage(), r.exc_info[1] if r.exc_info else None) for r in caplog.records]
    assert seen == [
        ("INFO", "root/s started", None),
        ("ERROR", "root/s did not start: ValueError('no device')", ERROR),
        ("ERROR", "root/s failed: crashed, ValueError('no device')", ERROR),
        ("WARNING", "root/s ended badly when told to stop: killed", None),
        ("CRITICAL", "root/s does not stop and was given up; its task leaks", None),
        ("WARNING", "root/s is restarted", None),
        ("WARNING", "root/s is restarted in 0.123 s", None),
    ]
    assert {(vars(r)["path"], vars(r)["incarnation"]) for r in caplog.records} == {("root/s", 1)}


def test_an_event_is_named_as_it_is_written_in_python() -> None:
    assert event_name(ChildStartFailed) == "child_start_failed"


# ---- metrics


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """All samples but the times of creation, as name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_events_are_counted_by_static_path() -> None:
    registry = CollectorRegistry()
    listener = PrometheusListener(registry)
    for event, _ in LINES:
        listener(event)
    listener(ChildStarted(path=("root", DynamicName("x"))))
    listener(ChildStarted(path=("root", DynamicName("y"))))
    assert samples(registry) == {
        ("supervisor_children", "root/s"): 0.0,
        ("supervisor_children", "root/*"): 2.0,
        ("supervisor_starts_total", "root/s"): 1.0,
        ("supervisor_starts_total", "root/*"): 2.0,
        ("supervisor_failed_starts_total", "root/s", "ValueError"): 1.0,
        ("supervisor_exits_total", "root/s", "normal"): 1.0,
        ("supervisor_restarts_total", "root/s", "ValueError"): 2.0,
        ("supervisor_survived_errors_total", "root/s", "ValueError"): 1.0,
        ("supervisor_gave_up_total", "root/s", "intensity"): 1.0,
        ("supervisor_gave_up_total", "root/s", "escalated"): 1.0,
        ("supervisor_gave_up_total", "root/s", "budget"): 1.0,
        ("supervisor_unstoppable_total", "root/s"): 1.0,
        ("supervisor_breaker_opened_total", "riva"): 1.0,
        ("supervisor_breaker_state", "riva"): 0.0,
        ("supervisor_loop_blocked_seconds_total",): 2.5,
    }


@pytest.mark.anyio
async def test_ten_thousand_children_that_came_and_went_left_a_handful_of_series() -> None:
    registry = CollectorRegistry()

    async def job() -> None: ...

    listener = PrometheusListener(registry)
    async with Supervisor(strategy=Strategy.DYNAMIC, intensity=Intensity(0), on_event=listener) as tree:
        for n in range(10_000):
            await tree.start_child(Child(f"job-{n}", job, restart=Restart.TEMPORARY))
        await settle()
    assert samples(registry) == {
        ("supervisor_children", "root"): 0.0,
        ("supervisor_children", "root/*"): 0.0,
        ("supervisor_starts_total", "root"): 1.0,
        ("supervisor_starts_total", "root/*"): 10_000.0,
        ("supervisor_exits_total", "root", "shutdown"): 1.0,
        ("supervisor_exits_total", "root/*", "normal"): 10_000.0,
        ("supervisor_loop_blocked_seconds_total",): 0.0,
    }


def test_the_listeners_are_opt_in() -> None:
    code = "import sys, supervisor; print(sorted({'prometheus_client', 'supervisor.logs'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
