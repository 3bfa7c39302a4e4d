"""What an operator may have done from the console: each order is carried out in the event loop, and logged."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Protocol, assert_never

import msgspec

from actors.speech.messages import Stop
from supervisor.errors import ChildError
from supervisor.tree import Supervisor
from transport.admin.survey import Parts

PATIENCE = 8.0  # seconds in which an order must have been carried out
OUT_OF_BOUNDS = ("admin", "sessions")  # who carries orders out cannot be restarted by one; sessions are closed singly

logger = logging.getLogger("voxtree.admin")


class OrderFailed(Exception):
    """It was not, or not certainly, carried out; the text says why."""


class RestartPart(msgspec.Struct, frozen=True, tag_field="action", tag="restart"):
    """Stop and start a child of the tree, by its path (`voxtree/backends/questions`)."""

    path: str


class CloseSession(msgspec.Struct, frozen=True, tag_field="action", tag="close_session"):
    """No more audio of this session is taken; its client gets the last words, and that all was said."""

    session: str


class DrainBackend(msgspec.Struct, frozen=True, tag_field="action", tag="drain"):
    """No new streams; those it has move on when their utterances end."""

    backend: str


class UndrainBackend(msgspec.Struct, frozen=True, tag_field="action", tag="undrain"):
    """Streams again."""

    backend: str


class TripBreaker(msgspec.Struct, frozen=True, tag_field="action", tag="trip"):
    """No new streams for a minute, then one that tries."""

    backend: str


class CloseBreaker(msgspec.Struct, frozen=True, tag_field="action", tag="close_breaker"):
    """Streams at once, whatever failed."""

    backend: str


class ReplaceWorkers(msgspec.Struct, frozen=True, tag_field="action", tag="replace_workers"):
    """Each worker gets a successor, one after the other; its clients go on there, and miss nothing."""


Order = RestartPart | CloseSession | DrainBackend | UndrainBackend | TripBreaker | CloseBreaker | ReplaceWorkers


class Clerk(Protocol):
    """Carries orders out."""

    async def carry_out(self, order: Order) -> str:
        """Do it, and say what was done.

        Raises:
            OrderFailed: it cannot be done.
        """


class OwnClerk:
    """Carries out what is ordered of this process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def carry_out(self, order: Order) -> str:
        """See `Clerk`."""
        match order:
            case RestartPart(path=path):
                await restart_part(self._parts.tree(), path)
                return f"{path} was restarted"
            case CloseSession(session=session):
                self._close(session)
                return f"session {session} is being closed"
            case DrainBackend() | UndrainBackend() | TripBreaker() | CloseBreaker():
                return self._backend(order)
            case ReplaceWorkers():
                raise OrderFailed("there is one process only: `server.workers`")
            case _:
                assert_never(order)

    def _close(self, session_id: str) -> None:
        session = self._parts.sessions().get(session_id)
        if session is None:
            raise OrderFailed(f"there is no session {session_id} here")
        session.tell(Stop())

    def _backend(self, order: DrainBackend | UndrainBackend | TripBreaker | CloseBreaker) -> str:
        name, pool = order.backend, self._parts.pool()
        try:
            match order:
                case DrainBackend():
                    pool.drain(name)
                    return f"backend {name} gets no new streams"
                case UndrainBackend():
                    pool.undrain(name)
                    return f"backend {name} gets streams again"
                case TripBreaker():
                    pool.trip(name)
                    return f"the breaker of {name} is open"
                case CloseBreaker():
                    pool.mend(name)
                    return f"the breaker of {name} is closed"
        except KeyError:
            raise OrderFailed(f"there is no backend {name}") from None


async def restart_part(tree: Supervisor, path: str) -> None:
    """Stop and start a child of a tree.

    Raises:
        OrderFailed: it cannot be.
    """
    root, *names = path.split("/")
    supervisor: object = tree
    if root != tree.name or not names or (names[0] in OUT_OF_BOUNDS and len(names) < 3):
        raise OrderFailed(f"{path} cannot be restarted from here")
    try:
        for name in names[:-1]:
            supervisor = supervisor.value(name) if isinstance(supervisor, Supervisor) else None
        if not isinstance(supervisor, Supervisor):
            raise OrderFailed(f"there is no {path}")
        await supervisor.terminate_child(names[-1])
        await supervisor.restart_child(names[-1])
    except ChildError as error:
        raise OrderFailed(str(error)) from error


class Orders:
    """The way of an order from the thread that has it to the loop that carries it out.

    Args:
        wake: has the loop call `carry_out_all` soon; callable from any thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[_Given] = deque()

    def give(self, order: Order, who: str) -> str:
        """From any thread but the loop's: have it carried out, and say what was done.

        Raises:
            OrderFailed: it was not.
        """
        given = _Given(order, who, Future())
        self._waiting.append(given)
        try:
            self._wake()
            return given.outcome.result(PATIENCE)
        except TimeoutError:
            if given.outcome.cancel():
                raise OrderFailed("the server does not react; the order was withdrawn") from None
            raise OrderFailed("it was begun and is not over yet") from None
        except (CancelledError, RuntimeError):
            raise OrderFailed("the server stops") from None

    async def carry_out_all(self, clerk: Clerk) -> None:
        """In the loop: carry out what was given, one after the other."""
        while self._waiting:
            await self._carry_out(self._waiting.popleft(), clerk)

    def refuse_all(self) -> None:
        """In the loop: nobody will carry them out."""
        while self._waiting:
            self._waiting.popleft().outcome.cancel()

    async def _carry_out(self, given: _Given, clerk: Clerk) -> None:
        if not given.outcome.set_running_or_notify_cancel():
            return
        try:
            done = await clerk.carry_out(given.order)
        except OrderFailed as failed:
            _audit(given, f"refused: {failed}")
            given.outcome.set_exception(failed)
        except BaseException as error:
            _audit(given, f"failed: {type(error).__name__}")
            given.outcome.set_exception(OrderFailed("it failed; the log says how"))
            raise
        else:
            _audit(given, done)
            given.outcome.set_result(done)


class _Given(msgspec.Struct, frozen=True, eq=False):
    order: Order
    who: str
    outcome: Future[str]


def _audit(given: _Given, outcome: str) -> None:
    facts = msgspec.to_builtins(given.order)
    extra = {"event": "admin.action", "by": given.who, **facts}
    logger.warning("an operator (%s) gave the order %s: %s", given.who, facts["action"], outcome, extra=extra)
