"""One stream of a recogniser at work: the log's audio into it, its results out of it, until its time is up."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto

import anyio
from anyio.abc import TaskGroup

from actors.address import Ref
from actors.speech.audio_log import SAMPLE_BYTES, AudioGone, Cursor
from actors.speech.errors import BackendStalled
from actors.speech.hearing import Hearing
from actors.speech.loudness import is_audible
from actors.speech.messages import Heard, SessionMessage, StreamDrained
from actors.speech.pool import Lease
from actors.speech.ports import RecognitionStream
from actors.speech.record import SessionRecord
from actors.speech.signal import Latch
from supervisor.timers import Timer, Timers

CHUNK_SECONDS = 0.1  # audio in one message, at most, to a backend that takes any piece at once
# How often audio that waits for the rest of a backend's step is looked at. What has stood still since the last look is
# sent: the client pauses, and what it said last would be missing from the words shown.
HELD_SECONDS = 0.25
CATCHING_UP_SECONDS = 0.5  # … but what has piled up is sent in messages of so much, and paced, as long as there is more
FIRST_SECONDS = 0.3  # in the first of these: what a crowd waits for is that a backend has heard so much of each …
LEADING_SECONDS = 2.0  # … and the silence before it, of which there is nothing to show: so much of it at most
# Where a hundred streams take over at once, each is to show words before others are sent their second message; but
# some backends work in longer steps, or answer words only.
FIRST_ANSWER_SECONDS = 0.25
# Of the log: a stream that leaves so much of it unsettled, for as long as that lasts, is ended and its last words
# taken; in the middle of speech only when the log is all but full.
ROTATE, ROTATE_IN_SPEECH = 0.75, 0.9
LONGEST = 0.5  # of the log: an utterance that long is ended by force, so that the log stays bounded
LOOK_SECONDS = 1.0  # how often a stream is looked at that gets no audio
MOST_UNENDED = 2  # streams that did not end and had not heard a session's last sound
AGE_SPREAD = 0.1  # streams that were opened together are not replaced together


class Outcome(Enum):
    """How a stream came to its end."""

    ALL_HEARD = auto()
    NEXT = auto()  # its time was up: the next stream goes on where the last final ended
    RETIRED = auto()  # the next stream has taken over already


class Listening:
    """Feeds one open stream and reports its results, as `Hearing` decides.

    Args:
        cursor: stands where the stream begins.
        on_move: called when the stream should be replaced, which it may be as long as it runs (`retire`).
        waits_until: see `Hearing`.
    """

    def __init__(
        self,
        record: SessionRecord,
        session: Ref[SessionMessage],
        lease: Lease,
        stream: RecognitionStream,
        number: int,
        cursor: Cursor,
        *,
        timers: Timers,
        on_move: Callable[[Listening], None],
        waits_until: int = 0,
    ) -> None:
        self._now = timers.now
        now = self._now()
        self.retired = False
        self.outcome: Outcome | None = None  # while it runs
        self._record = record
        self._rate = record.config.sample_rate
        self._session = session
        self._lease = lease
        self._stream = stream
        self._number = number
        self._cursor = cursor
        self._on_move = on_move
        longest = int(LONGEST * cursor.log.capacity)
        self._hearing = Hearing(number, cursor.position, self._rate, longest=longest, now=now, waits_until=waits_until)
        self._patience = _Patience(record)
        self._step = int((lease.backend.step or CHUNK_SECONDS) * self._rate)
        self._gathers = lease.backend.step > 0
        self._looked_at = -1  # what had been sent by the last look
        self._overdue = False  # what waits for the rest of a step is to be sent without it
        self._age = lease.backend.max_stream_age * random.uniform(1 - AGE_SPREAD, 1)
        self._opened_at = now
        self._finished = False
        self._answered = Latch()
        self._timers = timers
        self._timer: Timer | None = None
        self._tasks: TaskGroup  # while it runs

    async def run(self) -> Outcome:
        """Listen to the end.

        Raises:
            SpeechError: what ended the stream instead.
        """
        try:
            async with task_group() as self._tasks:
                self._look()
                self._tasks.start_soon(self._send)
                await self._read()
        finally:
            if self._timer is not None:
                self._timer.cancel()
        assert self.outcome is not None
        return self.outcome

    def retire(self) -> None:
        """Another stream has taken over: end in order, but report nothing more."""
        self.retired = True
        self._cursor.log.changed.notify()

    @property
    def cut_at(self) -> int:
        """Where silence has cut a sound that the next stream is to hear whole; 0: nowhere."""
        return self._hearing.cut_at or 0

    def gives_way(self) -> Outcome:
        """The backend will not go on with it. Another stream will, or does already."""
        self.outcome = Outcome.RETIRED if self.retired else Outcome.NEXT
        return self.outcome

    # ---- audio in

    async def _send(self) -> None:
        with suppress(AudioGone):  # the log could not hold it; the next stream begins behind the gap
            await self._feed()
        self._finished = True
        self._hearing.finished(early=not self._cursor.at_end)
        await self._stream.finish()

    async def _feed(self) -> None:
        stream, hearing, cursor, log = self._stream, self._hearing, self._cursor, self._cursor.log
        most, chunk = int(CATCHING_UP_SECONDS * self._rate), self._first()
        while not self._is_at_end():
            missing = hearing.missing(self._step)
            if hearing.force_due:
                hearing.forced(for_length=True)
                await stream.force_final()
            elif self._is_due(missing) and (pcm := cursor.read(max(chunk, missing))):
                self._overdue = False
                if hearing.cut_at is not None:
                    self._end(Outcome.NEXT)  # it hears the sound whole
                    return
                hearing.audio(pcm, self._now())
                await stream.send(pcm)
                chunk = most if cursor.behind > most else 0
                if chunk:
                    await self._pause(len(pcm) // SAMPLE_BYTES)
            elif cursor.take_mark():
                hearing.forced(for_length=False)
                await stream.force_final()
            elif not (cursor.behind or log.held or log.awaited) and (silence := hearing.silence(self._now())):
                await stream.send(silence)
                await self._rest()
            else:
                await cursor.wait(missing if self._gathers else 1)

    def _first(self) -> int:
        """Samples of the first message."""
        piece, start, log = int(CHUNK_SECONDS * self._rate), self._cursor.position, self._cursor.log
        sound, end = start, min(log.end, start + int(LEADING_SECONDS * self._rate))
        while sound < end and not is_audible(log.read(sound, piece)):
            sound += piece
        return sound - start + int(FIRST_SECONDS * self._rate)

    def _is_due(self, missing: int) -> bool:
        """Whether what there is, if anything, is sent now, though the backend's step may lack some samples."""
        cursor = self._cursor
        return not self._gathers or cursor.behind >= missing or self._overdue or cursor.log.held or cursor.is_bounded

    def _is_at_end(self) -> bool:
        return self.retired or self._cursor.at_end or self._patience.is_over(self._cursor.position)

    async def _pause(self, samples: int) -> None:
        """Between messages of piled-up audio; jittered so that a thousand replays do not march in step.

        After the first one an answer is waited for instead: a crowd that takes over is as fast as its new backend.
        """
        if not self._answered.is_set:
            with anyio.move_on_after(FIRST_ANSWER_SECONDS):
                await self._answered.wait()
            if not self._hearing.speaking:
                return
        await anyio.sleep(samples / self._rate / self._lease.backend.catch_up * random.uniform(0.8, 1.2))

    async def _rest(self) -> None:
        """Nobody speaks just now."""
        now = self._now()
        await self._report_waiting(now)
        if not self._hearing.speaking and self._is_old():
            self._on_move(self)

    def _look(self) -> None:
        """Wake the sender when there is something to do without audio; and look again."""
        cursor, log, left = self._cursor, self._cursor.log, self._hearing.silence_due - self._now()
        stands, self._looked_at = self._looked_at == cursor.position, cursor.position
        self._overdue = stands and cursor.behind > 0
        if self._overdue or ((left <= 0 or log.held) and not log.awaited):
            log.changed.notify()
        wait = LOOK_SECONDS if log.awaited else min(max(left, CHUNK_SECONDS), LOOK_SECONDS)
        if self._gathers and (cursor.behind or not stands):
            wait = min(wait, HELD_SECONDS)
        self._timer = self._timers.after(wait, self._look)

    # ---- results out

    async def _read(self) -> None:
        try:
            async for result in self._stream:
                self._lease.answered()
                if not self._answered.is_set:
                    self._answered.set()
                if not self.retired:
                    now = self._now()
                    await self._report(self._hearing.heard(result, now))
                    await self._report_waiting(now)
        except BackendStalled:
            if not (self._finished and self._is_believed()):
                raise
        if self.retired:
            self.outcome = Outcome.RETIRED
            return
        while (left := self._hearing.leftover()) is not None:
            await self._report(left)
        if self.outcome is None:
            await self._session.send(StreamDrained(self._number, self._cursor.position))
            more = not self._cursor.at_end or self._record.log is not self._cursor.log or self._record.later
            self._end(Outcome.NEXT if more else Outcome.ALL_HEARD)

    def _is_believed(self) -> bool:
        """Whether the backend, which does not end its stream, has heard all. If not, another one is to hear the rest.

        One that hears a little less than all, again and again, would never come to an end.
        """
        if self._hearing.heard_all:
            return True
        self._record.unended += 1
        return self._hearing.heard_nearly_all and self._record.unended > MOST_UNENDED

    async def _report_waiting(self, now: float) -> None:
        while (heard := self._hearing.in_turn(now)) is not None:
            await self._report(heard)
        if (promoted := self._hearing.promoted(now)) is not None:
            await self._report(promoted)

    async def _report(self, heard: Heard | None) -> None:
        if heard is None or self.outcome is not None or self.retired:
            return
        await self._session.send(heard)
        if self._hearing.over:
            self._end(Outcome.NEXT)
        elif heard.result.is_final:
            self._utterance_ended()

    def _utterance_ended(self) -> None:
        if self._is_old(twice=True):
            self._end(Outcome.NEXT)
        elif self._is_old() or self._lease.should_move():
            self._on_move(self)

    def _is_old(self, *, twice: bool = False) -> bool:
        return self._now() - self._opened_at > self._age * (1 + twice)

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self._tasks.cancel_scope.cancel()


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
        confirmed = self._record.timeline.confirmed
        if confirmed != self._confirmed:
            self._confirmed, self._since = confirmed, anyio.current_time()
        most = self._log.capacity * (ROTATE if self._record.speaking_since is None else ROTATE_IN_SPEECH)
        return position - confirmed > most and anyio.current_time() - self._since > most / self._log.sample_rate


@asynccontextmanager
async def task_group() -> AsyncGenerator[TaskGroup, None]:
    """A task group whose single error comes out bare: policies look at its code."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:  # both halves of a stream may fail of one cause; an interrupt goes first
        raise min(group.exceptions, key=lambda error: isinstance(error, Exception)) from None
