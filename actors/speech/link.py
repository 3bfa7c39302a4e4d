"""A client's end of a session: what it sends goes in here, what it is told comes out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from actors.address import Ref
from actors.errors import ActorGone
from actors.speech.audio_log import SAMPLE_BYTES
from actors.speech.client import Client
from actors.speech.messages import (
    Ack,
    Acknowledge,
    Audio,
    Drain,
    Finalize,
    Ready,
    SessionEvent,
    SessionMessage,
    Stop,
    Transcript,
)
from actors.speech.pace import Pace
from actors.speech.record import SessionRecord
from supervisor.loops import clock


class Link:
    """What one connection has of its session, from its `Ready` on. One task may send while another waits for events.

    Args:
        record, ref: the session's.
        client: who it is for.
        on_confirmed: called when it has its token for sure.
        on_disconnected: called when the connection has ended.
        on_delivered: called when the client has everything there was to say.
    """

    def __init__(
        self,
        record: SessionRecord,
        ref: Ref[SessionMessage],
        client: Client,
        ready: Ready,
        *,
        on_confirmed: Callable[[], None],
        on_disconnected: Callable[[], None],
        on_delivered: Callable[[], None],
    ) -> None:
        self.record = record
        self.ref = ref
        self.ready = ready
        self.confirmed = on_confirmed
        self.disconnected = on_disconnected
        self.delivered = on_delivered
        self._client = client
        self._now = clock()
        self._pace = Pace()
        self._untimed = 0  # samples the pace does not know of yet
        self._beat = record.config.sample_rate // 2  # … and after how many it is told: not the clock for each frame
        self._sent = ready.position  # after the last sample handed over
        self._reach = ready.position  # … of those that are not lost with an actor, be they appended yet or not
        self._piece = record.config.sample_rate * SAMPLE_BYTES

    async def audio(self, pcm: bytes) -> None:
        """Append PCM16 mono at the session's rate, in pieces of a second at most.

        It waits while the session's memory is full of unsettled audio, if the client is ahead of real time. Live
        speech cannot be made to wait: it goes to disk, and past the bounds of that the oldest is lost, with a `Gap`.
        """
        for start in range(0, len(pcm), self._piece):
            await self._audio(pcm[start : start + self._piece])

    def has_room(self, size: int) -> bool:
        """Whether up to `size` bytes can be handed over by `audio_at_once` now."""
        return size <= self._piece and not self.ref.must_wait and self._has_room(size // SAMPLE_BYTES)

    def audio_at_once(self, pcm: bytes) -> None:
        """As `audio`, for what there is room for: it does not wait. A callback of the loop may call it too."""
        if not self._client.deposed:
            self._keep_time(len(pcm) // SAMPLE_BYTES)
            try:
                self.ref.tell(self._message(pcm))
            except ActorGone:
                return  # as in `_send`

    async def finalize(self) -> None:
        """End the utterance here."""
        await self._send(Finalize())

    async def stop(self) -> None:
        """No more audio; the remaining finals follow, then `Done`."""
        await self._send(Stop())

    def acknowledge(self, seq: int) -> None:
        """The client has all finals and gaps up to `seq`."""
        self._tell(Acknowledge(seq))

    def next_event(self) -> Coroutine[Any, Any, SessionEvent]:
        """What to tell the client next; the last is `Done` or a fatal `Problem`."""
        return self._client.outbox.next_event()

    def offer(self, say: Callable[[Transcript | Ack], bool]) -> None:
        """Let `say` have an interim or an ack where it arises, if nothing waits for `next_event`.

        True from it: it was said; else it waits. It must be quick, and never raise.
        """
        self._client.outbox.offer = say

    def drain(self, seconds: float) -> None:
        """The server goes away by then: the words for what was heard follow, then a fatal `GoingAway`."""
        self._tell(Drain(seconds))

    async def _audio(self, pcm: bytes) -> None:
        samples = len(pcm) // SAMPLE_BYTES
        self._keep_time(samples)
        if self._pace.ahead and not self._has_room(samples):
            await self._room(samples)
            self._pace.waited(self._now())
        await self._send(self._message(pcm))

    def _keep_time(self, samples: int) -> None:
        self._untimed += samples
        if self._untimed >= self._beat:
            self._pace.sent(self._untimed / self.record.config.sample_rate, self._now())
            self._untimed = 0

    def _message(self, pcm: bytes) -> Audio:
        start, samples = self._sent, len(pcm) // SAMPLE_BYTES
        self._sent += samples
        self._reach += samples
        return Audio(pcm, start)

    async def _room(self, samples: int) -> None:
        log = self.record.intake
        log.held = True
        try:
            while not self._has_room(samples):
                await log.released.wait()
        finally:
            log.held = False

    def _has_room(self, samples: int) -> bool:
        log = self.record.intake
        if self.ref.depth == 0:
            self._reach = log.end  # what was handed over is appended, or was lost with a crash
        return self._reach + samples - log.start <= log.capacity or self._reach <= log.start or self._client.deposed

    async def _send(self, message: SessionMessage) -> None:
        if self._client.deposed:
            return  # another connection has the session, or it is over; the last event says so
        with suppress(ActorGone):  # the session has ended; its last event, on its way to the client, says why
            await self.ref.send(message)

    def _tell(self, message: SessionMessage) -> None:
        if not self._client.deposed:
            with suppress(ActorGone):
                self.ref.tell(message, control=True)
