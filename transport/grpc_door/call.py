"""One client's call, which is one session: requests in, events out, and an end that the client can understand."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import NamedTuple, assert_never

import anyio
import msgspec
from anyio.abc import TaskGroup

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
from actors.speech.messages import Done, Finalize, Gap, Problem, SessionEvent, Stop, Transcript
from actors.speech.ports import RecognitionConfig
from transport.admission import Caller
from transport.grpc_door.requests import Requests, Step
from transport.grpc_door.status import Status, status
from transport.limits.accounts import Pace
from transport.sessions import SessionLink, Sessions
from transport.wire.intake import Open, Samples

Tell = Callable[[SessionEvent], Awaitable[None]]
_NOBODYS = ErrorContext()


class _Ending(NamedTuple):
    """How a call ends. Without a status: all was said."""

    status: Status | None = None


class Call:
    """Moves the messages of one call: this object's own task reads, one more writes once the session is open.

    The next message is not asked for before the session has taken the last, so a client that is too fast waits, by
    gRPC's own flow control. Whatever ends the call first (the session, the client, a refusal, `check`, `drain`) ends
    it once.

    Args:
        pace: how fast its client may send; None: as fast as it likes.
        idle_timeout: seconds without a message, while one could be taken, after which the call ends.
        write_timeout: seconds that a client may leave a response unread.
    """

    def __init__(
        self,
        session_id: str,
        caller: Caller,
        sessions: Sessions,
        errors: ErrorHandler,
        *,
        pace: Pace | None = None,
        idle_timeout: float,
        write_timeout: float,
    ) -> None:
        self.session_id = session_id
        self._caller = caller
        self._sessions = sessions
        self._errors = errors
        self._pace = pace
        self._second = 0  # bytes that last for one, of what the session takes
        self._idle_timeout = idle_timeout
        self._write_timeout = write_timeout
        self._link: SessionLink | None = None
        self._heard_at = anyio.current_time()
        self._writing_since: float | None = None
        self._writing: anyio.CancelScope
        self._held_up = False  # the session takes nothing just now, so the client may well be silent
        self._stopped = False  # the client sends no more
        self._draining = False
        self._ending: _Ending | None = None
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup

    async def run(self, messages: AsyncIterator[bytes], requests: Requests, tell: Tell) -> Status | None:
        """Serve the client until one side has enough. Raises nothing but cancellation: the client has gone.

        Args:
            messages: as they come.
            requests: what they mean.
            tell: gives the client an event.

        Returns:
            what to end the call with; None: all was said.
        """
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    await self._until_end(partial(self._read, messages, requests, tell))
        finally:
            if self._link is not None:
                self._link.disconnected()
            if self._ending is None:
                self._report(ClientDisconnected("it cancelled its call, or is gone"))
        assert self._ending is not None
        return self._ending.status

    def check(self, now: float) -> None:
        """End the call if its client has sent or read nothing for too long. `now`: the loop's clock."""
        if self._held_up:
            self._heard_at = now
        if self._writing_since is not None and now - self._writing_since > self._write_timeout:
            self._writing.cancel()
        elif not self._stopped and now - self._heard_at > self._idle_timeout:
            self._refuse(ClientTimeout(f"nothing was received for {self._idle_timeout:g} s"))

    def drain(self, seconds: float) -> None:
        """Take no more audio; the call ends when the words for what was heard are delivered, or by then.

        A client that has sent all it has is given the words for all of it, if there is the time.
        """
        if self._link is None:
            self.go_away()
        elif not self._stopped:
            self._draining = True
            self._link.drain(seconds)

    def go_away(self) -> None:
        """End the call because the server stops."""
        self._refuse(GoingAway())

    # ---- reading

    async def _read(self, messages: AsyncIterator[bytes], requests: Requests, tell: Tell) -> None:
        async for message in messages:
            await self._take(requests.receive(message), tell)
        await self._take(requests.end(), tell)

    async def _take(self, steps: list[Step], tell: Tell) -> None:
        """Carry steps out; meanwhile the client is not listened to."""
        self._stopped = Stop() in steps
        self._held_up = True
        try:
            for step in steps:
                await self._carry_out(step, tell)
        finally:
            self._held_up = False
            self._heard_at = anyio.current_time()

    async def _carry_out(self, step: Step, tell: Tell) -> None:
        match step:
            case Open(config):
                self._link = await self._open(config)
                self._tasks.start_soon(self._until_end, partial(self._write, self._link, tell))
            case Samples(pcm):
                if not self._draining:
                    await self._session().audio(pcm)
                    if self._pace is not None and (seconds := self._pace.spend(len(pcm) / self._second)):
                        await anyio.sleep(seconds)
            case Finalize():
                await self._session().finalize()
            case Stop():
                await self._session().stop()
            case _:
                assert_never(step)

    async def _open(self, config: RecognitionConfig) -> SessionLink:
        """Begin the session. It ends with its call: a Riva client could not come back to it."""
        self._second = 2 * config.sample_rate
        return await self._sessions.open(self.session_id, config, user=self._caller.user, resumable=False)

    def _session(self) -> SessionLink:
        assert self._link is not None, "requests say Open before everything else"
        return self._link

    # ---- writing

    async def _write(self, link: SessionLink, tell: Tell) -> None:
        while True:
            event = await link.next_event()
            match event:
                case Problem(known=known, fatal=fatal):
                    ref = "" if known else self._report(BY_CODE[event.code](event.detail))
                    if fatal:
                        self._end(_Ending(status(event, ref)))
                        return
                case Done():
                    link.delivered()
                    self._end(_Ending())
                    return
                case _:
                    await self._tell(event, tell)
            if isinstance(event, Gap) or (isinstance(event, Transcript) and event.is_final):
                link.acknowledge(event.seq)

    async def _tell(self, event: SessionEvent, tell: Tell) -> None:
        """Give the client an event.

        Once it has begun it is not cancelled, unless nobody reads it: gRPC could not end the call with a status then.

        Raises:
            SlowConsumer: nobody reads it.
        """
        self._writing_since = anyio.current_time()
        with anyio.CancelScope(shield=True) as self._writing:
            await tell(event)
        self._writing_since = None
        if self._writing.cancelled_caught:
            raise SlowConsumer(f"nothing was read for {self._write_timeout:g} s")

    # ---- the end

    async def _until_end(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # also a defect, ours or the session's: it must not end the others with it
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        if self._ending is None:
            self._end(_Ending(refusal(error, self._errors, self._context)))

    def _end(self, ending: _Ending) -> None:
        if self._ending is None:
            self._ending = ending
            self._scope.cancel()

    def _report(self, error: Exception) -> str:
        return _report(error, self._errors, self._context)

    @property
    def _context(self) -> ErrorContext:
        return ErrorContext(session_id=self.session_id, user_id=self._caller.user)


def refusal(error: Exception, errors: ErrorHandler, context: ErrorContext = _NOBODYS) -> Status:
    """Report an error, and return what to end its call with. Of a defect the client learns no more than that."""
    spoken = error if isinstance(error, SpeechError) else UnexpectedError()
    problem = Problem(code=spoken.code, detail=spoken.detail, retry_after=spoken.retry_after, fatal=True)
    return status(problem, _report(error, errors, context))


def _report(error: Exception, errors: ErrorHandler, context: ErrorContext) -> str:
    """Tell the operator, and return what the client may quote of it."""
    ref = secrets.token_hex(4)
    errors.report(error, msgspec.structs.replace(context, ref=ref))
    return ref
