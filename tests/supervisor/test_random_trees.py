"""Whole trees, made, broken and cancelled at random, in virtual time on both backends."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import Escalated, Ignore, Path, Shutdown, StartFailed, SupervisorError
from supervisor.incarnation import Incarnation
from supervisor.policy import Backoff, Directive, Policy, PolicyTable
from supervisor.reports import ChildEnded, ChildStarted
from supervisor.spec import BRUTAL_KILL, BrutalKill, Child, Intensity, Restart, Strategy
from supervisor.testing import Recorder, virtual_backend
from supervisor.tree import Supervisor


@dataclass(frozen=True)
class Life:
    """What one incarnation does: takes `start` seconds to come up, lives `lives`, ends as `end` says, or is stopped."""

    start: float
    lives: float
    end: str
    stop: float


LIVES = st.builds(
    Life,
    start=st.sampled_from([0.0, 0.0, 0.5]),
    lives=st.sampled_from([0.0, 0.3, 1.0, 50.0]),
    end=st.sampled_from(["return", "crash", "shutdown", "fail to start", "ignore"]),
    stop=st.sampled_from([0.0, 0.2, 2.0]),
)


class Leaf:
    """Leads the given lives one after the other, then stays."""

    def __init__(self, lives: list[Life], alive: Counter[Path]) -> None:
        self._lives = iter(lives)
        self._alive = alive

    async def run(self, *, task_status: Incarnation) -> None:
        self._alive[task_status.path] += 1
        try:
            await self._live(next(self._lives, Life(0.0, 1000.0, "return", 0.1)), task_status)
        finally:
            self._alive[task_status.path] -= 1

    async def _live(self, life: Life, status: Incarnation) -> None:
        await anyio.sleep(life.start)
        if life.end == "fail to start":
            raise ValueError("start")
        if life.end == "ignore":
            raise Ignore
        asked = anyio.Event()
        status.on_stop(asked.set)
        status.started()
        with anyio.move_on_after(life.lives):
            await asked.wait()
        if asked.is_set():
            await anyio.sleep(life.stop)
        elif life.end == "crash":
            raise ValueError("life")
        elif life.end == "shutdown":
            raise Shutdown


@st.composite
def children(draw: st.DrawFn, alive: Counter[Path], depth: int = 2) -> list[Child]:
    return [draw(child(f"{n}", alive, depth)) for n in range(draw(st.integers(1, 3)))]


@st.composite
def child(draw: st.DrawFn, id: str, alive: Counter[Path], depth: int) -> Child:
    restart = draw(st.sampled_from(Restart))
    if depth and draw(st.booleans()):
        return Supervisor.child(
            id,
            draw(children(alive, depth - 1)),
            restart=restart,
            shutdown=draw(st.sampled_from([float("inf"), 1.0])),
            strategy=draw(st.sampled_from([Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])),
            intensity=Intensity(draw(st.integers(0, 3))),
            policies=draw(POLICIES),
        )
    shutdown = draw(SHUTDOWNS)
    return Child(id, Leaf(draw(st.lists(LIVES, max_size=4)), alive).run, restart=restart, shutdown=shutdown)


POLICIES = st.sampled_from(
    [
        None,
        PolicyTable(default=Policy(Directive.BACKOFF, Backoff(0.5))),
        *(PolicyTable(default=Policy(one)) for one in (Directive.STOP, Directive.ESCALATE, Directive.CONTINUE)),
    ]
)
SHUTDOWNS: st.SearchStrategy[float | BrutalKill] = st.sampled_from([0.0, 1.0, 5.0]) | st.just(BRUTAL_KILL)
REQUESTS = st.lists(
    st.tuples(st.sampled_from(["terminate", "restart", "delete"]), st.sampled_from("012"), st.sampled_from([0.0, 0.4]))
)


async def use(tree: Supervisor, requests: list[tuple[str, str, float]]) -> None:
    for what, id, pause in requests:
        await anyio.sleep(pause)
        try:
            match what:
                case "terminate":
                    await tree.terminate_child(id)
                case "restart":
                    await tree.restart_child(id)
                case _:
                    await tree.delete_child(id)
        except SupervisorError:
            pass  # a refusal: which one is the affair of other tests


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_however_it_was_used_and_left_a_tree_ends_from_the_leaves_up_and_leaves_nothing(
    backend: str, data: st.DataObject
) -> None:
    alive, record = Counter[Path](), Recorder()
    made = data.draw(children(alive))
    requests, seconds = data.draw(REQUESTS), data.draw(st.sampled_from([0.0, 0.4, 2.0, 20.0]))
    strategy = data.draw(st.sampled_from([Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL]))
    tree = Supervisor(made, strategy=strategy, intensity=Intensity(2), policies=data.draw(POLICIES), on_event=record)

    async def main() -> None:
        with anyio.move_on_after(seconds):
            async with tree:
                await use(tree, requests)
                await anyio.sleep(10.0)

    name, options = virtual_backend(backend)
    with suppress(Escalated, StartFailed):
        anyio.run(main, backend=name, backend_options=options)
    assert +alive == Counter()
    started, ended = (Counter(event.path for event in record.of(kind)) for kind in (ChildStarted, ChildEnded))
    up: Counter[Path] = Counter()
    for event in record.events:
        if isinstance(event, ChildStarted):
            up[event.path] += 1
        elif isinstance(event, ChildEnded):
            up[event.path] -= 1
            assert [path for path in +up if path[: len(event.path)] == event.path and path != event.path] == []
    assert (+up, started) == (Counter(), ended)
