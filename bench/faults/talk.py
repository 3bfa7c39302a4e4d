"""A client that speaks word-coded audio in real time, and remembers when it was told what."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from bench.riva import CodedSpeech, Ledger
from transport.client import SessionFailed, open_session
from transport.client.session import ClientSession

CHUNK_SECONDS = 0.1  # of audio in a message
READ_SECONDS = 1.0  # of audio that are made at a time
_LAST_WORD = re.compile(r"w(\d{1,8})(?:t\d+)?$")


class Heard(msgspec.Struct, frozen=True, gc=False):
    """Something a client was told.

    Attributes:
        at: when, by `time.monotonic`.
        event: what: `status`, `interim`, `final`, `gap`, `error`, `done`.
        code: a status's state, an error's code, a transcript's source.
        reach: the highest number of a word in a transcript; -1: there is none.
    """

    at: float
    event: str
    code: str = ""
    reach: int = -1


class Talk:
    """One client and its only session.

    Args:
        speech: what it says; its words are counted from 0.

    Attributes:
        ledger: the account of the words.
        began: when the session was open, by `time.monotonic`; None: it never was.
        sent: when each message of audio had been sent.
        heard: what it was told, in order.
        shown: when each word was first seen in a transcript, by number.
        failure: why the session ended early; None: it was told all.
        unsettled: samples that the server held at most, by its own acks.
    """

    def __init__(self, speech: CodedSpeech) -> None:
        self.speech = speech
        self.ledger = Ledger(speech)
        self.began: float | None = None
        self.sent: list[float] = []
        self.heard: list[Heard] = []
        self.shown: dict[int, float] = {}
        self.failure: str | None = None
        self.unsettled = 0
        self._reach = -1

    async def run(self, url: str, *, limit: float, wait: float = 0.0, pace: float | None = CHUNK_SECONDS) -> None:
        """Say everything and listen to the end. Raises nothing: `failure` says why it did not come so far.

        Args:
            url: `ws://HOST:PORT/transcribe/ID`.
            limit: seconds for all of it, the wait aside.
            wait: seconds before it begins.
            pace: seconds between two messages; None: as fast as the server takes them.
        """
        await asyncio.sleep(wait)
        try:
            async with (
                asyncio.timeout(limit),
                open_session(url, encoding="pcm16", sample_rate=self.speech.rate, language="en-US") as session,
            ):
                self.began = time.monotonic()
                await self._converse(session, pace)
        except SessionFailed as failed:
            self._fail(failed.code or "connection lost")
        except TimeoutError:
            self._fail("no end in time")

    @property
    def samples(self) -> int:
        """How many were sent."""
        return min(len(self.sent) * self._chunk, self.speech.samples)

    def sent_at(self, word: int) -> float | None:
        """When a word had been sent as a whole; None if it was not."""
        message = -(-self.speech.word(word).end // self._chunk) - 1
        return self.sent[message] if message < len(self.sent) else None

    @property
    def _chunk(self) -> int:
        return round(CHUNK_SECONDS * self.speech.rate)

    async def _converse(self, session: ClientSession, pace: float | None) -> None:
        speaking = asyncio.create_task(self._speak(session, pace))
        try:
            async for event in session:
                self._take(event)
        finally:
            speaking.cancel()
            await asyncio.wait({speaking})

    async def _speak(self, session: ClientSession, pace: float | None) -> None:
        began = time.monotonic()
        size = 2 * self._chunk
        for second in self.speech.chunks(READ_SECONDS):
            for start in range(0, len(second), size):
                if pace is not None:
                    await asyncio.sleep(began + (len(self.sent) + 1) * pace - time.monotonic())
                await session.audio(second[start : start + size])
                self.sent.append(time.monotonic())
        await session.stop()

    def _take(self, event: Mapping[str, Any]) -> None:
        now = time.monotonic()
        match event:
            case {"event": "transcript", "text": text, "is_final": is_final}:
                reach = self._show(text, now)
                self.heard.append(Heard(now, "final" if is_final else "interim", event.get("source", ""), reach))
                if is_final:
                    starts = [word["start_ms"] * self.speech.rate // 1000 for word in event.get("words", ())]
                    self.ledger.final(text, starts)
            case {"event": "ack", "received": received, "durable": durable}:
                self.unsettled = max(self.unsettled, received - durable)
            case {"event": "status", "state": state}:
                self.heard.append(Heard(now, "status", state))
            case {"event": "gap", "start": start, "end": end}:
                self.heard.append(Heard(now, "gap", event.get("code", "")))
                self.ledger.gap(start, end)
            case {"event": "error", "code": code}:
                self.heard.append(Heard(now, "error", code))
            case {"event": "done"}:
                self.heard.append(Heard(now, "done"))

    def _show(self, text: str, now: float) -> int:
        match = _LAST_WORD.search(text)
        if match is None:
            return -1
        for word in range(self._reach + 1, int(match[1]) + 1):
            self.shown[word] = now
        self._reach = max(self._reach, int(match[1]))
        return int(match[1])

    def _fail(self, why: str) -> None:
        self.failure = why
        self.heard.append(Heard(time.monotonic(), "error", why))
