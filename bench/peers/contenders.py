"""Who is measured: how each is started, and what it is not built for."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from bench.peers import nodejs
from bench.processes import Process
from bench.relay.command import listening, voxtree

Started = AbstractAsyncContextManager[tuple[str, Process]]  # its URL, and its process


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Something to pick instead, or voxtree.

    Attributes:
        key: its name in figures.
        start: runs it before one Riva or two, for so many sessions.
        start_coded: the same where words must be recognised; None: `start` does it.
        lack: what is missing here to run it; empty: nothing.
        has_backend: it calls a Riva, which can fail.
        resumes: a client gets its session back.
        limits: what it is not built for.
    """

    key: str
    title: str
    start: Callable[[Sequence[str], int], Started]
    start_coded: Callable[[Sequence[str], int], Started] | None = None
    lack: Callable[[], str] = lambda: ""
    has_backend: bool = True
    resumes: bool = False
    limits: str


def _module(name: str, *arguments: str, before_rivas: bool = True) -> Callable[[Sequence[str], int], Started]:
    def start(rivas: Sequence[str], sessions: int) -> Started:
        return listening(Process("-m", name, *(rivas if before_rivas else ()), *arguments))

    return start


@asynccontextmanager
async def _node(rivas: Sequence[str], sessions: int) -> AsyncGenerator[tuple[str, Process], None]:
    async with listening(await nodejs.relay(rivas)) as started:
        yield started


def _bare(rivas: Sequence[str], sessions: int) -> Started:
    return listening(Process("-m", "bench.relay.bare", rivas[0]))


def _lacks_node() -> str:
    return "" if nodejs.find() else nodejs.WANTED


def _lacks_fastapi() -> str:
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)}: pip install 'voxtree[bench]'" if missing else ""


_POOL = "bench.peers.thread_pool"
PEERS = (
    Peer(
        key="bare",
        title="bare relay",
        start=_bare,
        limits="the floor: it passes bytes on and does nothing about a fault, nor does it know a second backend",
    ),
    Peer(
        key="fastapi",
        title="FastAPI, uvicorn",
        start=_module("bench.peers.fastapi_relay"),
        lack=_lacks_fastapi,
        limits="a handler by hand: try/except, sleep(2 ** attempt), the other backend. It keeps no audio, watches for"
        " no silence, and a client who is cut begins anew. FastAPI itself promises none of these",
    ),
    Peer(
        key="node",
        title="Node, ws, grpc-js",
        start=_node,
        lack=_lacks_node,
        limits="the same handler in JavaScript; ws and grpc-js promise no more either",
    ),
    Peer(
        key="thread_pool",
        title="vosk-style server",
        start=_module(_POOL, before_rivas=False),
        start_coded=_module(_POOL, "--recogniser", "coded", before_rivas=False),
        has_backend=False,
        limits="recognises in its own process: there is no backend to lose, and no other machine to take over. What it"
        " costs here is its loop without any recognition",
    ),
    Peer(
        key="voxtree",
        title="voxtree",
        start=voxtree,
        resumes=True,
        limits="recognises nothing by itself in this measurement; what it adds to a relay is what is measured",
    ),
)  # fmt: skip
