"""The backend pool: lends each session the backend that is best for it now, and watches over all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from typing import assert_never

import anyio
from anyio.abc import TaskGroup, TaskStatus

from actors.speech.backends.commands import Ask, Commands, Grant, Recall, Refuse, Request, Tell
from actors.speech.backends.core import PoolCore
from actors.speech.backends.events import PoolEvent, PoolState
from actors.speech.backends.place import Loan, Need, Place
from actors.speech.errors import BackendDraining, BackendStalled, ModelNotFound, SpeechError
from actors.speech.ports import RecognitionBackend, RecognitionConfig
from actors.speech.signal import Signal

QUESTION_TIMEOUT = 5.0  # seconds; for a backend that has no deadline of its own
WAIT_TOLD = 0.25  # seconds; a session is not told of a wait that is over sooner
TRIP_SECONDS = 60.0  # that a breaker stays open when it is opened by hand
DRAIN_SECONDS = 30.0  # streams of a backend that was removed have so long to come to the end of an utterance


class Elsewhere(Exception):
    """The backend has no model for the session, but another one may. Nothing to fail of: lease again."""


class Lease:
    """One stream's right to a backend.

    Attributes:
        backend: where to open the stream.
    """

    __slots__ = ("_loan", "_pool", "backend")

    def __init__(self, pool: BackendPool, loan: Loan) -> None:
        self.backend: RecognitionBackend = loan.place.backend
        self._pool = pool
        self._loan = loan

    def answered(self) -> None:
        """The stream gave a result: that is what proves a backend. Costs nothing but the first time."""
        if not self._loan.answered:
            self._pool.answered(self._loan)

    def should_move(self) -> bool:
        """Ask at the end of an utterance: whether to end this stream in order and lease again.

        True when a better tier is back and it is this session's turn, or when this backend is drained or overloaded
        and another one has room; then a place is kept there for some seconds.
        """
        self.answered()
        return self._pool.should_move(self._loan)


class BackendPool:
    """Lends backends: of those that work, the best tier with room, the least loaded in it.

    `actors.speech.backends.core.PoolCore` says which, when and why. This class waits, asks and tells.

    `run` is to be a child of a supervisor. While it runs, backends are asked whether they work, before any session
    meets one that does not, and only those that answered are lent. Without it the pool has only what streams show: one
    that failed is tried again by a session when no other backend is free.

    Args:
        backends: in any order, each with a name of its own; at least one.
        listener: told what happens; called synchronously, so it must be quick, and must not raise.

    Raises:
        ValueError: there is no backend, or two have the same name.
    """

    def __init__(
        self, backends: Iterable[RecognitionBackend], listener: Callable[[PoolEvent], None] = lambda event: None
    ) -> None:
        self._core = PoolCore(backends)
        self._listener = listener
        self._numbers = count()
        self._waiting: dict[int, _Waiting] = {}
        self._first: Request | None = None  # who looks after the time for all that wait
        self._scopes: dict[int, anyio.CancelScope] = {}  # of the leases, by the loan's number
        self._questions: TaskGroup | None = None
        self._changed = Signal()

    # ---- for sessions

    @asynccontextmanager
    async def lease(
        self, session: str, config: RecognitionConfig, *, on_wait: Callable[[], None]
    ) -> AsyncGenerator[Lease, None]:
        """Borrow a backend for one stream; waits until one is free, and says so once through `on_wait`.

        A `SpeechError` that leaves the context is held against the backend if it is the backend's fault.

        Args:
            session: whose stream it is: none is sent to and fro between backends, nor back to what failed it.

        Raises:
            ModelNotFound: no backend has what the config asks for.
            Elsewhere: this one has not, but another may.
            BackendDraining: it was removed, and the stream did not come to an end in time.
        """
        need = Need(config.language, config.model)
        loan = await self._take(session, need, on_wait)
        try:
            with anyio.CancelScope() as scope:
                self._scopes[loan.number] = scope
                if loan.recalled:
                    scope.cancel()
                yield Lease(self, loan)
            if scope.cancelled_caught:
                raise BackendDraining("the stream had its time to move", endpoint=loan.place.name)
        except SpeechError as error:
            self._ended(loan, error)
            if isinstance(error, ModelNotFound) and self._core.can_serve(need, anyio.current_time()):
                raise Elsewhere from error
            raise
        except BaseException:
            self._ended(loan, None)
            raise
        else:
            self.answered(loan)  # ended in order, by a backend that had heard everything
            self._ended(loan, None)

    def degraded(self, backend: RecognitionBackend) -> bool:
        """True when a better tier than this backend's is configured."""
        return self._core.roster.is_degraded(backend)

    @property
    def capacity(self) -> int:
        """Streams that may be promised: of all backends that work, or did some seconds ago."""
        return self._core.capacity(anyio.current_time())

    def answered(self, loan: Loan) -> None:
        """See `Lease`."""
        if not loan.answered:
            self._do(self._core.answered(loan, anyio.current_time()))

    def should_move(self, loan: Loan) -> bool:
        """See `Lease`."""
        return self._core.should_move(loan, anyio.current_time())

    # ---- for whoever watches backends; raise KeyError for a name that is not configured

    def suspect(self, name: str) -> None:
        """Something looks wrong, as when a connection is lost: ask at once, and lend others meanwhile."""
        self._do(self._core.suspect(self._core.roster.place(name), anyio.current_time()))

    def down(self, name: str, error: SpeechError) -> None:
        """It is known to be down, as when its process has ended."""
        self._do(self._core.lost(self._core.roster.place(name), error, anyio.current_time()))

    def ready(self, name: str) -> None:
        """It may be back, as when a connection is made: ask at once."""
        self._do(self._core.stirs(self._core.roster.place(name), anyio.current_time()))

    # ---- for operators

    def reconfigure(self, backends: Iterable[RecognitionBackend], *, seconds: float = DRAIN_SECONDS) -> None:
        """These are the backends from now on; keep those that go on being used by passing the same objects.

        The others get no new streams. Those they have move when their utterances end, at the latest after `seconds`.
        They can be closed after `left`.

        Raises:
            ValueError: there is none, or two have the same name; nothing was changed then.
        """
        now = anyio.current_time()
        self._do(self._core.reconfigure(backends, now, leave_by=now + seconds))

    def drain(self, name: str, *, seconds: float = float("inf")) -> None:
        """Take a backend out of service: as if it were removed, until `undrain`.

        Raises:
            KeyError: there is no backend of this name.
        """
        now = anyio.current_time()
        self._do(self._core.drain(name, now, leave_by=now + seconds))

    def undrain(self, name: str) -> None:
        """Use it again.

        Raises:
            KeyError: there is no backend of this name.
        """
        self._do(self._core.undrain(name, anyio.current_time()))

    def trip(self, name: str, *, seconds: float = TRIP_SECONDS) -> None:
        """Open a backend's breaker by hand: no new streams for so long, then one that tries. Those it has go on.

        Raises:
            KeyError: there is no backend of this name.
        """
        self._do(self._core.trip(name, anyio.current_time(), seconds=seconds))

    def mend(self, name: str) -> None:
        """Close its breaker by hand: streams again, at once.

        Raises:
            KeyError: there is no backend of this name.
        """
        self._do(self._core.mend(name, anyio.current_time()))

    async def left(self, backend: RecognitionBackend) -> None:
        """Wait until a backend that was removed has lost its last stream."""
        while any(place.backend is backend for place in self._core.roster):
            await self._changed.wait()

    def snapshot(self) -> PoolState:
        """How everything stands."""
        return self._core.state(anyio.current_time())

    # ---- the child

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Ask backends whether they work, and recall streams whose time is up; until cancelled."""
        async with anyio.create_task_group() as questions:
            self._questions = questions
            try:
                self._do(self._core.asking(anyio.current_time(), asks=True))
                task_status.started()
                while True:
                    with anyio.move_on_after(self._core.tick_in(anyio.current_time())):
                        await self._changed.wait()
                    self._do(self._core.tick(anyio.current_time()))
            finally:
                self._questions = None
                self._do(self._core.asking(anyio.current_time(), asks=False))

    async def _ask(self, place: Place) -> None:
        try:
            with anyio.fail_after(QUESTION_TIMEOUT):
                await place.backend.probe()
        except TimeoutError:
            error: SpeechError = BackendStalled(f"no answer within {QUESTION_TIMEOUT:g} s", endpoint=place.name)
            self._do(self._core.misses(place, error, anyio.current_time()))
        except SpeechError as error:
            self._do(self._core.misses(place, error, anyio.current_time()))
        else:
            self._do(self._core.answers(place, anyio.current_time()))

    # ---- what the core wants

    async def _take(self, session: str, need: Need, on_wait: Callable[[], None]) -> Loan:
        request = Request(next(self._numbers), session, need)
        waiting = self._waiting[request.number] = _Waiting()
        self._do(self._core.join(request, anyio.current_time()))
        try:
            with anyio.move_on_after(WAIT_TOLD):
                await self._answer_to(request, waiting)
            if waiting.answer is None:
                on_wait()
                await self._answer_to(request, waiting)
        except BaseException:
            if isinstance(waiting.answer, Grant):
                self._ended(waiting.answer.loan, None)
            self._do(self._core.leave(request, anyio.current_time()))
            raise
        finally:
            del self._waiting[request.number]
        match waiting.answer:
            case Grant(loan=loan):
                return loan
            case Refuse(error=error):
                raise ModelNotFound(error.detail, endpoint=error.endpoint, backend_detail=error.backend_detail)
            case _:
                raise AssertionError("waited for an answer and has none")

    async def _answer_to(self, request: Request, waiting: _Waiting) -> None:
        while waiting.answer is None:
            looks = self._core.first is request
            with anyio.move_on_after(self._core.serve_in(anyio.current_time()) if looks else None) as pause:
                await waiting.changed.wait()
            if pause.cancelled_caught:
                self._do(self._core.tick(anyio.current_time()))

    def _ended(self, loan: Loan, error: SpeechError | None) -> None:
        self._scopes.pop(loan.number, None)
        self._do(self._core.ended(loan, error, anyio.current_time()))

    def _do(self, commands: Commands) -> None:
        for command in commands:
            match command:
                case Grant(request=request) | Refuse(request=request):
                    self._waiting[request.number].tell(command)
                case Ask(place=place):
                    assert self._questions is not None
                    self._questions.start_soon(self._ask, place)
                case Recall(loan=loan):
                    if loan.number in self._scopes:  # else it has been granted this moment, and looks itself
                        self._scopes[loan.number].cancel()
                case Tell(event=event):
                    self._listener(event)
                case _:
                    assert_never(command)
        if self._core.first is not self._first:  # the next in the queue looks after the time
            self._first = self._core.first
            if self._first is not None:
                self._waiting[self._first.number].changed.notify()
        self._changed.notify()


class _Waiting:
    """A request's place in the queue, and what came of it."""

    def __init__(self) -> None:
        self.answer: Grant | Refuse | None = None
        self.changed = Signal()

    def tell(self, answer: Grant | Refuse) -> None:
        self.answer = answer
        self.changed.notify()
