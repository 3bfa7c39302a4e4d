"""Replays recorded OTP supervisor scenarios on voxtree's supervisor, and says where the two differ.

    python -m tests.otp_replay FILE.jsonl...

A line for each scenario (`agree NAME`, or `differ NAME` and the first step that differs), on asyncio and
on trio in virtual time. `N agreed, M differed` comes last; the exit status is 0 if none differed.

Two things have no counterpart here, and are answered by the replayer: a dynamic supervisor has no
template, so a call that names the template's id is refused without asking; and its count of specs is
always the template's 1.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from difflib import ndiff
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
from anyio.abc import TaskStatus

from supervisor.commands import (
    ChildCount,
    ChildInfo,
    ChildState,
    DeleteChild,
    Inspect,
    RestartChild,
    StartChild,
    TerminateChild,
)
from supervisor.errors import (
    AlreadyPresent,
    AlreadyStarted,
    Escalated,
    Ignore,
    InvalidSpec,
    NotDynamic,
    NotFound,
    Shutdown,
    StartFailed,
    StillRestarting,
    StillRunning,
    SupervisorGone,
)
from supervisor.incarnation import Incarnation
from supervisor.links import Reply
from supervisor.reports import (
    ChildEnded,
    ChildFailed,
    ChildIgnored,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStopFailed,
    ChildStopping,
    Event,
    Exit,
    ExitKind,
    GaveUp,
    Occasion,
    SignificantEnded,
)
from supervisor.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    BrutalKill,
    Child,
    Intensity,
    Restart,
    Strategy,
)
from supervisor.testing import settle, virtual_backend
from supervisor.tree import Supervisor

Json = dict[str, Any]
FLAG_WORDS = {"invalid_strategy", "invalid_intensity", "invalid_period", "invalid_auto_shutdown"}
TICK = 0.005  # seconds; every duration in the scenarios is a multiple of it


class InitFailed(Exception):
    """A worker's start, as the scenario has it."""


class Crash(Exception):
    """A worker's end, by itself."""


class Killed(Exception):
    """A worker's end, killed from outside. Nothing in Python is; it is an abnormal exit by another name."""


class Worker:
    """One incarnation of a scenario's worker."""

    def __init__(self, spec: Json) -> None:
        self._spec = spec
        self._told = anyio.Event()
        self._reason: str | None = None  # None: asked to stop

    def end(self, reason: str) -> None:
        self._reason = reason
        self._told.set()

    async def run(self, incarnation: Incarnation) -> None:
        incarnation.on_stop(self._told.set)
        incarnation.started(self)
        await self._told.wait()
        if self._reason is not None:
            raise_reason(self._reason)
            return
        how = self._spec.get("terminate", "prompt")
        if how == "hang":
            await anyio.sleep_forever()
        elif how == "crash":
            raise Crash
        elif how != "prompt":
            await anyio.sleep(how / 1000)


def raise_reason(reason: str) -> None:
    errors: dict[str, Exception | None] = {
        "normal": None,
        "shutdown": Shutdown(),
        "shutdown:done": Shutdown("done"),
        "crash": Crash(),
        "kill": Killed(),
    }
    error = errors[reason]
    if error is not None:
        raise error


SUPERVISOR_EXITS = {
    "normal": Exit(ExitKind.NORMAL),
    "shutdown": Exit(ExitKind.SHUTDOWN),
    "shutdown:done": Exit(ExitKind.SHUTDOWN, Shutdown("done")),
    "crash": Exit(ExitKind.CRASHED, Crash()),
}


class Recorder:
    """Supervision events as the scenarios write them."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.starts: Counter[str] = Counter()
        self.exit: str | None = None
        self.dynamic: set[str] = set()  # paths of dynamic supervisors
        self._held: dict[str, list[Json]] = {}  # what the instances of an ending dynamic supervisor do

    def __call__(self, event: Event) -> None:
        path = "/".join(event.path)
        match event:
            case ChildStarted():
                self._start(path, outcome="ok")
            case ChildIgnored():
                self._start(path, outcome="ignore")
            case ChildStartFailed():
                reason = start_reason(event.error)
                self._start(path, outcome="error", reason=reason)
                if event.occasion is not Occasion.CALL and "/" in path:
                    self._report("start_error", path, reason)
            case ChildStopping():
                self._add(ev="stopping", child=path, n=self.starts[path])
                self.ending(path)
            case ChildEnded():
                self._down(path, exit_reason(event.exit))
            case ChildFailed():
                self._report("child_terminated", path, exit_reason(event.exit))
            case ChildStopFailed():
                self._report("shutdown_error", path, exit_reason(event.exit))
            case ChildRestarting():
                self._add(ev="restart", sup=parent(path), child=path)
            case GaveUp():
                self._add(ev="give_up", sup=path, child="/".join(event.child))
                self.ending(path)
            case SignificantEnded():
                self._add(ev="auto_shutdown", sup=path, child="/".join(event.child))
                self.ending(path)
            case _:
                raise AssertionError(f"not an event of plain OTP: {event}")

    def ending(self, path: str) -> None:
        """A supervisor begins to end: if it is dynamic, its instances' events are put in order when it
        has."""
        if path in self.dynamic:
            self._held.setdefault(path, [])

    def result(self, op: str, value: object) -> None:
        self.events.append({"ev": "result", "op": op, "value": value})

    def take(self) -> list[Json]:
        """The events since the last call; the results of calls that came too late are the last of a step."""
        events, self.events = self.events, []
        return sorted(events, key=lambda e: e.get("value") == "error:supervisor_down")

    def _start(self, path: str, **outcome: str) -> None:
        self.starts[path] += 1
        self._add(ev="start", child=path, n=self.starts[path], **outcome)

    def _down(self, path: str, reason: str) -> None:
        if path in self._held:
            self.events += in_order(path, self._held.pop(path))
        self._add(ev="down", child=path, n=self.starts[path], reason=reason)
        if "/" not in path:
            self.exit = reason

    def _report(self, what: str, path: str, reason: str) -> None:
        self._add(ev="report", sup=parent(path), what=what, child=path, reason=reason)

    def _add(self, **event: Any) -> None:
        held = self._held.get(parent(event["child"]))
        instance_event = event["ev"] in ("stopping", "down") or event.get("what") == "shutdown_error"
        (self.events if held is None or not instance_event else held).append(event)


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def in_order(path: str, events: list[Json]) -> Iterator[Json]:
    """The instances' events as the scenarios order them: by number; reports once for each reason, with a
    count."""

    def number(event: Json) -> int:
        return int(event["child"].rpartition("#")[2])

    for kind in ("stopping", "down"):
        yield from sorted((e for e in events if e["ev"] == kind), key=number)
    reasons = Counter(e["reason"] for e in events if e["ev"] == "report")
    for reason, count in sorted(reasons.items()):
        yield {"ev": "report", "sup": path, "what": "shutdown_error", "reason": reason, "count": count}


def exit_reason(exit: Exit) -> str:
    match exit:
        case Exit(ExitKind.SHUTDOWN, Shutdown(args=("done",))):
            return "shutdown:done"
        case Exit(ExitKind.CRASHED, Killed()):
            return "killed"
        case Exit(ExitKind.CRASHED):
            return "crash"
        case _:
            return exit.kind.value


def start_reason(error: BaseException) -> str:
    match error:
        case InvalidSpec():
            return f"{'bad_flags' if error.word in FLAG_WORDS else 'bad_spec'}:{error.word}"
        case StartFailed():
            return f"failed_to_start_child:{error.path[-1]}"
        case InitFailed():
            return "init_failed"
    raise error


ERROR_WORDS: dict[type[Exception], str] = {
    NotFound: "not_found",
    StillRunning: "running",
    StillRestarting: "restarting",
    AlreadyStarted: "already_started",
    AlreadyPresent: "already_present",
    NotDynamic: "simple_one_for_one",
    SupervisorGone: "supervisor_down",
}


def error_value(error: Exception) -> str:
    if isinstance(error, InvalidSpec):
        return f"error:{error.word}"
    if isinstance(error, StartFailed):
        return f"error:{start_reason(error.error)}"
    return f"error:{ERROR_WORDS[type(error)]}"


def value_of(op: str, value: object) -> str:
    return "ok:ignored" if op in ("start_child", "restart_child") and value is None else "ok"


class RecordedReply(Reply):
    """A reply that is recorded the moment it is given, so that its place among the events is exact."""

    def __init__(self, record: Callable[[object, Exception | None], None]) -> None:
        super().__init__()
        self._record = record

    def set(self, value: object, error: Exception | None) -> None:
        super().set(value, error)
        self._record(value, error)


class World:
    """One scenario being replayed."""

    def __init__(self, scenario: Json) -> None:
        self.record = Recorder()
        self._workers: dict[str, Worker] = {}
        self._instances: Counter[str] = Counter()
        self._templates: dict[str, Json] = {}
        spec = scenario["spec"]
        self.tree = Supervisor(self._children(spec, "root"), on_event=self.record, **flags(spec))

    # ---- building

    def _children(self, spec: Json, path: str) -> list[Child]:
        self.record.dynamic.discard(path)
        if spec["strategy"] == "simple_one_for_one":
            self.record.dynamic.add(path)
            if len(spec["children"]) != 1:
                raise InvalidSpec("bad_start_spec", "one template is wanted")
            self._templates[path] = spec["children"][0]
            return []
        return [self.child(child, f"{path}/{child['id']}") for child in spec["children"]]

    def child(self, spec: Json, path: str) -> Child:
        common = {
            "restart": choose(Restart, spec["restart"], "invalid_restart_type"),
            "shutdown": shutdown(spec["shutdown"]),
            "significant": spec["significant"],
        }
        name = path.rpartition("/")[2]
        if spec["type"] == "worker":
            return Child(name, partial(self._work, spec), **common)
        return Supervisor.child(
            name, partial(self._nested_children, spec, path), **common, **flags(spec["sup"], check=False)
        )

    def _nested_children(self, spec: Json, path: str) -> list[Child]:
        self._init(spec, path)
        flags(spec["sup"])
        return self._children(spec["sup"], path)

    def _init(self, spec: Json, path: str) -> None:
        done = self.record.starts[path]
        init = spec.get("init", [])
        match init[done] if done < len(init) else "ok":
            case "error":
                raise InitFailed
            case "ignore":
                raise Ignore

    async def _work(self, spec: Json, *, task_status: Incarnation) -> None:
        path = "/".join(task_status.path)
        self._init(spec, path)
        worker = self._workers[path] = Worker(spec)
        await worker.run(task_status)

    # ---- steps

    async def step(self, step: Json) -> None:
        match step["op"]:
            case "batch":
                await self._batch(step)
            case "advance":
                await anyio.sleep(step["ms"] / 1000)
            case "stop_supervisor":
                self.record.ending("root")
                self.tree.stop_soon()
            case _:
                self._do(step)
        await self.quiet()

    async def _batch(self, step: Json) -> None:
        supervisor = self.find(step["sup"])
        supervisor.suspend()
        for item in step["items"]:
            self._do(item)
            await self.quiet()
        supervisor.resume()

    def _do(self, step: Json) -> None:
        if step["op"] == "exit":
            self._exit(step["child"], step["reason"])
            return
        supervisor = self.find(step["sup"])
        op = step["op"]
        if step["sup"] in self.record.dynamic and op == "terminate_child" and not step["id"].startswith("#"):
            self.record.result(op, "error:simple_one_for_one")
            return
        if op in ("which_children", "count_children"):
            record = partial(self._record_children, op, step["sup"])
            supervisor.deliver(Inspect(RecordedReply(record)))
            return
        reply = RecordedReply(partial(self._record_answer, op))
        match op:
            case "start_child":
                try:
                    child = self._new_child(step)
                except InvalidSpec as error:
                    # Our specs are checked when they are made. The refusal is recorded in the call's turn.
                    refusal = error
                    turn = RecordedReply(lambda value, gone: self._record_answer(op, value, gone or refusal))
                    supervisor.deliver(Inspect(turn))
                else:
                    supervisor.deliver(StartChild(child, reply, copy_context()))
            case "terminate_child":
                supervisor.deliver(TerminateChild(step["id"], reply))
            case "restart_child":
                supervisor.deliver(RestartChild(step["id"], reply))
            case "delete_child":
                supervisor.deliver(DeleteChild(step["id"], reply))

    def _new_child(self, step: Json) -> Child:
        path = step["sup"]
        if "spec" in step:
            return self.child(step["spec"], f"{path}/{step['spec']['id']}")
        self._instances[path] += 1
        spec = self._templates[path] | step.get("args", {})
        return self.child(spec, f"{path}/#{self._instances[path]}")

    def _exit(self, path: str, reason: str) -> None:
        if "/" not in path or self._is_supervisor(path):
            self.record.ending(path)
            self.find(path).stop_soon(SUPERVISOR_EXITS[reason])
        else:
            self._workers[path].end(reason)

    def _record_answer(self, op: str, value: object, error: Exception | None) -> None:
        self.record.result(op, value_of(op, value) if error is None else error_value(error))

    def _record_children(self, op: str, path: str, value: object, error: Exception | None) -> None:
        if error is not None:
            self.record.result(op, error_value(error))
        else:
            children = cast("tuple[ChildInfo, ...]", value)
            listed = op == "which_children"
            self.record.result(op, self._listed(path, children) if listed else self._counted(path, children))

    # ---- looking

    def find(self, path: str) -> Supervisor:
        supervisor = self.tree
        for id in path.split("/")[1:]:
            supervisor = supervisor.value(id)
        return supervisor

    def _is_supervisor(self, path: str) -> bool:
        above, _, id = path.rpartition("/")
        return any(c.supervises for c in self.find(above).which_children() if c.id == id)

    def supervisors(self) -> Iterator[tuple[str, Supervisor]]:
        """Every running supervisor, by path."""
        pending = [("root", self.tree)]
        for path, supervisor in pending:
            yield path, supervisor
            for child in supervisor.which_children():
                if child.supervises and child.state in (ChildState.RUNNING, ChildState.STOPPING):
                    pending.append((f"{path}/{child.id}", supervisor.value(child.id)))

    async def quiet(self) -> None:
        """Wait until nothing is under way; time passes only while somebody is being waited for."""
        await settle()
        while any(
            child.state in (ChildState.STARTING, ChildState.STOPPING)
            for _, supervisor in self.supervisors()
            for child in supervisor.which_children()
        ):
            await anyio.sleep(TICK)
            await settle()

    def _listed(self, path: str, children: tuple[ChildInfo, ...]) -> list[Json]:
        lines = [
            {"id": c.id, "type": "supervisor" if c.supervises else "worker", "state": c.state.value}
            | ({"n": self.record.starts[f"{path}/{c.id}"]} if c.state is ChildState.RUNNING else {})
            for c in children
        ]
        return lines if path in self.record.dynamic else lines[::-1]

    def _counted(self, path: str, children: tuple[ChildInfo, ...]) -> Json:
        supervisors = sum(c.supervises for c in children)
        active = sum(c.state is ChildState.RUNNING for c in children)
        return self._count(path, ChildCount(len(children), active, supervisors, len(children) - supervisors))

    def _count(self, path: str, count: ChildCount) -> Json:
        specs = 1 if path in self.record.dynamic else count.specs
        return {
            "specs": specs,
            "active": count.active,
            "supervisors": count.supervisors,
            "workers": count.workers,
        }

    def final(self, alive: bool) -> Json:
        listed = {}
        if alive:
            listed = {
                path: {
                    "children": self._listed(path, supervisor.which_children()),
                    "count": self._count(path, supervisor.count_children()),
                }
                for path, supervisor in self.supervisors()
            }
        return {"alive": alive, "exit": self.record.exit, "supervisors": listed}


def flags(spec: Json, *, check: bool = True) -> Json:
    """A supervisor's options. Unchecked, what is not valid is left at its default: the check comes at the
    start."""
    try:
        return {
            "strategy": choose(Strategy, spec["strategy"], "invalid_strategy"),
            "intensity": Intensity(spec["intensity"], spec["period"]),
            "auto_shutdown": choose(AutoShutdown, spec["auto_shutdown"], "invalid_auto_shutdown"),
            "one_at_a_time": spec["strategy"] == "simple_one_for_one",
        }
    except InvalidSpec:
        if check:
            raise
        return {}


def choose(kind: Any, value: str, word: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise InvalidSpec(word, f"no {kind.__name__}: {value!r}") from None


def shutdown(value: object) -> float | BrutalKill:
    match value:
        case int():
            return value / 1000
        case "infinity":
            return INFINITY
        case "brutal_kill":
            return BRUTAL_KILL
        case _:
            raise InvalidSpec("invalid_shutdown", f"no shutdown: {value!r}")


async def run_tree(tree: Supervisor, *, task_status: TaskStatus[bool]) -> None:
    """Run it to its end; started with whether it came up. How it ends is in its events."""
    try:
        async with tree:
            task_status.started(True)
            await tree.wait()
    except StartFailed:
        task_status.started(False)
    except Escalated:
        pass


async def replay(scenario: Json) -> Json:
    """What the supervisor did, in the shape of `expected`: the events of each step, and the state at the
    end."""
    world = World(scenario)
    async with anyio.create_task_group() as group:
        alive = await group.start(run_tree, world.tree)
        steps = [world.record.take()]
        for step in scenario["steps"]:
            await world.step(step)
            steps.append(world.record.take())
        final = world.final(alive and world.record.exit is None)
        if alive:
            await world.tree.stop()
    return {"steps": steps, "final": final}


def difference(scenario: Json, got: Json) -> str | None:
    """The first step that differs from what is expected, in words; None if none does."""
    expected = scenario["expected"]
    named = [{"op": "start"}, *scenario["steps"]]
    for number, (step, want, have) in enumerate(zip(named, expected["steps"], got["steps"], strict=True)):
        if want != have:
            lines = [f"step {number} {json.dumps(step)}", *changes(want, have)]
            return "\n    ".join(lines)
    if got["final"] != expected["final"]:
        return f"final\n    - {json.dumps(expected['final'])}\n    + {json.dumps(got['final'])}"
    return None


def changes(want: list[Json], have: list[Json]) -> list[str]:
    wanted, had = ([json.dumps(event, sort_keys=True) for event in events] for events in (want, have))
    return [line for line in ndiff(wanted, had) if not line.startswith("?")]


def compare(scenario: Json) -> dict[str, str]:
    """What differs, by backend."""
    found: dict[str, str] = {}
    for name in ("asyncio", "trio"):
        backend, options = virtual_backend(name)
        got = anyio.run(replay, scenario, backend=backend, backend_options=options)
        text = difference(scenario, got)
        if text is not None:
            found[name] = text
    return found


def load(files: Sequence[Path]) -> Iterator[Json]:
    for file in files:
        with file.open() as lines:
            yield from map(json.loads, lines)


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(__doc__)
        return 2
    agreed = differed = 0
    for scenario in load([Path(argument) for argument in arguments]):
        found = compare(scenario)
        agreed += not found
        differed += bool(found)
        print("differ" if found else "agree", scenario["name"])
        for backend, text in found.items():
            print(f"  {backend}: {text}")
    print(f"{agreed} agreed, {differed} differed")
    return 1 if differed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
