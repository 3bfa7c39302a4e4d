"""How a server stands, as it is shown: by the console, by `voxtree observe`, by /debug/state.json.

As JSON it is objects of objects, each row under its name, and what is not known is left out: so the difference of two
states is a JSON merge patch (RFC 7396). Times are seconds since 1970, durations and positions seconds.
"""

from __future__ import annotations

import msgspec


class _Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A part of it. Values without cycles: the garbage collector need not look at thousands of them."""


class About(_Shown, frozen=True):
    """The server itself.

    Attributes:
        started: when.
        url: where clients connect; empty: nowhere yet.
        actions: whether the console may do something besides looking.
    """

    version: str
    host: str
    pid: int
    started: float
    url: str = ""
    actions: bool = False


class Check(_Shown, frozen=True):
    """Something that must be well. One that is not `vital` makes the server degraded, and it stays ready."""

    well: bool
    text: str
    vital: bool = True


class Node(_Shown, frozen=True):
    """One child in the tree, or the root; `supervisor.snapshot.Snapshot` says what the fields mean.

    Attributes:
        limit, window: restarts and seconds of its budget.
        mailbox: messages that wait.
    """

    state: str
    number: int = 1
    last_exit: str | None = None
    strategy: str | None = None
    restarts: int = 0
    limit: int | None = None
    window: float | None = None
    mailbox: int | None = None


class SessionRow(_Shown, frozen=True):
    """One session.

    Attributes:
        state: how its words are getting on; of one that has ended, how it did.
        since: when it began here.
        until: when it ended; None: it lives.
        connected: its client is.
        received: seconds of audio that have arrived; `durable`: … that its client may forget.
        lag: seconds of audio that no final in the journal covers.
        finals: numbers given; `acked`: … and known to be the client's.
        code: of the error that ended it.
        mailbox: messages that wait for its actor.
        restarts, limit: of its own tree.
        parts: the children of its tree, by name.
        events: how many its timeline has had.
        worker: the number of the one it lives at, where there are several.
    """

    state: str
    since: float
    until: float | None = None
    connected: bool = False
    received: float = 0.0
    durable: float = 0.0
    lag: float = 0.0
    finals: int = 0
    acked: int = 0
    backend: str = ""
    epoch: int = 1
    resumes: int = 0
    code: str | None = None
    mailbox: int = 0
    restarts: int = 0
    limit: int = 0
    parts: dict[str, Node] = {}
    events: int = 0
    worker: str = ""


class BackendRow(_Shown, frozen=True):
    """One backend.

    Attributes:
        health_since, breaker_since: since when it is so.
        free_at: when it may get streams again; `probe_at`: when it is asked next whether it works.
        last_code: of the last error it was blamed for, at `last_code_at`.
    """

    tier: str
    health: str
    breaker: str
    streams: int
    cap: int
    most: int
    health_since: float | None = None
    breaker_since: float | None = None
    free_at: float | None = None
    probe_at: float | None = None
    drained: bool = False
    leaving: bool = False
    last_code: str | None = None
    last_code_at: float | None = None


class WorkerRow(_Shown, frozen=True):
    """One worker, where there are several.

    Attributes:
        state: of the process that takes new clients: `starting`, `serving`, or `gone`.
        retiring: processes besides, whose clients are being sent elsewhere.
        since: when its process began.
        lives: processes it has had.
        beat: seconds since its last sign of life, `lag`: … by which that was late, in ms.
    """

    state: str
    pid: int = 0
    since: float | None = None
    lives: int = 0
    retiring: int = 0
    sessions: int = 0
    beat: float | None = None
    lag: float = 0.0


class ErrorRow(_Shown, frozen=True):
    """All errors of one code.

    Attributes:
        rate: how many in the last minute.
        detail: of the last one: `where` and what, as the log says it too.
    """

    name: str
    severity: str
    count: int
    first: float
    last: float
    rate: int
    meaning: str
    remedy: str
    detail: str = ""
    where: str = ""


class State(_Shown, frozen=True):
    """All of it, at one moment.

    Attributes:
        at: that moment.
        waiting: sessions that wait for a backend.
        capacity: how many there may be.
        lags: how late the loop's timer was, in ms, the newest last.
        tree: by path, slashes between the names; without what is below `sessions`, which is in the sessions' `parts`.
        workers: by number; empty: there is one process only.
        backends: by name; where there are workers, `name@number` of the one whose view it is.
    """

    at: float
    about: About
    checks: dict[str, Check] = {}
    waiting: int = 0
    capacity: int = 0
    lags: tuple[float, ...] = ()
    tree: dict[str, Node] = {}
    sessions: dict[str, SessionRow] = {}
    backends: dict[str, BackendRow] = {}
    errors: dict[str, ErrorRow] = {}
    workers: dict[str, WorkerRow] = {}


class Moment(_Shown, frozen=True):
    """Something in a session's life: when, what, and the error's code if it was one. Never what was said."""

    at: float
    what: str
    text: str
    code: str | None = None


class Timeline(_Shown, frozen=True):
    """The last moments of one session, of so many in all."""

    events: int = 0
    moments: tuple[Moment, ...] = ()


def merge_patch(old: dict[str, object], new: dict[str, object]) -> dict[str, object]:
    """What makes the new document of the old one, by RFC 7396. Neither holds a null."""
    patch: dict[str, object] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[name] = merge_patch(before, value)
        else:
            patch[name] = value
    return patch
