"""What a session does while no backend is left: it asks the cache what was said in audio like this."""

from __future__ import annotations

from contextlib import suppress

import anyio
from anyio.lowlevel import checkpoint

from actors.address import Ref
from actors.errors import ActorError, ActorGone
from actors.speech.audio_log import AudioGone
from actors.speech.messages import CacheMessage, Recall, Recalled, SessionMessage
from actors.speech.record import SessionRecord
from actors.speech.utterances import Span, Utterances
from supervisor.incarnation import Incarnation

LOOK_SECONDS = 0.5  # between looks at what has come in; nobody waits for these words by the second
PATIENCE = 30.0  # seconds for an answer: a thousand sessions may ask at the same time


class Recaller:
    """A supervised child that works while the words are delayed: cuts the waiting audio into utterances, and asks.

    Each utterance is asked for once. It reads the log at a place of its own and settles nothing.
    """

    def __init__(self, record: SessionRecord, session: Ref[SessionMessage], cache: Ref[CacheMessage]) -> None:
        self._record = record
        self._session = session
        self._cache = cache
        self._looked_at = 0  # all utterances that end below this position were asked for

    async def run(self, *, task_status: Incarnation) -> None:
        """Work until cancelled."""
        task_status.started()
        while True:
            while not self._record.delayed:
                await self._record.delays.wait()
            await self._while_delayed()

    async def _while_delayed(self) -> None:
        log = self._record.log
        utterances = self._from(max(log.start, self._looked_at))
        while self._record.delayed:
            try:
                pcm = log.read(utterances.position, log.sample_rate)
            except AudioGone:
                utterances = self._from(log.start)
                continue
            spans = utterances.feed(pcm)
            if log.ended and utterances.position == log.end:
                spans += utterances.finish()
            for span in spans:
                await self._look_up(span)
            self._looked_at = utterances.settled
            if utterances.position == log.end:
                await anyio.sleep(LOOK_SECONDS)
            else:
                await checkpoint()  # there may be minutes to look through

    def _from(self, position: int) -> Utterances:
        return Utterances(self._record.log.sample_rate, position)

    async def _look_up(self, span: Span) -> None:
        utterance = self._record.utterance(span.start, span.end)
        if utterance is None:
            return
        try:
            found = await self._cache.ask(Recall(utterance), timeout=PATIENCE)
        except ActorError:  # it is overrun, or gone for good; the words come late all the same
            return
        if found is not None:
            recalled = Recalled(start=span.start, end=span.end, text=found.text, similarity=found.similarity)
            with suppress(ActorGone):
                await self._session.send(recalled)
