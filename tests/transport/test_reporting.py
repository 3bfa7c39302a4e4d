"""Each error of the tree and of the backends passes the handler once, however many events come of it."""

from __future__ import annotations

import anyio
import pytest
from prometheus_client import CollectorRegistry

from actors.errors import ActorGone
from actors.speech.backends.events import BackendDown, BackendUp, ModelMissing
from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import ConnectionFailed, ModelNotFound, StreamLost
from supervisor.reports import (
    BudgetSpent,
    ChildEnded,
    ChildFailed,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildUnstoppable,
    ErrorSurvived,
    Event,
    Exit,
    ExitKind,
    GaveUp,
    LoopBlocked,
    LoopRecovered,
    Occasion,
)
from supervisor.spec import Child, Intensity, Restart
from supervisor.tree import Supervisor
from transport.reporting import Reporting

SESSION = ("voxtree", "sessions", "session:s1", "recogniser")
PART = ("voxtree", "backends", "questions")


class Watch:
    """What the handler took."""

    def __init__(self) -> None:
        self.errors: list[ErrorContext] = []
        self.reporting = Reporting(ErrorHandler(CollectorRegistry(), listener=self.errors.append))

    @property
    def codes(self) -> list[str]:
        return [error.error_code for error in self.errors]


def crash(error: BaseException) -> Exit:
    return Exit(ExitKind.CRASHED, error)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (ChildFailed(path=SESSION, exit=crash(StreamLost())), "RIVA_005"),
        (ChildFailed(path=PART, exit=crash(KeyError("x"))), "UNKNOWN"),
        (ChildFailed(path=PART, exit=Exit(ExitKind.NORMAL)), "UNKNOWN"),
        (ChildStopFailed(path=PART, exit=crash(ValueError())), "UNKNOWN"),
        (ChildStartFailed(path=PART, error=ConnectionFailed(), occasion=Occasion.RESTART), "RIVA_001"),
        (ErrorSurvived(path=PART, error=StreamLost()), "RIVA_005"),
        (GaveUp(path=PART[:2], child=PART, error=None), "SYS_003"),
        (GaveUp(path=SESSION[:3], child=SESSION, error=None), "SYS_001"),
        (BudgetSpent(path=PART, error=None), "SYS_003"),
        (ChildUnstoppable(path=PART), "SYS_004"),
        (LoopRecovered(path=PART, seconds=2.0), "SYS_005"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_what_goes_wrong_in_the_tree_is_an_error_of_the_catalogue(event: Event, code: str) -> None:
    watch = Watch()
    watch.reporting.tree(event)
    assert watch.codes == [code]
    assert watch.errors[0].path == "/".join(event.path)
    assert watch.errors[0].session_id == ("s1" if SESSION[2] in event.path else "")


@pytest.mark.parametrize(
    "event",
    [
        ChildStarted(path=PART),
        ChildEnded(path=PART, exit=crash(StreamLost())),  # ChildFailed follows, if it should not have
        ChildRestarting(path=PART, error=StreamLost(), delay=1.0),
        ChildStartFailed(path=PART, error=StreamLost(), occasion=Occasion.BOOT),
        ChildStopFailed(path=PART, exit=Exit(ExitKind.KILLED)),
        ChildStopFailed(path=SESSION, exit=crash(ActorGone("session:s1"))),
        LoopBlocked(path=PART, seconds=1.0, stack=""),  # its end says how long it took
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_follows_from_an_error_is_none(event: Event) -> None:
    watch = Watch()
    watch.reporting.tree(event)
    assert watch.codes == []


def test_who_asked_an_actor_that_died_has_failed_of_what_that_died_of() -> None:
    watch, defect = Watch(), KeyError("x")
    watch.reporting.tree(ChildFailed(path=(*SESSION[:3], "session"), exit=crash(defect)))
    watch.reporting.tree(ChildStopFailed(path=SESSION, exit=crash(ActorGone("session:s1", defect))))
    assert watch.codes == ["UNKNOWN"]


def test_a_backend_that_a_stream_found_down_is_one_error() -> None:
    watch, error = Watch(), ConnectionFailed("refused", endpoint="riva-a")
    watch.reporting.tree(ChildFailed(path=SESSION, number=3, exit=crash(error)))
    watch.reporting.pool(BackendDown(name="riva-a", error=error))
    watch.reporting.pool(BackendUp(name="riva-a", seconds=1.0))
    assert watch.codes == ["RIVA_001"]
    assert (watch.errors[0].endpoint, watch.errors[0].retry_attempt) == ("riva-a", 2)


def test_what_only_the_pool_has_seen_is_an_error_too() -> None:
    watch, missing = Watch(), ModelNotFound("no model")
    event = ModelMissing(name="riva-a", language="xx", model="", error=missing)
    watch.reporting.pool(event)
    assert (watch.codes, watch.errors[0].endpoint) == (["RIVA_002"], "riva-a")


@pytest.mark.anyio
async def test_in_a_real_tree_each_crash_counts_once() -> None:
    watch, crashes = Watch(), 0

    async def crashing() -> None:
        nonlocal crashes
        crashes += 1
        raise StreamLost(f"number {crashes}")

    part = Supervisor.child(
        "part", [Child("crashes", crashing)], intensity=Intensity(4, 10.0), restart=Restart.TEMPORARY
    )
    async with Supervisor([], on_event=watch.reporting.tree) as tree:
        await tree.start_child(part)
        await anyio.sleep(0.1)
    assert (crashes, watch.codes) == (5, [*5 * ["RIVA_005"], "SYS_003"])
