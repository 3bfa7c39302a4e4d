"""One client's connection: frames in, frames out, and an end that the client can understand."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, NoReturn, TypeVar, assert_never

import anyio
from anyio.abc import TaskGroup
from websockets.exceptions import ConnectionClosed

from actors.speech.catalogue import UNKNOWN
from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import (
    BY_CODE,
    ClientDisconnected,
    ClientTimeout,
    GoingAway,
    SlowConsumer,
    SpeechError,
    UnexpectedError,
)
from actors.speech.injection import Faults, Opportunity
from actors.speech.messages import (
    Ack,
    Acknowledge,
    Done,
    Finalize,
    Gap,
    Problem,
    Ready,
    Stop,
    Transcript,
)
from actors.speech.signal import Signal
from transport.admission import NOBODY, Caller
from transport.audio.formats import AudioFormat
from transport.limits.accounts import Pace
from transport.sessions import SessionLink, Sessions
from transport.sockets import Socket
from transport.wire.intake import Intake, Open, Refuse, Samples, Step
from transport.wire.port import AnswerDue, Await, Codec, Failed, Limits, Opened, Remind, Reply, ServerEvent

_T = TypeVar("_T")
_MUCH = 64 * 1024  # bytes of audio that need not wait for more, though it is here
_WIDEST = 2  # bytes that the session takes for one of the client's, at most: G.711 has a sample in each
_NORMAL = 1000  # close code: everything was delivered
_IN_ORDER = (1000, 1001, 1005)  # … with which clients leave: done, going away, and none at all


class _Ending(NamedTuple):
    """How a connection ends: the close code, and what is said before it."""

    code: int
    problem: Problem | None = None
    is_done: bool = False  # all was said


class Connection:
    """Moves the frames of one client: this object's own task reads, one more writes once the session is open.

    Whatever ends it first (the session, the client, a refusal, `check`, `drain`) ends it once: the session is
    told at once, then the client gets its JSON error and the close.
    """

    def __init__(
        self,
        socket: Socket,
        session_id: str,
        sessions: Sessions,
        codec: Codec,
        limits: Limits,
        errors: ErrorHandler,
        *,
        caller: Caller = NOBODY,
        pace: Pace | None = None,
        on_begin: Callable[[], None] = lambda: None,
        close_timeout: float,
        write_timeout: float,
        faults: Faults | None = None,
    ) -> None:
        self.session_id = session_id
        self._socket = socket
        self._sessions = sessions
        self._codec = codec
        self._limits = limits
        self._errors = errors
        self._caller = caller
        self._pace = pace
        self._second = 0  # bytes that last for one, of what the session takes
        self._on_begin = on_begin
        self._close_timeout = close_timeout
        self._write_timeout = write_timeout
        self._intake = Intake(codec, limits, None if faults is None else lambda: self._fault(Opportunity.AUDIO))
        self._faults = faults
        self._receive = self._intake.receive if faults is None else self._receive_by_chance
        self._link: SessionLink | None = None
        self._audio_format = AudioFormat()
        self._held_up = False  # the session takes no audio just now, so the client may well be silent
        self._listening = False  # the reading task waits for a message, and has nothing else in hand
        self._ahead: list[Step] | None = None  # what is to be done about that message, if it was looked at already
        self._idle = False  # the writing task waits for an event, and has nothing else in hand
        self._stopped = False  # the client has said it will be silent
        self._unconfirmed = False  # the client has resumed, and it is not known yet whether it knows
        self._draining = False
        self._drain_seconds = 0.0
        self._news = Signal()  # the client was sent something
        self._refs: dict[str, str] = {}
        self._ending: _Ending | None = None
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup

    async def run(self) -> None:
        """Serve the client until one side has enough. Raises nothing but cancellation."""
        self._socket.explain = self._explain
        self._socket.take = self._take
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    await self._until_end(self._read)
        finally:
            if self._link is not None:
                self._link.disconnected()
        assert self._ending is not None
        await self._part(self._ending)

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self._socket.unsent

    def check(self, now: float) -> None:
        """End the connection if its client has sent or read nothing for too long. `now`: the loop's clock."""
        if self._held_up:
            self._socket.heard_at = now
        if self._socket.stuck_for(now) > self._write_timeout:
            self.refuse(SlowConsumer(f"nothing was read for {self._write_timeout:g} s"))
        elif not self._stopped and now - self._socket.heard_at > self._limits.idle_timeout:
            self.refuse(ClientTimeout(f"nothing was received for {self._limits.idle_timeout:g} s"))

    def drain(self, seconds: float) -> None:
        """Take no more audio; the connection ends when the words for what was heard are delivered, or by then."""
        self._draining = True
        self._drain_seconds = seconds
        if self._link is None:
            self.go_away()
        else:
            self._link.drain(seconds)

    def go_away(self) -> None:
        """End the connection because the server stops."""
        self.refuse(GoingAway())

    def refuse(self, error: SpeechError) -> None:
        """End the connection for an error, which its client is told."""
        if self._ending is None:
            self._end(self._refusal(error))

    # ---- reading

    async def _read(self) -> _Ending:
        steps = self._intake.connected()
        heard = bytearray()  # what came in one go is handed over in one go
        while True:
            for step in steps:
                if isinstance(step, Samples):
                    heard += step.pcm
                    continue
                if heard:
                    await self._hand_over(heard)
                if (ending := await self._carry_out(step)) is not None:
                    return ending
            if heard and (len(heard) > _MUCH or not self._socket.has_more):
                await self._hand_over(heard)
            self._listening = True
            try:
                message = await self._socket.recv()
            finally:
                self._listening = False
            if self._unconfirmed:
                self._confirm()
            ahead, self._ahead = self._ahead, None
            steps = self._receive(message) if ahead is None else ahead

    def _take(self, messages: Sequence[bytes]) -> int:
        """Hand over audio where it arrives, without waking the reading task; how many messages need it no more.

        Only what the session takes at once and nothing else follows from; all that is not so simple is for the task.
        """
        link = self._link
        if not self._listening or link is None or self._ending is not None or self._draining or self._unconfirmed:
            return 0
        size = _WIDEST * sum(map(len, messages))
        if self._faults is not None or not link.has_room(size):
            return 0
        if self._pace is not None and not self._pace.covers(size / self._second):
            return 0
        try:
            pcm, taken = self._samples(messages)
            if pcm:
                link.audio_at_once(pcm)
                if self._pace is not None:
                    self._pace.spend(len(pcm) / self._second)
        except Exception as defect:  # as in `_until_end`: else it would end in the event loop
            self._end(self._defect(defect))
            return len(messages)
        return taken

    def _samples(self, messages: Sequence[bytes]) -> tuple[bytes, int]:
        """Those of the messages up to the first one from which more follows, and how many messages these are."""
        heard, taken = list[bytes](), 0
        for message in messages:
            steps = self._intake.receive(message)
            samples = [step.pcm for step in steps if isinstance(step, Samples)]
            if len(samples) < len(steps):
                self._ahead = steps
                break
            heard += samples
            taken += 1
        return b"".join(heard), taken

    def _receive_by_chance(self, message: str | bytes) -> list[Step]:
        """What follows from a message, if no fault befalls it."""
        match self._fault(Opportunity.MESSAGE):
            case None:
                return self._intake.receive(message)
            case ClientDisconnected():
                self._socket.abort()
                return []
            case error:
                return [Refuse(error, fatal=False)]

    def _fault(self, opportunity: Opportunity) -> SpeechError | None:
        return None if self._faults is None else self._faults.draw(opportunity, self.session_id)

    async def _hand_over(self, heard: bytearray) -> None:
        pcm = bytes(heard)
        heard.clear()
        if self._link is not None and not self._draining:
            self._held_up = True  # as `_taken` does
            try:
                await self._link.audio(pcm)
            finally:
                self._held_up = False
            if self._pace is not None and (seconds := self._pace.spend(len(pcm) / self._second)):
                await self._taken(anyio.sleep(seconds))

    async def _taken(self, work: Awaitable[_T]) -> _T:
        """Wait until the session has taken something in; meanwhile the client is not listened to."""
        self._held_up = True
        try:
            return await work
        finally:
            self._held_up = False

    async def _carry_out(self, step: Step) -> _Ending | None:
        match step:
            case Open():
                await self._open(step)
            case Samples(pcm):
                await self._hand_over(bytearray(pcm))
            case Acknowledge(seq):
                if self._link is not None:
                    self._link.acknowledge(seq)
            case Finalize():
                if self._link is not None:
                    await self._taken(self._link.finalize())
            case Stop():
                self._stopped = True
                if self._link is not None:
                    await self._taken(self._link.stop())
            case Reply(text):
                await self._socket.send(text)
            case Await(seconds):
                self._socket.gather(0)  # the client does, with what it says next, and so must not be left waiting
                with anyio.move_on_after(seconds):
                    await self._news.wait()
                await self._send(AnswerDue())
            case Remind(seconds):
                self._tasks.start_soon(self._until_end, partial(self._remind, seconds))
            case Refuse(error, fatal):
                if fatal:
                    return self._refusal(error)
                self._report(error)
                await self._send(self._failed(_problem(error, fatal=False)))
            case _:
                assert_never(step)
        return None

    async def _open(self, step: Open) -> None:
        self._audio_format = step.audio
        self._socket.gather(int(self._limits.gather * step.audio.sample_rate) * step.audio.frame_bytes)
        self._second = 2 * step.config.sample_rate
        self._on_begin()
        if (error := self._fault(Opportunity.SESSION)) is not None:
            raise error
        if step.resume is None:
            opening = self._sessions.open(
                self.session_id, step.config, user=self._caller.user, resumable=self._codec.resumable
            )
            self._link = await self._taken(opening)
        else:
            resuming = self._sessions.resume(self.session_id, step.resume, step.config, user=self._caller.user)
            self._link = await self._taken(resuming)
            self._unconfirmed = True
        self._tasks.start_soon(self._until_end, self._write)
        if self._draining:
            self._link.drain(self._drain_seconds)

    def _confirm(self) -> None:
        self._unconfirmed = False
        if self._link is not None:
            self._link.confirmed()

    # ---- writing

    async def _write(self) -> _Ending:
        link, codec = self._link, self._codec
        assert link is not None
        link.offer(self._say)
        while True:
            self._idle = True
            try:
                event = await link.next_event()
            finally:
                self._idle = False
            match event:
                case Ready():
                    await self._send(Opened(event, self._audio_format, self._limits))
                case Problem():
                    if not event.known:
                        self._report(BY_CODE[event.code](event.detail))
                    if event.fatal:
                        return _Ending(codec.close_code(event.code), event)
                    await self._send(self._failed(event))
                case Done():
                    await self._send(event)
                    return _Ending(_NORMAL, is_done=True)
                case _:
                    await self._send(event)
                    if not codec.resumable and isinstance(event, Transcript | Gap) and event.seq:
                        link.acknowledge(event.seq)
            self._news.notify()

    def _say(self, event: Transcript | Ack) -> bool:
        """Tell an interim or an ack where it arises, without waking the writing task; False: that has to."""
        if not self._idle or self._ending is not None or not self._socket.is_clear:
            return False
        try:
            for text in self._codec.encode(event):
                self._socket.send_at_once(text)
            self._news.notify()
        except Exception as defect:  # as in `_until_end`: it is not the session's
            self._end(self._defect(defect))
        return True

    async def _remind(self, seconds: float) -> NoReturn:
        while True:
            await anyio.sleep(seconds)
            await self._send(AnswerDue())

    async def _send(self, event: ServerEvent) -> None:
        for text in self._codec.encode(event):
            await self._socket.send(text)

    # ---- the end

    async def _until_end(self, work: Callable[[], Awaitable[_Ending]]) -> None:
        try:
            ending = await work()
        except ConnectionClosed as exc:
            if self._ending is None and not self._is_leave(exc):  # else it was told already why
                self._report(ClientDisconnected(str(exc)))
            ending = _Ending(_NORMAL)
        except SpeechError as error:
            ending = self._refusal(error)
        except Exception as defect:
            ending = self._defect(defect)
        self._end(ending)

    def _defect(self, defect: Exception) -> _Ending:
        """The end for an error of ours or the session's: it ends this connection, and must not end others with it."""
        self._report(defect)
        unexpected = _problem(UnexpectedError(), fatal=True)
        return _Ending(self._codec.close_code(unexpected.code), unexpected)

    def _is_leave(self, closed: ConnectionClosed) -> bool:
        """Whether that is how clients end a session, in protocols which know no other end."""
        return not self._codec.resumable and closed.rcvd is not None and closed.rcvd.code in _IN_ORDER

    def _refusal(self, error: SpeechError) -> _Ending:
        self._report(error)
        return _Ending(self._codec.close_code(error.code), _problem(error, fatal=True))

    def _end(self, ending: _Ending) -> None:
        if self._ending is None:
            self._ending = ending
            self._scope.cancel()

    def _explain(self, error: SpeechError) -> Sequence[str]:
        """For a close that is decided elsewhere, by the library for one: what to say first. Ends our side too."""
        self._end(_Ending(_NORMAL))
        self._report(error)
        return self._codec.encode(self._failed(_problem(error, fatal=True)))

    async def _part(self, ending: _Ending) -> None:
        with anyio.move_on_after(self._close_timeout):
            try:
                if ending.problem is not None:
                    await self._send(self._failed(ending.problem))
                await self._socket.hang_up(ending.code)
            except ConnectionClosed:
                return
            if ending.is_done and self._link is not None and self._socket.closed_by_both:
                self._link.delivered()
        self._socket.abort()

    def _report(self, error: Exception) -> None:
        code = error.code if isinstance(error, SpeechError) else UNKNOWN.code
        self._errors.report(
            error, ErrorContext(session_id=self.session_id, user_id=self._caller.user, ref=self._ref(code))
        )

    def _failed(self, problem: Problem) -> Failed:
        return Failed(problem, self._ref(problem.code))

    def _ref(self, code: str) -> str:
        """What the client may quote: one for each kind of error on a connection; the log has it too."""
        return self._refs.setdefault(code, secrets.token_hex(4))


def _problem(error: SpeechError, *, fatal: bool) -> Problem:
    return Problem(code=error.code, detail=error.detail, retry_after=error.retry_after, fatal=fatal)
