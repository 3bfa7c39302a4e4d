"""The recogniser of a session: hears the log's audio by one backend's stream after another, and reports the results."""

from __future__ import annotations

import itertools
from contextlib import suppress

import anyio
import msgspec
from anyio.abc import TaskGroup

from actors.address import Ref
from actors.errors import ActorGone
from actors.speech.audio_log import Cursor
from actors.speech.errors import SpeechError
from actors.speech.listening import Listening, Outcome, task_group
from actors.speech.messages import NoBackendFree, SessionMessage, StreamOpened
from actors.speech.pool import BackendPool, Elsewhere
from actors.speech.ports import RecognitionConfig
from actors.speech.record import SessionRecord
from supervisor.incarnation import Incarnation
from supervisor.timers import Timers

MOVE_RETRY = 5.0  # seconds after which a stream that could not be replaced is tried to be replaced again

_numbers = itertools.count()


class Recogniser:
    """A supervised child that lives as long as its backend's streams do. It holds nothing that must survive it.

    A failing stream is this child's crash: its supervisor decides when the next incarnation begins, and that one
    starts reading where the session's confirmed words end.
    """

    def __init__(self, record: SessionRecord, session: Ref[SessionMessage], pool: BackendPool) -> None:
        self._record = record
        self._session = session
        self._pool = pool

    async def run(self, *, task_status: Incarnation) -> None:
        """Recognise until all audio was heard, or the session is over.

        Raises:
            SpeechError: what ended the stream, as the backend's edge translated it.
        """
        task_status.started()
        with suppress(ActorGone):  # the session ends, as when its client has gone, and we with it
            async with task_group() as tasks:
                await _Life(self._record, self._session, self._pool, task_status.timers, tasks).listen()


class _Life:
    """The streams of one incarnation.

    A stream that should be replaced (it is old, or the pool wants it elsewhere) goes on until the next one is open and
    has asked the session where to begin. So a move costs no time and risks nothing: if the next stream cannot be
    opened, the old one never stopped.
    """

    def __init__(
        self, record: SessionRecord, session: Ref[SessionMessage], pool: BackendPool, timers: Timers, tasks: TaskGroup
    ) -> None:
        self._record = record
        self._session = session
        self._pool = pool
        self._timers = timers
        self._tasks = tasks
        self._moving = False  # a stream is being opened beside the present one …
        self._opening: anyio.CancelScope  # … in here
        self._move_from = 0.0  # not before
        self._cut_at = 0  # where the stream before was given silence in the middle of a sound

    async def listen(self, before: Listening | None = None) -> None:
        """Hear stream after stream until all was heard, or one that replaces the present one has taken over."""
        outcome = await self._hear(before)
        while outcome is Outcome.NEXT and not self._moving:
            outcome = await self._hear(None)
        if outcome is Outcome.ALL_HEARD:
            self._tasks.cancel_scope.cancel()

    async def _hear(self, before: Listening | None) -> Outcome:
        record, number = self._record, next(_numbers)
        listening: Listening | None = None
        try:
            async with (
                self._pool.lease(record.session_id, record.config, on_wait=self._waiting) as lease,
                lease.backend.open(_with_progress(record.config), label=f"{record.session_id}/{number}") as stream,
            ):
                if before is not None:
                    before.retire()
                    self._moving = False
                degraded = self._pool.degraded(lease.backend)
                opened = StreamOpened(
                    number=number, tier=lease.backend.tier, degraded=degraded, endpoint=lease.backend.name
                )
                position = await self._session.ask(opened)
                cursor = Cursor(record.log, position)  # the log as of now: the session may have gone on to another
                listening = Listening(
                    record,
                    self._session,
                    lease,
                    stream,
                    number,
                    cursor,
                    timers=self._timers,
                    on_move=self._move,
                    waits_until=self._cut_at,
                )
                outcome = await listening.run()
                self._cut_at = listening.cut_at
                return outcome
        except SpeechError:
            if listening is not None and listening.retired:
                return Outcome.RETIRED  # nobody waits for what it had to say
            raise
        except Elsewhere:
            if listening is None:
                return Outcome.NEXT
            return listening.gives_way()

    def _move(self, present: Listening) -> None:
        if not self._moving and anyio.current_time() >= self._move_from:
            self._moving = True
            self._tasks.start_soon(self._replace, present)

    async def _replace(self, present: Listening) -> None:
        with anyio.CancelScope() as self._opening:
            try:
                await self.listen(present)
            except SpeechError:
                if present.retired:
                    raise
        if present.retired:
            return
        self._moving = False
        self._move_from = anyio.current_time() + MOVE_RETRY
        if present.outcome is Outcome.NEXT:  # its time was up meanwhile, and it trusted in us
            await self.listen()

    def _waiting(self) -> None:
        if self._moving:
            self._opening.cancel()
        else:
            self._session.tell(NoBackendFree(), control=True)


def _with_progress(config: RecognitionConfig) -> RecognitionConfig:
    """What the session itself needs to know what is settled, whatever its client wants to see."""
    return msgspec.structs.replace(config, interim_results=True, word_times=True)
