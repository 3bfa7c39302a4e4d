from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from supervisor.commands import ChildState
from supervisor.incarnation import Incarnation
from supervisor.names import DynamicName, static_path
from supervisor.policy import Backoff, Directive, Policy, PolicyTable
from supervisor.snapshot import Snapshot, render
from supervisor.spec import Child, Intensity, Restart, Strategy
from supervisor.testing import Recorder, settle
from supervisor.tree import Supervisor

pytestmark = pytest.mark.anyio
RUNNING, STOPPED, RESTARTING = ChildState.RUNNING, ChildState.STOPPED, ChildState.RESTARTING


async def forever(*, task_status: Incarnation) -> None:
    task_status.started()
    await anyio.sleep_forever()


async def fails(*, task_status: Incarnation) -> None:
    task_status.started()
    raise ValueError("no\ndevice")


async def job() -> None: ...


def tree(*, on_event: Recorder | None = None) -> Supervisor:
    lazy = PolicyTable(default=Policy(Directive.BACKOFF, Backoff(60.0, 1.0, 60.0)))
    return Supervisor(
        [
            Child("a", forever, budget=Intensity(3, 60.0)),
            Supervisor.child("s", strategy=Strategy.DYNAMIC, intensity=Intensity(5, float("inf"))),
            Child("job", job, restart=Restart.TRANSIENT),
            Child("b", fails),
        ],
        policies=lazy,
        on_event=on_event,
    )


async def test_a_supervisor_of_very_many_can_be_left_folded() -> None:
    async with tree() as root:
        await root.value("s").start_child(Child("x", forever))
        await settle()
        folded = root.snapshot(folded={("root", "s")})
        whole = root.snapshot()
    assert [child.path[-1] for child in folded.children] == ["a", "s", "job", "b"]
    assert folded.children[1].children == ()
    assert folded.children[1] == replace(whole.children[1], children=())
    assert len(whole.children[1].children) == 1


async def test_a_snapshot_shows_every_child_as_it_is_at_that_moment() -> None:
    async with tree() as root:
        await root.value("s").start_child(Child("x", forever))
        await settle()
        snapshot = root.snapshot()
    assert snapshot == Snapshot(
        path=("root",),
        state=RUNNING,
        number=1,
        strategy=Strategy.ONE_FOR_ONE,
        restarts=1,
        intensity=Intensity(1, 5.0),
        children=(
            Snapshot(path=("root", "a"), state=RUNNING, number=1, intensity=Intensity(3, 60.0)),
            Snapshot(
                path=("root", "s"),
                state=RUNNING,
                number=1,
                strategy=Strategy.DYNAMIC,
                intensity=Intensity(5, float("inf")),
                children=(Snapshot(path=("root", "s", "x"), state=RUNNING, number=1),),
            ),
            Snapshot(path=("root", "job"), state=STOPPED, number=1, last_exit="normal"),
            Snapshot(path=("root", "b"), state=RESTARTING, number=1, last_exit="crashed, ValueError('no\\ndevice')"),
        ),
    )
    assert root.snapshot().state is STOPPED


async def test_a_supervisor_that_is_being_restarted_shows_no_children() -> None:
    lazy = PolicyTable(default=Policy(Directive.BACKOFF, Backoff(60.0, 1.0, 60.0)))
    escalate = PolicyTable(default=Policy(Directive.ESCALATE))
    nested = Supervisor.child("s", [Child("b", fails)], policies=escalate)
    async with Supervisor([nested], policies=lazy) as root:
        await settle()
        [child] = root.snapshot().children
    assert (child.state, child.strategy, child.children) == (RESTARTING, None, ())
    assert child.last_exit == "crashed, ValueError('no\\ndevice')"


async def test_a_rendered_tree_has_a_line_for_each_child() -> None:
    async with tree() as root:
        for id in "xyz":
            await root.value("s").start_child(Child(f"{id}\n", forever))
        await settle()
        text = root.render(max_children=4)
        short = render(root.snapshot().children[1], 2)
    assert text.splitlines() == [
        "root  running  one_for_one  1/1 restarts in 5 s",
        "├─ a  running  0/3 restarts in 60 s",
        "├─ s  running  dynamic  0/5 restarts ever",
        "│  ├─ x\\n  running",
        "│  ├─ y\\n  running",
        "│  └─ z\\n  running",
        "├─ job  stopped  last: normal",
        "└─ b  restarting  last: crashed, ValueError('no\\ndevice')",
    ]
    assert short.splitlines()[1:] == ["├─ x\\n  running", "├─ y\\n  running", "└─ … 1 more"]


async def test_a_restart_that_failed_shows_why_it_did() -> None:
    lazy = PolicyTable(default=Policy(Directive.BACKOFF, Backoff(60.0, 1.0, 60.0)))

    async def once(*, task_status: Incarnation) -> None:
        if task_status.number > 1:
            raise ValueError("busy")
        task_status.started()

    async with Supervisor([Child("a", once)], policies=lazy, intensity=Intensity(5)) as root:
        await settle()  # it returned, and a normal end makes no pause
        [child] = root.snapshot().children
    assert (child.state, child.number, child.last_exit) == (RESTARTING, 2, "not started, ValueError('busy')")


async def test_an_error_whose_repr_fails_is_shown_all_the_same() -> None:
    class Nasty(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    async def raises() -> None:
        raise Nasty

    async with Supervisor([Child("a", raises, restart=Restart.TRANSIENT)], intensity=Intensity(5)) as root:
        root.suspend()
        await settle()
        [child] = root.snapshot().children
    assert (child.last_exit or "").startswith("crashed, <Nasty instance at")


async def test_what_came_by_start_child_is_a_star_in_the_static_path() -> None:
    record = Recorder()
    async with tree(on_event=record) as root:
        await root.value("s").start_child(Supervisor.child("session-17", [Child("stream", forever)]))
        await root.start_child(Child("extra", forever))
    paths = {event.path: static_path(event.path) for event in record.events}
    assert paths[("root", "s", "session-17", "stream")] == ("root", "s", "*", "stream")
    assert paths[("root", "extra")] == ("root", "*")
    assert paths[("root", "a")] == ("root", "a")
    assert (DynamicName("x"), repr(DynamicName("x"))) == ("x", "'x'")
