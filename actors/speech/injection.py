"""Errors raised on purpose, by chance: to see what becomes of a server, and of its clients, before they come by
themselves.

Chance decides here; each error then happens where its kind arises. Those of a backend come from `FaultyBackend`, a
defect of our own from `FaultySessionActor`; those of a client's connection and of its audio are drawn by whoever
reads them.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from types import MappingProxyType

from actors.base import handler
from actors.speech.audio_log import SAMPLE_BYTES
from actors.speech.errors import BY_CODE, ServerBusy, SpeechError
from actors.speech.keeping import Keeping
from actors.speech.messages import SessionMessage
from actors.speech.ports import Recognised, RecognitionBackend, RecognitionConfig, RecognitionStream, Tier
from actors.speech.record import SessionRecord, State
from actors.speech.session import SessionActor
from actors.speech.sessions import BUSY_RETRY


class Opportunity(Enum):
    """What a rate is a probability of, or rather for each of."""

    SESSION = "session that a client asks for"
    MESSAGE = "message of a client"
    AUDIO = "message of a client that holds audio"
    OPENING = "stream that is opened at a backend"
    STREAMING = "second of audio that a backend is sent"
    ACTOR = "message that a session's actor has handled"


OPPORTUNITIES: Mapping[str, Opportunity] = MappingProxyType({
    "CONN_001": Opportunity.MESSAGE,  # the connection is cut without a word
    "CONN_003": Opportunity.MESSAGE,
    "CONN_005": Opportunity.SESSION,
    "RIVA_001": Opportunity.OPENING,
    "RIVA_002": Opportunity.OPENING,
    "RIVA_003": Opportunity.OPENING,
    "RIVA_004": Opportunity.OPENING,
    "RIVA_005": Opportunity.STREAMING,
    "RIVA_006": Opportunity.STREAMING,  # at once; of a real one the watchdog tells seconds later
    "RIVA_007": Opportunity.OPENING,
    "RIVA_008": Opportunity.STREAMING,
    "RIVA_009": Opportunity.STREAMING,
    "RIVA_010": Opportunity.OPENING,
    "RIVA_011": Opportunity.STREAMING,
    "RIVA_012": Opportunity.OPENING,
    "RIVA_014": Opportunity.STREAMING,
    "RIVA_015": Opportunity.OPENING,
    "RIVA_016": Opportunity.STREAMING,
    "RIVA_099": Opportunity.STREAMING,
    "AUDIO_001": Opportunity.AUDIO,
    "AUDIO_002": Opportunity.AUDIO,
    "AUDIO_003": Opportunity.AUDIO,
    "UNKNOWN": Opportunity.ACTOR,  # the actor crashes
})  # fmt: skip


def check_rates(rates: Mapping[str, float]) -> None:
    """Refuse what cannot be injected. Codes may be written in any case.

    Raises:
        ValueError: with the codes that can.
    """
    for code, rate in rates.items():
        if code.upper() not in OPPORTUNITIES:
            raise ValueError(f"{code!r} cannot be injected; allowed are {', '.join(OPPORTUNITIES)}")
        if not 0 <= rate <= 1:
            raise ValueError(f"{code}: a probability lies between 0 and 1, {rate:g} does not")


def chance(rate: float, times: float) -> float:
    """The probability that something happens within `times` opportunities, of which each has the probability `rate`.

    However audio is cut into pieces, the same comes out for the whole of it.
    """
    return 1 - math.pow(1 - rate, times)


class Faults:
    """Decides which errors happen although nothing is wrong.

    Args:
        rates: by code, the probability for each of its opportunities.
        random: numbers in [0, 1).
        on_fault: told of each fault, and whom it befalls, before it takes effect.

    Raises:
        ValueError: see `check_rates`.
    """

    def __init__(
        self,
        rates: Mapping[str, float],
        *,
        random: Callable[[], float] = random.random,
        on_fault: Callable[[SpeechError, str], None] = lambda error, whom: None,
    ) -> None:
        check_rates(rates)
        self._random = random
        self._on_fault = on_fault
        self._rates: dict[Opportunity, list[tuple[type[SpeechError], float]]] = {each: [] for each in Opportunity}
        for code, rate in rates.items():
            self._rates[OPPORTUNITIES[code.upper()]].append((BY_CODE[code.upper()], rate))

    def draw(
        self, opportunity: Opportunity, whom: str, times: float = 1.0, *, endpoint: str | None = None
    ) -> SpeechError | None:
        """The error that happens at this opportunity; None: none does.

        Args:
            whom: the session, or the stream's label, for the log.
            times: how often the opportunity is there at once, be it a part of one time.
            endpoint: a fact that the error is to have.
        """
        for kind, rate in self._rates[opportunity]:
            if self._random() < chance(rate, times):
                error = kind("injected", endpoint=endpoint, retry_after=_RETRY_AFTER.get(kind))
                self._on_fault(error, whom)
                return error
        return None

    def __str__(self) -> str:
        """The rates in force, for those who should know that they are."""
        return ", ".join(
            f"{kind.entry.code} at {rate:g} for each {opportunity.value}"
            for opportunity, kinds in self._rates.items()
            for kind, rate in kinds
        )


class FaultyBackend:
    """A backend whose streams also fail by chance: when they are opened, and with the audio they are sent."""

    name: str
    tier: Tier
    max_streams: int
    catch_up: float
    max_stream_age: float
    step: float
    quota_key: str

    def __init__(self, backend: RecognitionBackend, faults: Faults) -> None:
        self._backend = backend
        self._faults = faults

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)  # as it is at the moment: a new configuration may change it

    async def probe(self) -> None:
        """See `RecognitionBackend.probe`."""
        await self._backend.probe()

    @asynccontextmanager
    async def open(self, config: RecognitionConfig, *, label: str) -> AsyncGenerator[FaultyStream, None]:
        """See `RecognitionBackend.open`."""
        if (error := self._faults.draw(Opportunity.OPENING, label, endpoint=self.name)) is not None:
            raise error
        async with self._backend.open(config, label=label) as stream:
            yield FaultyStream(stream, lambda pcm: self._draw(pcm, config.sample_rate, label))

    def _draw(self, pcm: bytes, sample_rate: int, label: str) -> SpeechError | None:
        seconds = len(pcm) / SAMPLE_BYTES / sample_rate
        return self._faults.draw(Opportunity.STREAMING, label, seconds, endpoint=self.name)


class FaultyStream:
    """A stream of a `FaultyBackend`. `draw` is asked what happens to each piece of audio; only `send` raises it."""

    def __init__(self, stream: RecognitionStream, draw: Callable[[bytes], SpeechError | None]) -> None:
        self._stream = stream
        self._draw = draw

    async def send(self, pcm: bytes) -> None:
        """See `RecognitionStream.send`."""
        if (error := self._draw(pcm)) is not None:
            raise error
        await self._stream.send(pcm)

    async def force_final(self) -> None:
        """See `RecognitionStream.force_final`."""
        await self._stream.force_final()

    async def finish(self) -> None:
        """See `RecognitionStream.finish`."""
        await self._stream.finish()

    def __aiter__(self) -> AsyncIterator[Recognised]:
        """See `RecognitionStream`."""
        return aiter(self._stream)


class FaultySessionActor(SessionActor):
    """A session actor with a defect that shows by chance, when a message was applied to the record."""

    def __init__(self, record: SessionRecord, keeping: Keeping, faults: Faults) -> None:
        super().__init__(record, keeping)
        self._faults = faults

    @handler
    def receive(self, message: SessionMessage) -> int:
        """See `SessionActor.receive`. The message that ends the session ends it."""
        settled = super().receive(message)
        if self._core.state is State.OVER:
            return settled
        if (error := self._faults.draw(Opportunity.ACTOR, self._record.session_id)) is not None:
            raise error
        return settled


_RETRY_AFTER: Mapping[type[SpeechError], float] = {ServerBusy: BUSY_RETRY}
