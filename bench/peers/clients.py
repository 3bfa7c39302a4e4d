"""A client of a server from which no session can be had again."""

from __future__ import annotations

import asyncio
import random
import time

from bench.faults.talk import CHUNK_SECONDS, Heard, Talk
from transport.client import Session, SessionFailed
from transport.client.backoff import full_jitter
from transport.client.dialling import Dialler

NO_END, NOTHING_LEFT = OWN_WORDS = ("no end in time", "nothing left to say")  # how it ended, which nobody told it


class PlainTalk(Talk):
    """Begins another session when it has lost one, as soon as voxtree's client would resume it.

    It keeps no audio, since it is not told what was heard: what is said meanwhile is said to nobody.
    """

    async def run(self, url: str, *, limit: float, wait: float = 0.0, pace: float | None = CHUNK_SECONDS) -> None:
        """See `Talk.run`; the first connection must succeed."""
        if pace is None:
            raise ValueError("a plain client speaks at the pace of speech: who keeps nothing cannot be ahead of it")
        await asyncio.sleep(wait)
        attempt = 0
        try:
            async with asyncio.timeout(limit):
                while True:
                    try:
                        await self._one_session(url, pace)
                        return
                    except SessionFailed as failed:
                        if self.began is None:
                            self._fail(failed.code or "cannot connect")
                            return
                        self.heard.append(Heard(time.monotonic(), "lost", str(failed)))
                    await asyncio.sleep(full_jitter(attempt, random.random))
                    attempt += 1
                    self._miss(pace)
                    if self.samples >= self.speech.samples:
                        self._fail(NOTHING_LEFT)
                        return
        except TimeoutError:
            self._fail(NO_END)

    async def _one_session(self, url: str, pace: float) -> None:
        self.core = self.new_core()
        async with Session(self.core, Dialler(url)) as session:
            if self.began is None:
                self.began = time.monotonic()
            await self._converse(session, pace)

    def _miss(self, pace: float) -> None:
        """Count as said what was said while there was nobody to hear it."""
        assert self.began is not None
        due = self.began + (len(self.sent) + 1) * pace
        while due <= time.monotonic() and self.samples < self.speech.samples:
            self.sent.append(due)
            due += pace
