"""The receiving side of a connection, without I/O: a client's messages in, steps to carry out out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import assert_never

import msgspec

from actors.speech.catalogue import Retry
from actors.speech.errors import AudioProcessingFailed, ChunkTooLarge, InvalidMessage, SpeechError
from actors.speech.messages import Acknowledge, Finalize, Resume, Stop
from actors.speech.ports import RecognitionConfig
from transport.audio.formats import AudioFormat
from transport.audio.stream import AudioStream
from transport.wire.port import AudioBytes, Await, Bad, ClientEvent, Codec, Limits, Remind, Reply, Start

MAX_STRIKES = 5  # enough for a developer to see what is wrong, too few to be a way to keep us busy


class Open(msgspec.Struct, frozen=True):
    """Begin the session, or go on with it. Comes once, before everything that is meant for it."""

    config: RecognitionConfig
    audio: AudioFormat
    resume: Resume | None = None


class Samples(msgspec.Struct, frozen=True, gc=False):
    """Take these: PCM16 mono at the session's rate."""

    pcm: bytes


class Refuse(msgspec.Struct, frozen=True):
    """Tell the client what was wrong with its message; `fatal`: and end the connection."""

    error: SpeechError
    fatal: bool


Step = Open | Samples | Acknowledge | Finalize | Stop | Reply | Await | Remind | Refuse


class _Phase(Enum):
    FRESH = auto()  # nothing said yet that begins a session
    OPEN = auto()
    STOPPED = auto()  # the client said it sends no more audio


class Intake:
    """Reads one client's messages and says what is to be done about each.

    Args:
        codec: the protocol the client speaks.
        limits: what it may send.
        mishap: asked for each message with audio; the error it returns is what happens to that message. For faults
            that are injected.
    """

    def __init__(self, codec: Codec, limits: Limits, mishap: Callable[[], SpeechError | None] | None = None) -> None:
        self._codec = codec
        self._limits = limits
        self._mishap = mishap
        self._phase = _Phase.FRESH
        self._config = RecognitionConfig()  # but for the rate, what a session gets that its audio begins
        self._audio = AudioStream()
        self._strikes = 0
        self._told_late = False

    def connected(self) -> list[Step]:
        """The steps for a client that has just connected."""
        return self._on_all(self._codec.connected())

    def receive(self, message: str | bytes) -> list[Step]:
        """The steps for one message, in order. Never raises: what is wrong with it is a `Refuse`."""
        events = self._codec.decode(message)
        if len(events) == 1 and isinstance(audio := events[0], AudioBytes):
            return self._on_audio(audio.data)
        return self._on_all(events)

    def _on_all(self, events: Sequence[ClientEvent]) -> list[Step]:
        return [step for event in events for step in self._on(event)]

    def _on(self, event: ClientEvent) -> list[Step]:
        if isinstance(event, AudioBytes):
            return self._on_audio(event.data)
        match event:
            case Start():
                return self._on_start(event)
            case Finalize() | Acknowledge():
                return [event] if self._phase is _Phase.OPEN else []
            case Stop():
                return self._on_stop()
            case Reply() | Await() | Remind():
                return [event]
            case Bad(error):
                return [self._refusal(error)]
            case _:
                assert_never(event)

    def _on_start(self, start: Start) -> list[Step]:
        if self._phase is not _Phase.FRESH:
            return [self._refusal(InvalidMessage("start: the session has already begun"))]
        if start.audio is None:
            self._config = start.config
            return []
        self._phase = _Phase.OPEN
        given = start.audio.sample_rate is not None
        self._audio = AudioStream(start.audio, fixed_rate=None if given else start.config.sample_rate)
        return [Open(start.config, start.audio.filled(), start.resume)]

    def _on_audio(self, data: bytes) -> list[Step]:
        if self._phase is _Phase.STOPPED:
            return self._on_late_audio()
        if self._mishap is not None and (error := self._mishap()) is not None:
            return [self._refusal(error)]
        if len(data) > self._limits.max_chunk_bytes:
            return [self._refusal(ChunkTooLarge(self._too_large(len(data))))]
        try:
            pcm = self._audio.feed(data)
        except SpeechError as invalid:
            return [self._refusal(invalid)]
        return self._heard(pcm)

    def _on_late_audio(self) -> list[Step]:
        # A microphone's last messages cross with `stop`: worth a word, but no strike, and no second word.
        if self._told_late:
            return []
        self._told_late = True
        return [Refuse(AudioProcessingFailed("audio after stop: it was not used"), fatal=False)]

    def _on_stop(self) -> list[Step]:
        if self._phase is _Phase.STOPPED:
            return [self._refusal(InvalidMessage("stop: it has been said before"))]
        steps: list[Step] = []
        try:
            steps += self._heard(self._audio.end())
        except SpeechError as error:
            steps.append(self._refusal(error))
        steps += self._begun()
        self._phase = _Phase.STOPPED
        return [*steps, Stop()]

    def _heard(self, pcm: bytes) -> list[Step]:
        if self._audio.format is None:  # a header that is not complete yet
            return []
        if self._phase is _Phase.OPEN:
            return [Samples(pcm)] if pcm else []
        return [*self._begun(), Samples(pcm)] if pcm else self._begun()

    def _begun(self) -> list[Step]:
        if self._phase is not _Phase.FRESH:
            return []
        self._phase = _Phase.OPEN
        audio = self._audio.format or AudioFormat()
        return [Open(msgspec.structs.replace(self._config, sample_rate=audio.sample_rate), audio)]

    def _refusal(self, error: SpeechError) -> Refuse:
        if isinstance(error, InvalidMessage):
            self._strikes += 1
        return Refuse(error, fatal=error.entry.retry is Retry.NONE or self._strikes >= MAX_STRIKES)

    def _too_large(self, size: int) -> str:
        return f"{size} bytes of audio in one message: allowed are {self._limits.max_chunk_bytes}"
