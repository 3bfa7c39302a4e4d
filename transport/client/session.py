"""One session with a voxtree server, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, assert_never

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from transport.audio.containers import recognise
from transport.client.commands import Command, Connect, Deliver, Finish, HangUp
from transport.client.core import ClientCore, State
from transport.client.dialling import Dialler, Unreachable
from transport.client.errors import SessionFailed
from transport.client.events import SpeechEvent
from transport.client.inbox import Inbox
from transport.wire.voxtree_v1_schema import SERVER_EVENTS, ServerMessage

TICK_SECONDS = 0.5
CLOSE_SECONDS = 2.0  # for a closing handshake; what matters has been said by then

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(ServerMessage).decode


class Session:
    """Takes audio, and iterates what the server makes of it. Made by `Client.session`; entering it connects.

    One task may send while another iterates. When the connection is lost it comes back by itself, and goes on where
    it was: no final is missing or comes twice.
    """

    def __init__(self, core: ClientCore, dialler: Dialler) -> None:
        self._core = core
        self._dialler = dialler
        self._inbox = Inbox()
        self._failure: SessionFailed | None = None
        self._begun = False  # with audio
        self._delay = 0.0  # seconds until the next connection
        self._hung_up = asyncio.Event()
        self._abort = False
        self._news = asyncio.Event()  # there may be something to send
        self._room = asyncio.Event()  # there may be room for audio
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect, and wait until the session is there.

        Raises:
            SessionFailed: it will not be: `CannotConnect`, or what the server says (busy, wrong settings).
        """
        self._obey(self._core.begin())
        self._running = asyncio.create_task(self._run())
        try:
            await self._inbox.first()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection. Without `stop` and the iteration's end the session is given up."""
        await self._end()

    @property
    def id(self) -> str:
        """The session's id."""
        return self._core.session_id

    async def send(self, audio: bytes) -> None:
        """Have whole samples sent, in the encoding that was agreed; also while there is no connection.

        Waits while what is not settled fills the memory, unless the session is `live`: then the oldest of it is
        dropped, and if the server turns out to need it, a `Gap` says so.

        Raises:
            SessionFailed: the session is over.
            ValueError: a sample is cut in two, `stop` was said, or the first audio is no samples but a file's header.
        """
        if not self._begun and (kind := recognise(audio)) is not None:
            # the server would skip a header, and its count of samples would no longer be ours
            raise ValueError(f"this is {kind}, but a session takes raw samples: see transcribe_file")
        self._begun = True
        while audio:
            self._require_open()
            taken, commands = self._core.take(audio, time.monotonic())
            self._obey(commands)
            self._news.set()
            audio = audio[taken:]
            if audio:
                self._room.clear()
                await self._room.wait()

    def finalize(self) -> None:
        """End the utterance here, and have its final soon."""
        self._require_open()
        self._core.finalize()
        self._news.set()

    def stop(self) -> None:
        """No more audio. The remaining events follow, then the iteration ends."""
        self._core.stop()
        self._news.set()

    async def __aiter__(self) -> AsyncGenerator[SpeechEvent, None]:
        """The events; the last one is `Done`.

        Raises:
            SessionFailed: the session ended before everything was said.
        """
        while (event := await self._inbox.get()) is not None:
            yield event

    async def converse(self, chunks: Iterable[bytes], *, pace: float | None = None) -> AsyncIterator[SpeechEvent]:
        """Send all audio and stop, while iterating the events that come back.

        Args:
            chunks: the audio, in pieces.
            pace: seconds that a piece lasts: it is sent when it would have been spoken. None: as fast as possible.

        Raises:
            SessionFailed: see `__aiter__`. What iterating `chunks` raises comes out too.
        """
        speaking = asyncio.create_task(self._speak(chunks, pace))
        try:
            async for event in self:
                yield event
        finally:
            speaking.cancel()
            with suppress(asyncio.CancelledError, SessionFailed):
                await speaking

    async def _speak(self, chunks: Iterable[bytes], pace: float | None) -> None:
        began = time.monotonic()
        try:
            for number, chunk in enumerate(chunks, 1):
                if pace is not None:
                    await asyncio.sleep(began + number * pace - time.monotonic())
                await self.send(chunk)
            self.stop()
        except Exception:
            self._inbox.end(self._failure)  # without the rest of the audio there is nothing to wait for
            raise

    def _require_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._core.stopped:
            raise ValueError("the session was stopped: it takes no more audio")

    # ---- the connections

    async def _run(self) -> None:
        try:
            while self._core.state is not State.OVER:
                await asyncio.sleep(self._delay)
                try:
                    connection = await self._dialler.dial(self._core.session_id)
                except Unreachable as error:
                    now = time.monotonic()
                    self._obey(
                        self._core.unreachable(
                            str(error),
                            now,
                            for_good=error.for_good,
                            broke=error.broke,
                            problem=error.problem,
                            retry_after=error.retry_after,
                        )
                    )
                    continue
                await self._use(connection)
        except Exception as defect:
            self._finish(SessionFailed(f"the client failed: {defect!r}"))
            raise

    async def _use(self, connection: ClientConnection) -> None:
        self._hung_up.clear()
        self._abort = False
        self._core.connected(time.monotonic())
        tasks = [asyncio.create_task(work(connection)) for work in (self._read, self._write, self._watch)]
        hung_up = asyncio.create_task(self._hung_up.wait())
        try:
            await asyncio.wait([hung_up, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel([hung_up, *tasks])
            await self._part(connection)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        self._obey(self._core.lost(_ending(connection), time.monotonic()))

    async def _read(self, connection: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                self._obey(self._heard(await connection.recv()))
                self._room.set()
                self._news.set()
                await self._inbox.room()

    def _heard(self, message: str | bytes) -> Iterable[Command]:
        try:
            event = _read(message)
        except msgspec.MsgspecError as error:
            return () if _is_news(message) else self._core.misunderstood(str(error))
        return self._core.received(event, time.monotonic())

    async def _write(self, connection: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                self._news.clear()
                now = time.monotonic()
                message = self._core.next_message(now)
                if message is not None:
                    await connection.send(message if isinstance(message, bytes) else _write(message).decode())
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._core.pause(now) or None):
                        await self._news.wait()

    async def _watch(self, connection: ClientConnection) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._obey(self._core.tick(time.monotonic()))
            self._news.set()

    async def _part(self, connection: ClientConnection) -> None:
        if self._abort:
            connection.transport.abort()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()
        except TimeoutError:
            pass
        finally:
            connection.transport.abort()

    async def _end(self) -> None:
        assert self._running is not None
        if (
            self._core.state is not State.OVER
        ):  # else it is just closing: the server takes that for our receipt of `done`
            self._running.cancel()
        try:
            await asyncio.wait([self._running])
        finally:
            self._running.cancel()
            self._finish(SessionFailed("the session was closed"))

    # ---- commands

    def _obey(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Connect(delay):
                    self._delay = delay
                case HangUp(abort):
                    self._abort = abort
                    self._hung_up.set()
                case Deliver(event):
                    self._inbox.put(event)
                case Finish(failed):
                    self._finish(failed)
                case _:
                    assert_never(command)

    def _finish(self, failed: SessionFailed | None) -> None:
        self._failure = self._failure or failed
        self._inbox.end(failed)
        self._room.set()


class _AnyEvent(msgspec.Struct):
    event: str


def _is_news(message: str | bytes) -> bool:
    """Whether this is an event of a later version, which is to be ignored."""
    try:
        return isinstance(message, str) and msgspec.json.decode(message, type=_AnyEvent).event not in SERVER_EVENTS
    except msgspec.MsgspecError:
        return False


def _ending(connection: ClientConnection) -> str:
    code = connection.close_code
    return "the connection was lost" if code in (None, 1006) else f"the server closed the connection (code {code})"


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = [task for task in tasks if not task.done()]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
