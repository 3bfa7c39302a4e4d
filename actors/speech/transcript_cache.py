"""The cache of transcripts: what was said in audio that sounds the same, for the time in which nothing recognises."""

from __future__ import annotations

import anyio
from anyio.to_thread import run_sync

from actors.base import Actor, handler
from actors.mailbox import Mailbox
from actors.speech.messages import CacheMessage, ForgetOld, Learn, Recall
from actors.speech.ports import Recollection, SoundIndex

# Utterances, of 3 MB at most (30 s at 48 kHz). Who asks waits for room; what is to be learned then is not learned.
MAILBOX = Mailbox(16)
FORGET_SECONDS = 30.0  # between looks at what is too old: nothing is kept for longer than that beyond its time


class TranscriptCache(Actor[CacheMessage]):
    """Learns the finals of all sessions, and is asked by those for which no backend is left.

    The work is done in worker threads, one at a time. A new life begins with an empty index.
    """

    def __init__(self, index: SoundIndex) -> None:
        self._index = index

    async def started(self) -> None:
        """Begin to look at the clock: what is too old goes also when nobody asks."""
        self.every(FORGET_SECONDS, ForgetOld())

    @handler
    async def learn(self, message: Learn) -> None:
        await run_sync(self._index.add, message.utterance, message.text, anyio.current_time())

    @handler
    async def recall(self, message: Recall) -> Recollection | None:
        return await run_sync(self._index.find, message.utterance, anyio.current_time())

    @handler
    async def forget(self, message: ForgetOld) -> None:
        await run_sync(self._index.expire, anyio.current_time())
