"""The recogniser of a session: pulls audio from the log, pushes it into a backend's stream, reports the results."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import msgspec
from anyio.abc import TaskGroup

from actors.address import Ref
from actors.speech.audio_log import AudioGone, Cursor
from actors.speech.messages import Heard, NoBackendFree, SessionMessage, StreamDrained, StreamOpened
from actors.speech.pool import BackendPool
from actors.speech.ports import RecognitionBackend, RecognitionConfig, RecognitionStream
from actors.speech.record import SessionRecord
from supervisor.incarnation import Incarnation

CHUNK_SECONDS = 0.1  # audio in one message to the backend; what Riva's low-latency models work in
CATCHING_UP_SECONDS = 0.5  # audio that has piled up beyond this is sent in paced chunks
# Of the log: a stream that leaves so much of it unsettled, for as long as that lasts, is ended and its last words
# taken; in the middle of speech only when the log is all but full.
ROTATE, ROTATE_IN_SPEECH = 0.75, 0.9

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
        """Recognise until all audio was heard.

        Raises:
            SpeechError: what ended the stream, as the backend's edge translated it.
        """
        task_status.started()
        while not await self._one_stream():
            pass

    async def _one_stream(self) -> bool:
        """True when everything was heard; False when only this stream's time was up."""
        record, number = self._record, next(_numbers)
        async with (
            self._pool.lease(on_wait=self._waiting) as backend,
            backend.open(_with_progress(record.config), label=f"{record.session_id}/{number}") as stream,
        ):
            opened = StreamOpened(number=number, tier=backend.tier, degraded=self._pool.degraded(backend))
            cursor = Cursor(record.log, await self._session.ask(opened))
            async with _task_group() as tasks:
                tasks.start_soon(self._send, backend, stream, cursor)
                async for result in stream:
                    await self._session.send(Heard(number, result))
        await self._session.send(StreamDrained(number, cursor.position))
        return cursor.at_end

    async def _send(self, backend: RecognitionBackend, stream: RecognitionStream, cursor: Cursor) -> None:
        rate = self._record.config.sample_rate
        patience = _Patience(self._record)
        while not (cursor.at_end or patience.is_over(cursor.position)):
            try:
                pcm = cursor.read(int(CHUNK_SECONDS * rate))
            except AudioGone:
                break  # the log could not hold it; the next stream begins behind the gap
            if pcm:
                await stream.send(pcm)
                if cursor.behind > CATCHING_UP_SECONDS * rate:
                    await anyio.sleep(_pause(backend.catch_up))
            elif cursor.take_mark():
                await stream.force_final()
            else:
                with anyio.move_on_after(patience.pause):
                    await cursor.wait()
        await stream.finish()

    def _waiting(self) -> None:
        self._session.tell(NoBackendFree(), control=True)


class _Patience:
    """How long a stream may go on without settling anything.

    Both count: audio, since a stream may be in a silence nobody reports, and time, since audio that is sent faster
    than real time is recognised later.
    """

    def __init__(self, record: SessionRecord) -> None:
        self._record = record
        self._log = record.log
        self._confirmed = -1
        self._since = 0.0

    def is_over(self, position: int) -> bool:
        """Whether the stream that has been sent audio up to `position` should end."""
        confirmed, now = self._record.timeline.confirmed, anyio.current_time()
        if confirmed != self._confirmed:
            self._confirmed, self._since = confirmed, now
        most = self._log.capacity * (ROTATE if self._record.speaking_since is None else ROTATE_IN_SPEECH)
        return position - confirmed > most and now - self._since > most / self._log.sample_rate

    @property
    def pause(self) -> float:
        """Seconds after which to ask again: a full log gets no audio, so none would wake the reader."""
        return 1.0 if self._log.full else float("inf")


def _with_progress(config: RecognitionConfig) -> RecognitionConfig:
    """What the session itself needs to know what is settled, whatever its client wants to see."""
    return msgspec.structs.replace(config, interim_results=True, word_times=True)


def _pause(catch_up: float) -> float:
    """Seconds between chunks, jittered so that a thousand replays after one failure do not march in step."""
    return CHUNK_SECONDS / catch_up * random.uniform(0.8, 1.2)


@asynccontextmanager
async def _task_group() -> AsyncGenerator[TaskGroup, None]:
    """A task group whose single error comes out bare: policies look at its code."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:  # both halves of a stream may fail of one cause; an interrupt goes first
        raise min(group.exceptions, key=lambda error: isinstance(error, Exception)) from None
