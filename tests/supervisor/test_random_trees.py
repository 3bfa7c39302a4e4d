"""Whole trees, made, used, broken and cancelled at random, in virtual time on both backends.

Several users make requests of supervisors all over the tree while its children live, fail and hang as drawn. Whatever
comes of it: every request is answered or refused, what can be looked up agrees with what was told, each life that
began ends, leaves before what is above them, and no task is left.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.breaker import Breaker
from supervisor.commands import ChildState
from supervisor.errors import (
    CancelledFromOutside,
    Escalated,
    Ignore,
    NotRunning,
    Path,
    Shutdown,
    StartFailed,
    SupervisorError,
)
from supervisor.incarnation import Incarnation
from supervisor.policy import Backoff, Directive, Policy, PolicyTable
from supervisor.reports import ChildEnded, ChildStarted, ChildUnstoppable, Event
from supervisor.spec import BRUTAL_KILL, AutoShutdown, BrutalKill, Child, Intensity, Restart, Strategy
from supervisor.testing import settle, virtual_backend
from supervisor.tree import Supervisor

# ---- what children do


@dataclass(frozen=True)
class Life:
    """What one incarnation does: takes `start` seconds to come up, lives `lives`, ends as `end` says, or is stopped.

    With `deaf` it does not notice that its start is called off.
    """

    start: float
    deaf: bool
    lives: float
    end: str
    stop: float


LIVES = st.builds(
    Life,
    start=st.sampled_from([0.0, 0.0, 0.5]),
    deaf=st.booleans(),
    lives=st.sampled_from([0.0, 0.3, 1.0, 50.0]),
    end=st.sampled_from(["return", "crash", "wait", "shutdown", "fail to start", "ignore"]),
    stop=st.sampled_from([0.0, 0.2, 2.0]),
)


class Throttled(Exception):
    retry_after = 0.7


class Leaf:
    """Leads the given lives one after the other, then stays."""

    def __init__(self, lives: list[Life], alive: Counter[Path], wrong: list[str]) -> None:
        self._lives = iter(lives)
        self._alive = alive
        self._wrong = wrong

    async def run(self, *, task_status: Incarnation) -> None:
        self._alive[task_status.path] += 1
        if self._alive[task_status.path] > 1:
            self._wrong.append(f"{task_status.path} lives twice")
        try:
            await self._live(next(self._lives, Life(0.0, False, 1000.0, "return", 0.1)), task_status)
        finally:
            self._alive[task_status.path] -= 1

    async def _live(self, life: Life, status: Incarnation) -> None:
        with anyio.CancelScope(shield=life.deaf):
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
        elif life.end == "wait":
            raise Throttled
        elif life.end == "shutdown":
            raise Shutdown


# ---- which trees there are

STATIC = st.sampled_from([Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
SHUTDOWNS: st.SearchStrategy[float | BrutalKill] = st.sampled_from([0.0, 1.0, 5.0]) | st.just(BRUTAL_KILL)
BUDGETS = st.none() | st.builds(Intensity, st.integers(0, 2))


class Forest:
    """Draws trees whose leaves share a count of who is alive, and whose policies share a breaker."""

    def __init__(self) -> None:
        self.alive = Counter[Path]()
        self.wrong: list[str] = []  # what is found where an assertion would be taken for the failure of a child
        self.limits: dict[str, int] = {}  # max_children, by the id of a dynamic supervisor
        breaker = Breaker(
            "shared", threshold=Intensity(1), pause=Backoff(1.0), proven_after=0.5, probe_time=3.0, random=lambda: 0.5
        )
        self.policies = st.sampled_from(
            [
                None,
                PolicyTable(default=Policy(Directive.BACKOFF, Backoff(0.5))),
                PolicyTable(default=Policy(Directive.BACKOFF, Backoff(0.5), breaker)),
                PolicyTable(default=Policy(Directive.RESTART, breaker=breaker)),
                PolicyTable(default=Policy(Directive.RATE_LIMIT)),
                *(PolicyTable(default=Policy(one)) for one in (Directive.STOP, Directive.ESCALATE, Directive.CONTINUE)),
            ]
        )

    def children(self, draw: st.DrawFn, auto_shutdown: AutoShutdown, depth: int = 2) -> list[Child]:
        return [self.child(draw, f"{n}", auto_shutdown, depth) for n in range(draw(st.integers(1, 3)))]

    def child(self, draw: st.DrawFn, id: str, auto_shutdown: AutoShutdown, depth: int) -> Child:
        restart = draw(st.sampled_from(Restart))
        may_be_significant = auto_shutdown is not AutoShutdown.NEVER and restart is not Restart.PERMANENT
        significant = may_be_significant and draw(st.booleans())
        budget = draw(BUDGETS) if restart is not Restart.TEMPORARY else None
        if depth and draw(st.booleans()):
            return self._supervisor(draw, id, restart, significant, budget, depth)
        leaf = Leaf(draw(st.lists(LIVES, max_size=4)), self.alive, self.wrong)
        shutdown = draw(SHUTDOWNS)
        return Child(id, leaf.run, restart=restart, shutdown=shutdown, significant=significant, budget=budget)

    def _supervisor(
        self, draw: st.DrawFn, id: str, restart: Restart, significant: bool, budget: Intensity | None, depth: int
    ) -> Child:
        auto_shutdown = draw(st.sampled_from(AutoShutdown))
        dynamic = draw(st.booleans())
        children = [] if dynamic else self.children(draw, auto_shutdown, depth - 1)
        limit = draw(st.sampled_from([None, 1, 2])) if dynamic else None
        name = f"{id}.{len(self.limits)}"
        self.limits[name] = limit if limit is not None else 1000
        return Supervisor.child(
            name,
            children,
            restart=restart,
            shutdown=draw(st.sampled_from([float("inf"), 1.0])),
            significant=significant,
            budget=budget,
            strategy=Strategy.DYNAMIC if dynamic else draw(STATIC),
            intensity=Intensity(draw(st.integers(0, 3))),
            auto_shutdown=auto_shutdown,
            max_children=limit,
            one_at_a_time=dynamic and draw(st.booleans()),
            policies=draw(self.policies),
        )


# ---- how they are used


@dataclass(frozen=True)
class Step:
    """After `pause` seconds, ask the supervisor at the end of `way` something about its child number `which`.

    -1 is the youngest one.
    """

    pause: float
    what: str
    way: tuple[int, ...]
    which: int
    child: Child


@st.composite
def steps(draw: st.DrawFn, forest: Forest) -> Step:
    return Step(
        pause=draw(st.sampled_from([0.0, 0.1, 0.4])),
        what=draw(st.sampled_from(["start", "start", "terminate", "restart", "delete", "inspect", "suspend", "end"])),
        way=tuple(draw(st.lists(st.integers(0, 2), max_size=2))),
        which=draw(st.sampled_from([-1, -1, 0, 1, 2])),
        child=forest.child(draw, f"new{draw(st.integers(0, 2))}", draw(st.sampled_from(AutoShutdown)), 1),
    )


class Use:
    """A tree in use, and what becomes of the requests."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.forest = Forest()
        auto_shutdown = draw(st.sampled_from(AutoShutdown))
        self.tree = Supervisor(
            self.forest.children(draw, auto_shutdown),
            strategy=draw(STATIC),
            intensity=Intensity(2),
            auto_shutdown=auto_shutdown,
            policies=draw(self.forest.policies),
            on_event=self._listen,
        )
        self.seconds = draw(st.sampled_from([0.0, 0.4, 2.0, 20.0]))
        scripts = draw(st.lists(st.lists(steps(self.forest), min_size=1, max_size=8), max_size=4))
        self.scripts = scripts if self.seconds else []  # a tree that is not even entered takes no requests
        self.pending = self.suspended = 0
        self.up = Counter[Path]()

    async def run(self, beside: Callable[[], Coroutine[object, object, None]] | None = None) -> None:
        with anyio.fail_after(1000):  # whoever waits for an answer that does not come
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._enter, name="enter")
                await settle()
                if beside is not None:
                    tasks.start_soon(beside, name="beside")
                for script in self.scripts:
                    tasks.start_soon(self._request, script, name="user")

    async def _enter(self) -> None:
        with suppress(Escalated, StartFailed, CancelledFromOutside), anyio.move_on_after(self.seconds):
            async with self.tree:
                await anyio.sleep(10.0)
        await settle()
        assert self.pending == 0, "a tree that has ended leaves no request without an answer"

    async def _request(self, script: list[Step]) -> None:
        for step in script:
            await anyio.sleep(step.pause)
            self.look()
            supervisor = self._at(step.way)
            if step.what == "suspend":
                self.suspended += 1
                supervisor.suspend()
                await anyio.sleep(0.2)
                supervisor.resume()
                self.suspended -= 1
                continue
            self.pending += 1
            with suppress(SupervisorError):  # a refusal: which one is the affair of other tests
                await ask(supervisor, step)
            self.pending -= 1
            self.look()
            await settle()
            self.look(quiet=not self.suspended)

    def _listen(self, event: Event) -> None:
        """Keep who is up. When something ends, nothing below it is up any more."""
        match event:
            case ChildStarted():
                self.up[event.path] += 1
                if self.up[event.path] > 1:
                    self.forest.wrong.append(f"{event.path} is up twice")
            case ChildEnded():
                self.up[event.path] -= 1
                below = [path for path in +self.up if path[: len(event.path)] == event.path]
                if below:
                    self.forest.wrong.append(f"{event.path} has ended before {below}")
            case ChildUnstoppable():
                self.forest.wrong.append(f"{event.path} was given up, and all end in time")
            case _:
                pass

    def look(self, quiet: bool = False) -> None:
        """What every supervisor says of its children agrees with itself, and with the events so far.

        Args:
            quiet: all that can be done without waiting is done: so where nothing is waited for, nothing is under way.
        """
        pending: list[Path] = [(self.tree.name,)] if self.up[self.tree.name,] else []
        for path in pending:
            supervisor = self._find(path)
            children = supervisor.which_children()
            ids = [child.id for child in children]
            listed = {(*path, id) for id in ids}
            assert {one for one in +self.up if one[:-1] == path} <= listed
            assert len(listed) == len(ids) <= self.forest.limits.get(path[-1], 1000)
            lively = [child for child in children if child.state in (ChildState.RUNNING, ChildState.STOPPING)]
            waits = any(child.state in (ChildState.STARTING, ChildState.STOPPING) for child in children)
            count = supervisor.count_children()
            assert (count.specs, count.active) == (len(children), len(lively))
            assert (count.supervisors + count.workers) == len(children)
            for child in children:
                if child in lively:
                    supervisor.value(child.id)
                    if child.state is ChildState.STOPPING or (quiet and not waits):
                        assert self.up[(*path, child.id)] == 1, "what has ended is not running"
                else:
                    assert self.up[(*path, child.id)] == 0, "what is not running is not up"
                    with pytest.raises(NotRunning):
                        supervisor.value(child.id)
                if child.supervises and self.up[(*path, child.id)]:
                    pending.append((*path, child.id))

    def check(self) -> None:
        """After the end."""
        assert self.forest.wrong == []
        assert (+self.forest.alive, +self.up) == (Counter(), Counter())
        if self.scripts:
            assert {child.state for child in self.tree.which_children()} <= {ChildState.STOPPED}

    def _find(self, path: Path) -> Supervisor:
        supervisor = self.tree
        for id in path[1:]:
            supervisor = supervisor.value(id)
        return supervisor

    def _at(self, way: tuple[int, ...]) -> Supervisor:
        """The supervisor that is found by going down, as far as that is possible."""
        supervisor = self.tree
        for turn in way:
            below = [c.id for c in supervisor.which_children() if c.supervises and c.state is ChildState.RUNNING]
            if not below:
                break
            supervisor = supervisor.value(below[turn % len(below)])
        return supervisor


async def ask(supervisor: Supervisor, step: Step) -> None:
    ids = [child.id for child in supervisor.which_children()]
    id = ids[step.which] if -len(ids) <= step.which < len(ids) else "nobody"
    match step.what:
        case "start":
            await supervisor.start_child(step.child)
        case "terminate":
            await supervisor.terminate_child(id)
        case "restart":
            await supervisor.restart_child(id)
        case "delete":
            await supervisor.delete_child(id)
        case "inspect":
            await supervisor.inspect()
        case _:
            supervisor.stop_soon()


@st.composite
def uses(draw: st.DrawFn) -> Use:
    return Use(draw)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=80, deadline=None)
@given(use=uses())
def test_however_it_was_used_and_left_a_tree_ends_from_the_leaves_up_and_leaves_nothing(backend: str, use: Use) -> None:
    name, options = virtual_backend(backend)
    anyio.run(use.run, backend=name, backend_options=options)
    use.check()


CUTS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.4, 1.0]), st.integers(0, 20)), min_size=1, max_size=4)


@pytest.mark.filterwarnings("ignore:coroutine 'Incarnation.live' was never awaited")
def test_whichever_tasks_are_cancelled_natively_and_whenever_the_same_holds() -> None:
    @settings(max_examples=80, deadline=None)
    @given(use=uses(), cuts=CUTS)
    def holds(use: Use, cuts: list[tuple[float, int]]) -> None:
        name, options = virtual_backend("asyncio")
        anyio.run(cancelled, use, cuts, backend=name, backend_options=options)
        use.check()

    holds()
    gc.collect()  # of tasks cancelled before their first step, while the warning is expected


async def cancelled(use: Use, cuts: list[tuple[float, int]]) -> None:
    """Use the tree; after each pause, cancel one of its tasks, or the one that entered it."""

    async def cancel() -> None:
        for pause, which in cuts:
            await anyio.sleep(pause)
            tasks = [
                task for task in asyncio.all_tasks() if task.get_name().startswith(("root", "supervisor", "enter"))
            ]
            if tasks:
                sorted(tasks, key=asyncio.Task.get_name)[which % len(tasks)].cancel()

    await use.run(cancel)
    assert asyncio.all_tasks() == {asyncio.current_task()}
