"""One call: its audio in, its results out in order, its decodes in the scheduler between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, assert_never

import msgspec
import numpy as np
import numpy.typing as npt

from transport.embedded import responses
from transport.embedded.aligner import Span
from transport.embedded.audio import AudioDecoder
from transport.embedded.config import Settings
from transport.embedded.engine import Engine
from transport.embedded.hypothesis import Hypothesis
from transport.embedded.pace import Pace
from transport.embedded.scheduler import Job, Priority, Scheduler
from transport.embedded.timing import place_words
from transport.embedded.utterance import (
    RATE,
    Command,
    EarlyEnd,
    Final,
    Interim,
    Progress,
    SpeechResumed,
    Stretch,
    Utterances,
)

Samples = npt.NDArray[np.float32]

MAX_OUTPUTS = 8  # results on their way; with more, the client's audio waits in gRPC's flow control
SLICE = RATE // 2  # samples heard before other streams get their turn: some 2 ms of speech detection
INTERIM_PATIENCE = 0.25  # seconds an interim may wait; after that the next one is nearer than its result
MIN_STABILITY, AGREED_STABILITY = 0.1, 0.9  # of words that two decodes agree on, 95 % are in the final


class _Decoded(msgspec.Struct, frozen=True):
    """What a decode thread made of a stretch: no words when it was noise; no spans when nobody asked for times."""

    hypothesis: Hypothesis = Hypothesis()
    spans: Sequence[Span] = ()


class _Output(msgspec.Struct, frozen=True):
    """A result to come, and the job that decodes it."""

    command: Interim | EarlyEnd | Final | Progress
    job: Job[_Decoded] | None = None


class _End(msgspec.Struct, frozen=True):
    """There are no more results, or no more than this error."""

    error: Exception | None = None


class Stream:
    """Recognises one call.

    One task feeds it with `hear`, `force` and at last `finish` or `fail`, another iterates `results`; call
    `close` in the end.

    Args:
        offline: nobody is speaking; its decodes let live finals go first.
    """

    def __init__(self, settings: Settings, engine: Engine, scheduler: Scheduler, *, offline: bool = False) -> None:
        self._settings = settings
        self._engine = engine
        self._scheduler = scheduler
        self._final_priority = Priority.OFFLINE if offline else Priority.FINAL
        self._early_priority = Priority.OFFLINE if offline else Priority.EARLY_END
        self._audio = AudioDecoder(settings.encoding, settings.rate)
        self._utterances = Utterances(engine.listener(), settings.endpointing)
        self._pace = Pace()
        self._outputs: asyncio.Queue[_Output | _End] = asyncio.Queue(MAX_OUTPUTS)
        self._interim: Job[_Decoded] | None = None
        self._early: Job[_Decoded] | None = None
        self._jobs: set[Job[Any]] = set()
        self._shown = (0, Hypothesis())  # the utterance of the last interim sent, and its words

    async def hear(self, data: bytes) -> None:
        """Take audio as the client sent it; waits while too many results are on their way.

        Raises:
            InvalidAudio, UnsupportedRate: see `AudioDecoder`.
        """
        await self._receive(self._audio.decode(data))

    async def force(self) -> None:
        """End the utterance here."""
        await self._receive(self._audio.flush())
        await self._carry_out(self._utterances.force())

    async def finish(self) -> None:
        """No more audio: the remaining finals follow, then `results` ends."""
        await self._receive(self._audio.finish())
        await self._carry_out(self._utterances.finish())
        await self._outputs.put(_End())

    async def fail(self, error: Exception) -> None:
        """Let `results` raise `error` after what was recognised before it."""
        await self._outputs.put(_End(error))

    def close(self) -> None:
        """Drop what nobody waits for any more."""
        for job in list(self._jobs):
            self._drop(job)

    async def results(self) -> AsyncIterator[Any]:
        """`StreamingRecognitionResult`s in order."""
        while isinstance(output := await self._outputs.get(), _Output):
            result = await self._result(output)
            if result is not None:
                yield result
        if output.error is not None:
            raise output.error

    async def _receive(self, samples: Samples) -> None:
        for at in range(0, len(samples), SLICE):
            piece = samples[at : at + SLICE]
            self._pace.hear(len(piece) / RATE, asyncio.get_running_loop().time())
            await self._carry_out(self._utterances.receive(piece))
            await asyncio.sleep(0)

    async def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Interim():
                    await self._decode_interim(command)
                case EarlyEnd():
                    await self._decode_early(command)
                case SpeechResumed():
                    self._drop(self._early)
                    self._early = None
                case Final():
                    await self._decode_final(command)
                case Progress():
                    await self._outputs.put(_Output(command))
                case _:
                    assert_never(command)

    async def _decode_interim(self, command: Interim) -> None:
        late = self._interim is not None and self._interim.begun and not self._interim.done
        if not self._settings.interims or late or self._pace.is_ahead(asyncio.get_running_loop().time()):
            return
        self._drop(self._interim)
        first = command.utterance != self._shown[0]
        priority = Priority.FIRST_INTERIM if first else Priority.INTERIM
        self._interim = self._decode(command, priority, max_wait=INTERIM_PATIENCE)
        await self._outputs.put(_Output(command, self._interim))

    async def _decode_early(self, command: EarlyEnd) -> None:
        self._drop(self._interim)
        self._early = self._decode(command, self._early_priority)
        if self._settings.interims:
            await self._outputs.put(_Output(command, self._early))

    async def _decode_final(self, command: Final) -> None:
        self._drop(self._interim)
        job, self._early = self._early, None
        if job is None:
            job = self._decode(command, self._final_priority)
        else:
            self._scheduler.promote(job, self._final_priority)
        await self._outputs.put(_Output(command, job))

    def _decode(self, command: Stretch, priority: Priority, *, max_wait: float | None = None) -> Job[_Decoded]:
        samples = self._utterances.audio(command.start, command.end)
        # An early end is most often a final, whose words should have their times when it is due.
        timed = self._settings.word_times and not isinstance(command, Interim)
        work = partial(self._recognise, samples, command.seconds, timed=timed)
        job = self._scheduler.submit(work, priority, max_wait=max_wait)
        self._jobs.add(job)
        job.on_done(self._jobs.discard)
        return job

    def _recognise(self, samples: Samples, seconds: float, *, timed: bool) -> _Decoded:
        """Runs on a decode thread."""
        heard = self._engine.decode(samples)
        shown = heard if self._settings.punctuate else heard.unpunctuated()
        if shown.is_noise(seconds):
            return _Decoded()
        return _Decoded(shown, self._engine.align(samples, shown) if timed else ())

    def _drop(self, job: Job[Any] | None) -> None:
        if job is not None:
            self._scheduler.drop(job)

    async def _result(self, output: _Output) -> Any | None:
        """The protobuf result of an output; None when its decode was dropped, or heard no words."""
        command = output.command
        if isinstance(command, Progress):
            return responses.progress(command.position)
        decoded = (await output.job if output.job else None) or _Decoded()
        if isinstance(command, Final):
            return self._final(command, decoded)
        return self._interim_result(command, decoded.hypothesis) if decoded.hypothesis.words else None

    def _final(self, command: Final, decoded: _Decoded) -> Any:
        """A final without words is none, except to take back an interim that has shown some."""
        if not decoded.hypothesis.words and self._shown[0] != command.utterance:
            return responses.progress(command.position)
        words = place_words(command, decoded.hypothesis, decoded.spans)
        return responses.final(decoded.hypothesis, command.position, words)

    def _interim_result(self, command: Interim | EarlyEnd, hypothesis: Hypothesis) -> Any:
        utterance, before = self._shown
        self._shown = (command.utterance, hypothesis)
        agreed = hypothesis.agreement(before) if utterance == command.utterance else 0.0
        likely = max(MIN_STABILITY, AGREED_STABILITY * agreed)
        return responses.interim(hypothesis, command.end, 1.0 if isinstance(command, EarlyEnd) else likely)
