"""One session with a voxtree server, over one connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from transport.expected import ExpectedError
from transport.websocket import SafeToAbort

MAX_EVENT_BYTES = 1 << 20
OPEN_SECONDS = 10.0


class SessionFailed(ExpectedError):
    """The server ended the session with an error, or the connection to it failed.

    Attributes:
        code: the catalogue's code; None when no server said one (it could not be reached, or vanished).
        action: what the server advises: none, reconnect, retry, stop_recording, fix_config, new_session.
        retry_after: seconds, when the server named them.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, code: str | None = None, action: str = "none", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.action = action
        self.retry_after = retry_after


class _Connection(SafeToAbort, ClientConnection):
    """A client's connection that a server may refuse while we are sending."""


class ClientSession:
    """Sends audio and iterates the server's events, as dictionaries in the form of the wire protocol.

    One task may send while another iterates. The iteration ends after `done`.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def audio(self, data: bytes) -> None:
        """Send audio in the encoding that was agreed; waits while the server takes no more."""
        await self._send(data)

    async def finalize(self) -> None:
        """Ask for the end of the utterance here."""
        await self._send_event({"event": "finalize"})

    async def stop(self) -> None:
        """No more audio; the remaining transcripts follow, then the iteration ends."""
        await self._send_event({"event": "stop"})

    async def converse(self, chunks: Iterable[bytes], *, pace: float | None = None) -> AsyncIterator[dict[str, Any]]:
        """Send all audio and stop, while iterating the events that come back.

        Args:
            chunks: the audio, in pieces.
            pace: seconds that a piece lasts: it is sent when it would have been spoken. None: as fast as possible.

        Raises:
            SessionFailed: see `__aiter__`. What iterating `chunks` raises comes out too.
        """
        sending = asyncio.create_task(self._speak(chunks, pace))
        try:
            async for event in self:
                yield event
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """The events as they come.

        Raises:
            SessionFailed: the server said a fatal error, or the connection broke.
        """
        with suppress(ConnectionClosed):
            async for message in self._connection:
                event = msgspec.json.decode(message)
                if event["event"] == "error" and event["fatal"]:
                    raise _failure(event)
                yield event
                if event["event"] == "done":
                    return
        raise SessionFailed("the connection to the server was lost before the transcript was complete")

    async def _speak(self, chunks: Iterable[bytes], pace: float | None) -> None:
        began = time.monotonic()
        try:
            for number, chunk in enumerate(chunks, 1):
                if pace is not None:
                    await asyncio.sleep(began + number * pace - time.monotonic())
                await self.audio(chunk)
            await self.stop()
        except Exception:
            await self._connection.close()  # without the rest of the audio there is nothing to wait for
            raise

    async def _send_event(self, event: dict[str, Any]) -> None:
        await self._send(msgspec.json.encode(event).decode())

    async def _send(self, message: str | bytes) -> None:
        with suppress(ConnectionClosed):  # the events say why
            await self._connection.send(message)


@asynccontextmanager
async def open_session(url: str, **config: Any) -> AsyncGenerator[ClientSession, None]:
    """Connect and start a session.

    Args:
        url: `ws://HOST:PORT/transcribe` or with a session id of yours behind it.
        config: fields of the protocol's `start.config`: `language`, `encoding`, `sample_rate`, `channels`, …

    Raises:
        SessionFailed: there is no voxtree server at `url`, or it refused the connection.
    """
    try:
        connection = await connect(
            url,
            subprotocols=[Subprotocol("voxtree.v1")],
            compression=None,
            max_size=MAX_EVENT_BYTES,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,
            create_connection=_Connection,
        )
    except (OSError, TimeoutError, InvalidURI, InvalidHandshake) as error:
        raise SessionFailed(f"no voxtree server answers at {url} ({error})") from error
    async with connection:
        session = ClientSession(connection)
        await session._send_event({"event": "start", "config": config})
        yield session


def _failure(event: dict[str, Any]) -> SessionFailed:
    detail = f" ({event['detail']})" if event.get("detail") else ""
    retry_ms = event.get("retry_after_ms")
    return SessionFailed(
        f"{event['message']}{detail} [{event['code']}]",
        code=event["code"],
        action=event["action"],
        retry_after=None if retry_ms is None else retry_ms / 1000,
    )
