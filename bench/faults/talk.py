"""A client that speaks word-coded audio in real time, and remembers when it was told what."""

from __future__ import annotations

import asyncio
import copy
import re
import time
from collections.abc import Callable
from functools import partial

import msgspec

from bench.riva import CodedSpeech, Ledger
from transport.client import (
    Ack,
    Done,
    Final,
    Gap,
    GoingAway,
    Interim,
    Problem,
    Ready,
    Reconnecting,
    Session,
    SessionFailed,
    SpeechEvent,
    Status,
)
from transport.client.core import ClientCore
from transport.client.dialling import Dialler
from transport.wire.voxtree_v1_schema import StartConfig

CHUNK_SECONDS = 0.1  # of audio in a message
KEEP_SECONDS = 60.0  # of audio that a client keeps
READ_SECONDS = 1.0  # of audio that are made at a time
_LAST_WORD = re.compile(r"w(\d{1,8})(?:t\d+)?$")


class Heard(msgspec.Struct, frozen=True, gc=False):
    """Something a client was told.

    Attributes:
        at: when, by `time.monotonic`.
        event: what: `status`, `interim`, `final`, `gap`, `error`, `reconnecting`, `resumed`, `goaway`, `done`.
        code: a status's state, an error's code, a transcript's source, why a connection was lost.
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
        keep: seconds of audio kept for a lost connection.
        give_up_after: seconds without a connection; None: as the client library does.
        live: what is kept may be dropped, as of speech.
        chunk: seconds of audio in a message.

    Attributes:
        core: the rules of its session; `new_core` makes those of another.
        ledger: the account of the words.
        began: when the session was open, by `time.monotonic`; None: it never was.
        sent: when each message of audio had been sent.
        heard: what it was told, in order.
        shown: when each word was first seen in a transcript, by number.
        failure: why the session ended early; None: it was told all.
        action: what it was told to do then.
        unsettled: samples that the server held at most, by its own acks.
        settled: where the last final or gap ended, in samples.
        holes: finals and gaps that did not begin where the one before ended.
        gaps: what it was told is lost, in samples.
        on_ack: called with each ack.
        is_silent: says nothing from now on, and not that it stops either.
    """

    def __init__(
        self,
        speech: CodedSpeech,
        *,
        keep: float = KEEP_SECONDS,
        give_up_after: float | None = None,
        live: bool = True,
        chunk: float = CHUNK_SECONDS,
    ) -> None:
        self.speech = speech
        self.new_core = partial(
            ClientCore,
            StartConfig(encoding="pcm16", sample_rate=speech.rate, channels=1),
            frame_bytes=2,
            sample_rate=speech.rate,
            live=live,
            keep=keep,
            give_up_after=give_up_after,
        )
        self.core = self.new_core()
        self.ledger = Ledger(speech)
        self.began: float | None = None
        self.sent: list[float] = []
        self.heard: list[Heard] = []
        self.shown: dict[int, float] = {}
        self.failure: str | None = None
        self.action = ""
        self.unsettled = 0
        self.settled = 0
        self.holes = 0
        self.gaps: list[tuple[int, int]] = []
        self.on_ack: Callable[[Talk, Ack], None] = lambda talk, ack: None
        self.is_silent = False
        self._reach = -1
        self._chunk = round(chunk * speech.rate)

    async def run(self, url: str, *, limit: float, wait: float = 0.0, pace: float | None = CHUNK_SECONDS) -> None:
        """Say everything and listen to the end. Raises nothing: `failure` says why it did not come so far.

        Args:
            url: `ws://HOST:PORT/transcribe`, or with the session's id behind it.
            limit: seconds for all of it, the wait aside.
            wait: seconds before it begins.
            pace: seconds between two messages; None: as fast as the server takes them.
        """
        await asyncio.sleep(wait)
        try:
            async with (
                asyncio.timeout(limit),
                Session(self.core, Dialler(url)) as session,
            ):
                self.began = time.monotonic()
                await self._converse(session, pace)
        except SessionFailed as failed:
            self.action = failed.action
            self._fail(failed.code or "connection lost")
        except TimeoutError:
            self._fail("no end in time")

    def twin(self) -> Talk:
        """Another client that knows all that this one does, and believes it is the session's only one."""
        watcher, self.on_ack = self.on_ack, lambda talk, ack: None
        twin = copy.deepcopy(self)
        twin.on_ack = self.on_ack = watcher
        return twin

    @property
    def samples(self) -> int:
        """How many were sent."""
        return min(len(self.sent) * self._chunk, self.speech.samples)

    def sent_at(self, word: int) -> float | None:
        """When a word had been sent as a whole; None if it was not."""
        message = -(-self.speech.word(word).end // self._chunk) - 1
        return self.sent[message] if message < len(self.sent) else None

    async def _converse(self, session: Session, pace: float | None) -> None:
        speaking = asyncio.create_task(self._speak(session, pace))
        try:
            async for event in session:
                self._take(event)
        finally:
            speaking.cancel()
            await asyncio.wait({speaking})

    async def _speak(self, session: Session, pace: float | None) -> None:
        said = len(self.sent)
        began = time.monotonic() - said * (pace or 0.0)
        size, second = 2 * self._chunk, round(READ_SECONDS * self.speech.rate)
        for position in range(said * self._chunk, self.speech.samples, second):
            audio = self.speech.read(position, second)
            for start in range(0, len(audio), size):
                if pace is not None:
                    await asyncio.sleep(began + (len(self.sent) + 1) * pace - time.monotonic())
                if self.is_silent:
                    return
                await session.send(audio[start : start + size])
                self.sent.append(time.monotonic())
        session.stop()

    def _take(self, event: SpeechEvent) -> None:
        now = time.monotonic()
        match event:
            case Interim(text=text, source=source):
                self.heard.append(Heard(now, "interim", source, self._show(text, now)))
            case Final(start=start, end=end, text=text, source=source, words=words):
                self._tile(start, end)
                self.heard.append(Heard(now, "final", source, self._show(text, now)))
                self.ledger.final(text, [word.start_ms * self.speech.rate // 1000 for word in words])
            case Ack(received=received, durable=durable):
                self.unsettled = max(self.unsettled, received - durable)
                self.on_ack(self, event)
            case Status(state=state):
                self.heard.append(Heard(now, "status", state))
            case Gap(start=start, end=end, code=code):
                self._tile(start, end)
                self.gaps.append((start, end))
                self.heard.append(Heard(now, "gap", code))
                self.ledger.gap(start, end)
            case Problem(code=code):
                self.heard.append(Heard(now, "error", code))
            case Reconnecting(reason=reason):
                self.heard.append(Heard(now, "reconnecting", reason))
            case Ready(resumed=True):
                self.heard.append(Heard(now, "resumed"))
            case GoingAway(code=code):
                self.heard.append(Heard(now, "goaway", code))
            case Done():
                self.heard.append(Heard(now, "done"))

    def _tile(self, start: int, end: int) -> None:
        self.holes += start != self.settled
        self.settled = end

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
