"""How all workers stand, as one state: what the console of a server with several processes shows."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping

import anyio.to_thread
import msgspec

from supervisor.commands import ChildState
from supervisor.tree import Supervisor
from transport.admin.state import (
    About,
    BackendRow,
    Check,
    ErrorRow,
    Node,
    SessionRow,
    State,
    Timeline,
    WorkerRow,
)
from transport.admin.survey import flattened, said
from transport.version import version
from transport.workers.asking import Silent, ask
from transport.workers.process import WorkerProcess
from transport.workers.worker import Worker

_replace = msgspec.structs.replace


class _Seen(msgspec.Struct, frozen=True):
    state: State


class FleetSurvey:
    """Looks at the parent and asks the workers. To be used in the parent's event loop.

    Args:
        tree: the parent's.
        workers: all of them.
        url: where clients connect.
        errors: those of the parent itself, by code.
        actions: see `About`.
    """

    def __init__(
        self,
        tree: Callable[[], Supervisor],
        workers: Iterable[Worker],
        url: str,
        errors: Callable[[], dict[str, ErrorRow]],
        *,
        actions: bool,
    ) -> None:
        self._tree = tree
        self._workers = tuple(workers)
        self._errors = errors
        self._states: dict[int, State] = {}  # the last that each worker gave
        self._about = About(
            version=version(),
            host=socket.gethostname(),
            pid=os.getpid(),
            started=round(time.time(), 1),
            url=url,
            actions=actions,
        )

    @property
    def is_up(self) -> bool:
        """All parts have been started."""
        return self._root() is ChildState.RUNNING

    def checks(self) -> dict[str, Check]:
        """What must be well; see `Surveyor`. What workers say of themselves is as old as their last states."""
        root, serving = self._root(), sum(worker.serving is not None for worker in self._workers)
        own = {
            "supervisor": Check(well=root is ChildState.RUNNING, text=said(root)),
            "workers": Check(
                well=serving == len(self._workers),
                text=f"{serving} of {len(self._workers)} serve",
                vital=not serving,
            ),
        }
        return own | combined({number: state.checks for number, state in self._states.items()})

    async def take(self, checks: dict[str, Check], lags: tuple[float, ...]) -> State:
        """How everything stands; see `Surveyor`."""
        await anyio.to_thread.run_sync(self._ask_all)
        tree = self._tree()
        nodes = flattened(tree.snapshot())
        states = self._states
        for number, state in states.items():
            graft(nodes, f"{tree.name}/workers/worker:{number}", state.tree)
        return State(
            at=round(time.time(), 2),
            about=self._about,
            checks=checks,
            waiting=sum(state.waiting for state in states.values()),
            capacity=sum(state.capacity for state in states.values()),
            lags=slowest([lags, *(state.lags for state in states.values())]),
            tree=nodes,
            sessions=sessions_of(states),
            backends=backends_of(states),
            errors=errors_of([self._errors(), *(state.errors for state in states.values())]),
            workers={str(worker.number): _row(worker) for worker in self._workers},
        )

    def timeline(self, session: str) -> Timeline | None:
        """A session's, from whoever knows most of it. From any thread but the loop's."""
        found: list[Timeline] = []
        for process in self._serving().values():
            try:
                status, body = ask(process.admin, f"/debug/session.json?id={session}")
            except Silent:
                continue
            if status == 200:
                found.append(msgspec.json.decode(body, type=Timeline))
        return max(found, key=lambda each: each.moments[-1].at if each.moments else 0.0, default=None)

    def _root(self) -> ChildState:
        tree = self._tree()
        return tree.snapshot(folded={(tree.name,)}).state

    def _serving(self) -> dict[int, WorkerProcess]:
        return {worker.number: process for worker in self._workers if (process := worker.serving) is not None}

    def _ask_all(self) -> None:
        """In a thread. Whoever does not answer is shown as it was."""
        states: dict[int, State] = {}
        for number, process in self._serving().items():
            try:
                _, body = ask(process.admin, "/debug/state.json")
                states[number] = msgspec.json.decode(body, type=_Seen).state
            except (Silent, msgspec.MsgspecError):
                if number in self._states:
                    states[number] = self._states[number]
        self._states = states


def combined(checks: Mapping[int, Mapping[str, Check]]) -> dict[str, Check]:
    """One check of each name. It is well if it is at all workers, and vital only where no worker is of use."""
    useless = all(any(check.vital and not check.well for check in each.values()) for each in checks.values())
    whole: dict[str, Check] = {}
    for name in dict.fromkeys(name for each in checks.values() for name in each):
        here = {number: each[name] for number, each in checks.items() if name in each}
        bad = {number: check for number, check in here.items() if not check.well}
        if not bad:
            whole[name] = next(iter(here.values()))
            continue
        text = "; ".join(f"worker {number}: {check.text}" for number, check in sorted(bad.items()))
        whole[name] = Check(well=False, text=text, vital=useless and any(check.vital for check in bad.values()))
    return {name: check for name, check in whole.items() if name != "supervisor" or not check.well}


def graft(nodes: dict[str, Node], stem: str, tree: Mapping[str, Node]) -> None:
    """Put a worker's tree at its place in the parent's, where its root is a child like others."""
    for path, node in tree.items():
        _, inner, rest = path.partition("/")
        if inner:
            nodes[f"{stem}/{rest}"] = node
        elif stem in nodes:
            nodes[stem] = _replace(
                nodes[stem], strategy=node.strategy, restarts=node.restarts, limit=node.limit, window=node.window
            )


def sessions_of(states: Mapping[int, State]) -> dict[str, SessionRow]:
    """All sessions. One that has moved is shown where it lives, or where it ended last."""
    found: dict[str, SessionRow] = {}
    for number, state in states.items():
        for session, row in state.sessions.items():
            if session not in found or _order(row) > _order(found[session]):
                found[session] = _replace(row, worker=str(number))
    return found


def _order(row: SessionRow) -> tuple[bool, float]:
    return row.until is None, row.until or row.since


def backends_of(states: Mapping[int, State]) -> dict[str, BackendRow]:
    """All backends as each worker sees them."""
    return {f"{name}@{number}": row for number, state in states.items() for name, row in state.backends.items()}


def errors_of(all_of_them: Iterable[Mapping[str, ErrorRow]]) -> dict[str, ErrorRow]:
    """Errors by code, the newest first."""
    found: dict[str, ErrorRow] = {}
    for errors in all_of_them:
        for code, row in errors.items():
            before = found.get(code)
            if before is None:
                found[code] = row
                continue
            newer, older = (row, before) if row.last > before.last else (before, row)
            found[code] = _replace(
                newer,
                count=newer.count + older.count,
                rate=newer.rate + older.rate,
                first=min(newer.first, older.first),
            )
    return dict(sorted(found.items(), key=lambda item: -item[1].last))


def slowest(all_of_them: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
    """The worst of all loops, moment by moment, the newest last."""
    series = [lags for lags in all_of_them if lags]
    length = max(map(len, series), default=0)
    padded = [(0.0,) * (length - len(lags)) + lags for lags in series]
    return tuple(max(moment) for moment in zip(*padded, strict=True))


def _row(worker: Worker) -> WorkerRow:
    process = worker.serving or (worker.processes[-1] if worker.processes else None)
    if process is None:
        return WorkerRow(state="gone", lives=worker.lives)
    return WorkerRow(
        state=process.stage.value,
        pid=process.pid,
        since=round(process.since, 1),
        lives=worker.lives,
        retiring=len(worker.processes) - 1,
        sessions=process.sessions,
        beat=round(time.monotonic() - process.heard_at, 1),
        lag=round(1000 * process.lag, 1),
    )
