"""Looks at everything in a server, in small steps, so that a thousand sessions hold nobody up."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from actors.speech.backends.events import BackendState, Health, PoolState
from actors.speech.journal.journal import Journal
from actors.speech.live_session import PREFIX, Session
from actors.speech.pool import BackendPool
from actors.speech.sessions import Sessions
from supervisor.commands import ChildState
from supervisor.errors import NotFound, NotRunning
from supervisor.snapshot import Snapshot
from supervisor.spec import INFINITY
from supervisor.tree import Supervisor
from transport.admin.chronicle import Chronicle
from transport.admin.state import About, BackendRow, Check, Node, SessionRow, State
from transport.clients import Door
from transport.version import version

STEP = 25  # sessions looked at in one turn of the event loop: well below a millisecond
SESSIONS = "sessions"  # the supervisor whose children are shown as sessions


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to look at, once there is a server: this is made first of all, to hear of all that happens.

    Attributes:
        mailboxes: how much waits in those outside sessions, by the path of their owner.
    """

    tree: Callable[[], Supervisor]
    pool: Callable[[], BackendPool]
    sessions: Callable[[], Sessions]
    journal: Callable[[], Journal]
    front_door: Callable[[], Door]
    mailboxes: Callable[[], Mapping[str, int]]


class Survey:
    """Makes states. To be used in the event loop.

    Args:
        actions: see `About`.
    """

    def __init__(self, parts: Parts, chronicle: Chronicle, *, actions: bool) -> None:
        self._parts = parts
        self._chronicle = chronicle
        self._about = About(
            version=version(),
            host=socket.gethostname(),
            pid=os.getpid(),
            started=round(time.time(), 1),
            actions=actions,
        )
        # One offset for good: else every time would differ a little from what it was in the last state.
        self._epoch = time.time() - time.monotonic()

    @property
    def is_up(self) -> bool:
        """All parts have been started."""
        return self._root().state is ChildState.RUNNING

    def checks(self) -> dict[str, Check]:
        """What must be well for the server to be of use. Cheap: it goes with every sign of life."""
        parts, root = self._parts, self._root()
        trouble, draining = parts.journal().trouble, parts.front_door().is_draining
        pool = parts.pool().snapshot()
        up = [backend.name for backend in pool.backends if backend.health is Health.READY and not backend.drained]
        full = not parts.sessions().ready()
        return {
            "supervisor": Check(well=root.state is ChildState.RUNNING, text=said(root.state)),
            "drain": Check(well=not draining, text="stopping" if draining else "taking clients"),
            "journal": Check(well=trouble is None, text=f"cannot be written: {trouble.code}" if trouble else "written"),
            "backends": Check(well=bool(up), text=f"{len(up)} of {len(pool.backends)} work", vital=False),
            "capacity": Check(well=not full, text="every place is taken" if full else "there are places", vital=False),
        }

    async def take(self, checks: dict[str, Check], lags: tuple[float, ...]) -> State:
        """How everything stands. Other tasks run between its steps."""
        parts, chronicle = self._parts, self._chronicle
        tree = parts.tree()
        root = tree.snapshot(folded={(tree.name, SESSIONS)})
        nodes = flattened(root, parts.mailboxes())
        sessions = dict(chronicle.ended)
        trees = _running(tree, SESSIONS)
        live = parts.sessions().live()
        for start in range(0, len(live), STEP):
            for session in live[start : start + STEP]:
                sessions[session.record.session_id] = self._session(session, trees)
            await checkpoint()
        chronicle.forget_all_but({session.record.session_id for session in live})
        pool, now = parts.pool().snapshot(), anyio.current_time()
        return State(
            at=round(time.time(), 2),
            about=msgspec.structs.replace(self._about, url=parts.front_door().url if self.is_up else ""),
            checks=checks,
            waiting=pool.waiting,
            capacity=parts.sessions().limit,
            lags=lags,
            tree=nodes,
            sessions=sessions,
            backends=self._backends(pool, now),
            errors=chronicle.errors(),
        )

    def _root(self) -> Snapshot:
        tree = self._parts.tree()
        return tree.snapshot(folded={(tree.name,)})

    # ---- sessions

    def _session(self, session: Session, trees: Supervisor | None) -> SessionRow:
        record = session.record
        rate, intake, publication = record.config.sample_rate, record.intake, record.publication
        own = None if trees is None else _running(trees, PREFIX + record.session_id)
        snapshot = None if own is None else own.snapshot()
        budget = snapshot.intensity if snapshot is not None else None
        return SessionRow(
            state=record.state.value,
            since=self._at(record.began if record.began is not None else anyio.current_time()),
            connected=record.client is not None,
            received=round(intake.end / rate, 1),
            durable=round(publication.durable / rate, 1),
            lag=round(max(0, intake.end - publication.durable) / rate, 1),
            finals=publication.seq,
            acked=publication.acked,
            backend=record.endpoint,
            epoch=record.epoch,
            resumes=record.resumes,
            mailbox=session.ref.depth,
            restarts=0 if snapshot is None else snapshot.restarts,
            limit=0 if budget is None else budget.restarts,
            parts={} if snapshot is None else {part.path[-1]: _node(part) for part in snapshot.children},
            events=self._chronicle.events(record.session_id),
        )

    # ---- backends

    def _backends(self, pool: PoolState, now: float) -> dict[str, BackendRow]:
        rows: dict[str, BackendRow] = {}
        for state in pool.backends:
            name = state.name if state.name not in rows else f"{state.name} (old settings)"
            rows[name] = self._backend(state, now)
        return rows

    def _backend(self, state: BackendState, now: float) -> BackendRow:
        return BackendRow(
            tier=state.tier.value,
            health=state.health.value,
            breaker=state.breaker.value,
            streams=state.streams,
            cap=state.cap,
            most=state.max_streams,
            health_since=self._ago(state.health_seconds, now),
            breaker_since=self._ago(state.breaker_seconds, now),
            free_at=self._at(now + state.rest_seconds) if 0 < state.rest_seconds < INFINITY else None,
            probe_at=None if state.probe_seconds is None else self._at(now + state.probe_seconds),
            drained=state.drained,
            leaving=state.leaving,
            last_code=state.last_code,
            last_code_at=self._ago(state.last_code_seconds, now),
        )

    def _ago(self, seconds: float | None, now: float) -> float | None:
        return None if seconds is None else self._at(now - seconds)

    def _at(self, when: float) -> float:
        """A moment of the loop's clock, which is the monotonic one, as seconds since 1970."""
        return round(self._epoch + when, 1)


_SAID = {
    ChildState.STARTING: "starting",
    ChildState.RUNNING: "running",
    ChildState.STOPPING: "stopping",
    ChildState.STOPPED: "down",
    ChildState.RESTARTING: "restarting",
}


def said(state: ChildState) -> str:
    """What a root is doing, in a word."""
    return _SAID[state]


def flattened(tree: Snapshot, mailboxes: Mapping[str, int] = MappingProxyType({})) -> dict[str, Node]:
    """A tree by paths. `mailboxes`: how much waits in them, by the path of their owner."""
    path = "/".join(tree.path)
    nodes = {path: _node(tree, mailboxes.get(path))}
    for child in tree.children:
        nodes |= flattened(child, mailboxes)
    return nodes


def _node(one: Snapshot, mailbox: int | None = None) -> Node:
    budget = one.intensity
    return Node(
        state=one.state.value,
        number=one.number,
        last_exit=one.last_exit,
        strategy=None if one.strategy is None else one.strategy.name.lower(),
        restarts=one.restarts,
        limit=None if budget is None else budget.restarts,
        window=None if budget is None or budget.seconds == INFINITY else budget.seconds,
        mailbox=mailbox,
    )


def _running(tree: Supervisor, name: str) -> Supervisor | None:
    """A supervisor's child that is one too, if it runs."""
    try:
        child = tree.value(name)
    except (NotFound, NotRunning):
        return None
    return child if isinstance(child, Supervisor) else None
