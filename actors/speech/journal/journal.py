"""The journal of a process: a queue that outlives its incarnations, and the supervised child that drains it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, islice

import anyio
import msgspec

from actors.speech.errors import ServerBusy, SpeechError
from actors.speech.journal.port import Claim, Durability, Fenced, Forget, JournalStore, Open, Operation, Outcome, Sweep
from actors.speech.journal.reports import BatchCommitted, BatchFailed, Listener
from supervisor.incarnation import Incarnation
from supervisor.policy import Backoff
from supervisor.spec import Child

Then = Callable[[Outcome], None]

MOST_WAITING = 10_000  # operations
BATCH = 2_000  # operations in one commit: some 50 ms of work, so that nobody waits much longer than for a small one
SWEEP_SECONDS = 60.0
CLOSE_SECONDS = 1.0
SHUTDOWN_SECONDS = 5.0  # for what was submitted last
BUSY_RETRY = 5.0  # seconds
BACKOFF = Backoff(initial=0.1, factor=2.0, maximum=5.0)


def _ignore(_: Outcome) -> None:
    """Nobody asked."""


class _Waiting(msgspec.Struct, frozen=True):
    operation: Operation
    then: Then


class Journal:
    """What sessions write to and resume from. Every operation is answered once as long as the process lives.

    What has piled up while the store was busy is committed together. A batch that fails, or whose incarnation dies, is
    kept and committed again, in the same order: it may be carried out twice.

    Args:
        store: where it is kept; nobody else may use it.
        most_waiting: operations that may wait before new sessions are refused.
        random: numbers in [0, 1), for pauses.
        listener: told of each batch; must be quick, and must not raise.

    Attributes:
        trouble: why nothing can be committed now; None: it can, as far as is known.
    """

    def __init__(
        self,
        store: JournalStore,
        *,
        most_waiting: int = MOST_WAITING,
        random: Callable[[], float] = random.random,
        listener: Listener = lambda report: None,
    ) -> None:
        self.trouble: SpeechError | None = None
        self._store = store
        self._most_waiting = most_waiting
        self._random = random
        self._listener = listener
        self._waiting: deque[_Waiting] = deque()
        self._committing = 0  # of them, from the first on
        self._woken = anyio.Event()
        self._stopping = False
        self._ever_open = False
        self._open = False
        self._next_sweep = 0.0

    @property
    def durability(self) -> Durability:
        """What a committed entry survives."""
        return self._store.durability

    @property
    def name(self) -> str:
        """Of the kind of store."""
        return self._store.name

    def __len__(self) -> int:
        """Operations that wait for their answers."""
        return len(self._waiting)

    def child(self) -> Child:
        """The drain, as a child of the application's tree; to be started before the sessions."""
        return Child("journal", self.run, shutdown=SHUTDOWN_SECONDS)

    def submit(self, operation: Operation, then: Then) -> None:
        """Have an operation carried out after all that were submitted before. Never waits.

        Args:
            then: called once with the outcome, from the event loop. It must not raise.

        Raises:
            ServerBusy: an `Open` or `Claim`, while too much waits or nothing can be committed. What sessions that live
                need always finds room: each has an `Append` and a `Renew` outstanding, no more.
        """
        if isinstance(operation, Open | Claim):
            self._admit()
        self._waiting.append(_Waiting(operation, then))
        self._woken.set()

    async def perform(self, operation: Operation, abandoned: Then = _ignore) -> Outcome:
        """Have an operation carried out and wait for its outcome. Cancelled, it is not, unless it is just being done.

        Args:
            abandoned: called with the outcome then.

        Raises:
            ServerBusy: as from `submit`.
        """
        answered = anyio.Event()
        outcomes: list[Outcome] = []
        waits = True

        def then(outcome: Outcome) -> None:
            if waits:
                outcomes.append(outcome)
                answered.set()
            else:
                abandoned(outcome)

        self.submit(operation, then)
        waiting = self._waiting[-1]
        try:
            await answered.wait()
        except BaseException:
            waits = False
            if outcomes:  # it came in the very moment of the cancellation
                abandoned(outcomes[0])
            else:
                self._withdraw(waiting)
            raise
        return outcomes[0]

    async def run(self, *, task_status: Incarnation) -> None:
        """Commit what is submitted, until asked to stop; then what is left, if the store takes it in time.

        Raises:
            JournalUnavailable, JournalFull, JournalDamaged: the store could not be opened when the process began. Once
                it could, it is tried for as long as it takes.
        """
        self._stopping = self._open = False
        if not self._ever_open:
            await self._store.open()
            self._ever_open = self._open = True
        task_status.on_stop(self._stop)
        task_status.started()
        try:
            await self._drain(task_status)
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._store.close()

    def _withdraw(self, waiting: _Waiting) -> None:
        """Leave out an operation that nobody waits for any more, unless it is being committed."""
        if any(each is waiting for each in islice(self._waiting, self._committing, None)):
            self._waiting.remove(waiting)

    def _admit(self) -> None:
        if self.trouble is not None:
            raise ServerBusy("the journal cannot be written", retry_after=BUSY_RETRY) from self.trouble
        if len(self._waiting) >= self._most_waiting:
            raise ServerBusy("too much waits for the journal", retry_after=BUSY_RETRY)

    def _stop(self) -> None:
        self._stopping = True
        self._woken.set()

    async def _drain(self, task_status: Incarnation) -> None:
        self._put_off_sweep()
        while not self._stopping or self._waiting:
            if not self._waiting:
                await self._sleep_until(self._next_sweep)
            if anyio.current_time() >= self._next_sweep:
                self._put_off_sweep()
                self.submit(Sweep(), _ignore)
            if self._waiting:
                batch = self._batch()
                self._committing = len(batch)  # until it is answered, whichever child does that
                self._answer(await self._committed(batch, task_status))
                self._committing = 0

    def _put_off_sweep(self) -> None:
        self._next_sweep = anyio.current_time() + SWEEP_SECONDS

    async def _sleep_until(self, when: float) -> None:
        self._woken = anyio.Event()
        with anyio.move_on_after(when - anyio.current_time()):
            await self._woken.wait()

    def _batch(self) -> list[Operation]:
        waiting = [each.operation for each in islice(self._waiting, BATCH)]
        return waiting[: together(waiting)]

    async def _committed(self, operations: list[Operation], task_status: Incarnation) -> list[Outcome]:
        for attempt in count():
            try:
                if not self._open:
                    await self._store.open()
                    self._open = True
                began = anyio.current_time()
                outcomes = await self._store.commit(operations)
            except SpeechError as error:
                self._open = False
                self._listener(BatchFailed(error.code))
                self._fail(error, task_status)
                await anyio.sleep(BACKOFF.delay(attempt, self._random))
            else:
                fenced = sum(isinstance(outcome, Fenced) for outcome in outcomes)
                self._listener(BatchCommitted(anyio.current_time() - began, len(operations), fenced))
                if self.trouble is not None:
                    self.trouble = None
                    self._put_off_sweep()  # after a long outage the sessions that live must be renewed first
                return outcomes
        raise AssertionError("it tries for ever")

    def _fail(self, error: SpeechError, task_status: Incarnation) -> None:
        if self.trouble is None or self.trouble.code != error.code:
            task_status.report(error)  # once, not with every attempt
        self.trouble = error

    def _answer(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:  # taken off first: whatever `then` does, it is called once
            self._waiting.popleft().then(outcome)


def together(operations: Sequence[Operation]) -> int:
    """How many of the operations, from the first on, may be one commit.

    What gives a session to another owner, or ends it, is committed apart from everything else that is asked about it.
    If the answer were lost and all of it asked again, a former owner would be fenced for what it had written.
    """
    seen: set[str] = set()
    changed_hands: set[str] = set()
    for number, operation in enumerate(operations):
        if isinstance(operation, Sweep):
            continue
        session_id = operation.session_id
        changes_hands = isinstance(operation, Open | Claim | Forget)
        if session_id in (seen if changes_hands else changed_hands):
            return number
        seen.add(session_id)
        if changes_hands:
            changed_hands.add(session_id)
    return len(operations)
