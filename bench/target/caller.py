"""One client of an endpoint, what it was told and when, and what can be done to its connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from websockets.asyncio.client import ClientConnection

from bench.riva import Ledger
from bench.target.speech import CHUNK_SECONDS, RATE, Spoken
from transport.client import Final, Gap, Interim, Ready, Session, SessionFailed
from transport.client.core import ClientCore
from transport.client.dialling import Dialler
from transport.client.events import SpeechEvent
from transport.wire.voxtree_v1_schema import StartConfig

PATIENCE = 30.0  # seconds after the end of speech
KEEP = 60.0  # seconds of audio that are kept for a lost connection


class Line(Dialler):
    """Opens connections that can be struck."""

    _connection: ClientConnection | None = None

    async def dial(self, session_id: str) -> ClientConnection:
        """See `Dialler.dial`."""
        self._connection = await super().dial(session_id)
        return self._connection

    def cut(self) -> None:
        """Drop the connection, without a word."""
        if self._connection is not None:
            self._connection.transport.abort()

    def read(self, is_reading: bool) -> None:
        """Read no more what comes, or read again. Of a connection that is made meanwhile everything is read."""
        if self._connection is not None and not self._connection.transport.is_closing():
            transport = self._connection.transport
            (transport.resume_reading if is_reading else transport.pause_reading)()


class Caller:
    """A client, and its only session.

    Attributes:
        line: its connections.
        ledger: the account of its words; None: they cannot be counted.
        opened: seconds until the session was there; first, last: seconds from the beginning of speech to the first
            transcript with words, and from its end until all was told; None: that never was.
        gaps: how often audio was said to be lost; resumed: how often it had its session again.
        failure: why it ended early; None: it was told all.
        retry_after: seconds that it was told to wait, if it was.
        position: samples that were sent.
    """

    def __init__(self, url: str, key: str | None, spoken: Spoken) -> None:
        self.line = Line(url, key)
        self.spoken = spoken
        self.ledger = None if spoken.coded is None else Ledger(spoken.coded)
        self.opened: float | None = None
        self.first: float | None = None
        self.last: float | None = None
        self.gaps = self.resumed = self.position = 0
        self.failure: str | None = None
        self.retry_after: float | None = None
        self._core = ClientCore(
            StartConfig(encoding="pcm16", sample_rate=RATE, channels=1),
            frame_bytes=2,
            sample_rate=RATE,
            live=True,
            keep=KEEP,
            give_up_after=PATIENCE,
        )
        self._began = 0.0

    async def run(self, wait: float = 0.0) -> None:
        """Say everything in real time and listen to the end. Raises nothing: `failure` says why it was cut short."""
        await asyncio.sleep(wait)
        dialled = time.monotonic()
        try:
            async with asyncio.timeout(self.spoken.seconds + PATIENCE), Session(self._core, self.line) as session:
                self.opened = time.monotonic() - dialled
                self._began = time.monotonic()
                async for event in session.converse(self._said(), pace=CHUNK_SECONDS):
                    self._take(event)
                self.last = time.monotonic() - self._began - self.spoken.seconds
        except SessionFailed as failed:
            self.failure = failed.code or str(failed)
            self.retry_after = failed.retry_after
        except TimeoutError:
            self.failure = f"no end within {PATIENCE:g} s after the end of speech"

    def _said(self) -> Iterator[bytes]:
        for chunk in self.spoken.chunks():
            self.position += len(chunk) // 2
            yield chunk

    def _take(self, event: SpeechEvent) -> None:
        match event:
            case Interim(text=text) if text:
                self._heard()
            case Final(text=text, words=words):
                if text:
                    self._heard()
                if self.ledger is not None:
                    self.ledger.final(text, [word.start_ms * RATE // 1000 for word in words])
            case Gap(start=start, end=end):
                self.gaps += 1
                if self.ledger is not None:
                    self.ledger.gap(start, end)
            case Ready(resumed=True):
                self.resumed += 1

    def _heard(self) -> None:
        if self.first is None:
            self.first = time.monotonic() - self._began
