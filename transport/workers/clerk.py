"""Orders of operators in a server of several processes: each is carried out where it belongs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import anyio.to_thread
import msgspec

from supervisor.tree import Supervisor
from transport.admin.orders import (
    CloseBreaker,
    CloseSession,
    DrainBackend,
    Order,
    OrderFailed,
    ReplaceWorkers,
    RestartPart,
    TripBreaker,
    UndrainBackend,
    restart_part,
)
from transport.admin.pages import ACTION_HEADER
from transport.workers.asking import Silent, ask
from transport.workers.worker import Worker

PATIENCE = 6.0  # seconds for a worker to carry one out; less than its giver waits


class FleetClerk:
    """Carries orders out; see `transport.admin.orders.Clerk`.

    Args:
        tree: the parent's.
        workers: all of them.
        replace_all: replaces them one after the other.
    """

    def __init__(
        self, tree: Callable[[], Supervisor], workers: Iterable[Worker], replace_all: Callable[[], Awaitable[None]]
    ) -> None:
        self._tree = tree
        self._workers = tuple(workers)
        self._replace_all = replace_all

    async def carry_out(self, order: Order) -> str:
        """See `Clerk`."""
        match order:
            case RestartPart(path):
                return await self._restart(path)
            case ReplaceWorkers():
                await self._replace_all()
                return "the workers were replaced"
            case CloseSession():
                return await self._first(order)
            case DrainBackend() | UndrainBackend() | TripBreaker() | CloseBreaker():
                return await self._backend(order)

    async def _restart(self, path: str) -> str:
        stem = f"{self._tree().name}/workers/worker:"
        if not path.startswith(stem):
            await restart_part(self._tree(), path)
            return f"{path} was restarted"
        number, _, rest = path.removeprefix(stem).partition("/")
        worker = self._worker(number)
        if rest:
            return await self._told(worker, RestartPart(path=f"{self._tree().name}/{rest}"))
        await worker.replace()
        return f"worker {number} was replaced"

    async def _backend(self, order: DrainBackend | UndrainBackend | TripBreaker | CloseBreaker) -> str:
        name, _, number = order.backend.rpartition("@")
        if not name:
            done = [await self._told(worker, order) for worker in self._workers]
            return f"{done[0]}, at all workers"
        here = await self._told(self._worker(number), msgspec.structs.replace(order, backend=name))
        return f"{here}, at worker {number}"

    async def _first(self, order: CloseSession) -> str:
        for worker in self._workers:
            try:
                return await self._told(worker, order)
            except OrderFailed:
                continue
        raise OrderFailed(f"there is no session {order.session} here")

    def _worker(self, number: str) -> Worker:
        for worker in self._workers:
            if str(worker.number) == number:
                return worker
        raise OrderFailed(f"there is no worker {number}")

    async def _told(self, worker: Worker, order: Order) -> str:
        process = worker.serving
        if process is None:
            raise OrderFailed(f"worker {worker.number} is being started")
        post = partial(ask, headers={ACTION_HEADER: "parent"}, patience=PATIENCE)
        try:
            status, body = await anyio.to_thread.run_sync(post, process.admin, "/actions", msgspec.json.encode(order))
        except Silent:
            raise OrderFailed(f"worker {worker.number} does not answer") from None
        if status != 200:
            raise OrderFailed(body.decode(errors="replace").strip())
        return str(msgspec.json.decode(body)["done"])
