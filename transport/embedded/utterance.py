"""Where utterances begin and end: samples in, commands out. No I/O, no clock, no model.

Everything here follows from the audio alone. Therefore the finals of a recording are the same however it was
cut into messages, however fast it came, and however busy the machine was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, auto

import msgspec
import numpy as np
import numpy.typing as npt

from transport.embedded.tape import Tape
from transport.embedded.vad import WINDOW

Samples = npt.NDArray[np.float32]

RATE = 16_000  # Hz: every position below counts samples of this rate
START_ABOVE, STOP_BELOW = (
    0.5,
    0.35,
)  # Silero's own hysteresis: the stop threshold is its start threshold - 0.15
ONSET = 2 * WINDOW  # one window may be a click, two are speech
PREROLL = RATE // 4  # soft consonants before the detector woke up
MAX_UTTERANCE = 15 * RATE  # the model was trained on little beyond; also bounds what a decode costs
CUT_SEARCH = 5 * RATE  # an utterance without a pause is cut at the least speech-like place of its last 5 s
FIRST_INTERIM = int(0.3 * RATE)
INTERIM_STEP = RATE // 2
INTERIM_COST = 0.09  # the step grows with the utterance: interims shall use a quarter of a core at most
PROGRESS_STEP = RATE


class Endpointing(msgspec.Struct, frozen=True):
    """How much silence, in samples, ends an utterance (`stop`), and how much makes it probable (`early`)."""

    stop: int = int(0.8 * RATE)  # Riva's default stop_history
    early: int = int(0.25 * RATE)


class Stretch(msgspec.Struct, frozen=True):
    """The samples [start, end) of an utterance; utterances count 1, 2, 3 …"""

    utterance: int
    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE


class Interim(Stretch, frozen=True):
    """Decode the stretch for a hypothesis that may change."""


class EarlyEnd(Stretch, frozen=True):
    """The utterance has probably ended: decode the stretch. If silence lasts, this decode is the final."""


class SpeechResumed(msgspec.Struct, frozen=True):
    """It has not: the decode of the last `EarlyEnd` is void."""

    utterance: int


class Final(Stretch, frozen=True):
    """The utterance is over. Its stretch is that of its `EarlyEnd`, if that still stands.

    Speech ended at `end_of_speech`; `position` is how far we had heard when we knew.
    """

    end_of_speech: int
    position: int


class Progress(msgspec.Struct, frozen=True):
    """Heard up to `position`, and since the last final nothing was said. Who replays may begin there."""

    position: int


Command = Interim | EarlyEnd | SpeechResumed | Final | Progress


class State(Enum):
    WAITING = auto()  # for speech
    SPEAKING = auto()
    PAUSING = auto()  # silence that may become the end


class Utterances:
    """Cuts one stream into utterances.

    Args:
        speech: the probability that a window of `WINDOW` samples is speech; called once for each, in order.
        endpointing: which silences count.
    """

    def __init__(self, speech: Callable[[Samples], float], endpointing: Endpointing | None = None) -> None:
        self._speech = speech
        self._endpointing = endpointing or Endpointing()
        self._tape = Tape()
        self._state = State.WAITING
        self._utterance = 0
        self._at = 0  # end of the last window heard
        self._floor = 0  # end of the last final: no later utterance may reach below
        self._onset = 0  # samples of speech in a row, while waiting
        self._start = 0
        self._silence = 0  # samples without speech up to `_at`
        self._early: tuple[int, int] | None = None
        self._next_interim = 0
        self._reported = 0
        self._recent: deque[float] = deque(maxlen=CUT_SEARCH // WINDOW)  # probabilities of the last windows

    @property
    def position(self) -> int:
        """Samples received."""
        return self._tape.end

    def receive(self, samples: Samples) -> list[Command]:
        """Take the next samples (any number of them)."""
        self._forget()
        self._tape.append(samples)
        commands: list[Command] = []
        while self._tape.end - self._at >= WINDOW:
            probability = self._speech(self._tape.window(self._at, self._at + WINDOW))
            self._at += WINDOW
            self._recent.append(probability)
            commands += self._hear(probability)
        return commands

    def force(self) -> list[Command]:
        """End the utterance here, pause or not. What follows belongs to the next."""
        commands: list[Command] = []
        if self._state is not State.WAITING:
            if self._early is None:
                self._at = self._tape.end  # too short for a window, but the end of the last word
            commands += self._end()
        self._reported = self.position
        return [*commands, Progress(self.position)]

    def finish(self) -> list[Command]:
        """No more audio: the same as `force`, for the last time."""
        return self.force()

    def audio(self, start: int, end: int) -> Samples:
        """A copy of the samples of a command, to be taken before the next `receive`."""
        return self._tape.copy(start, end)

    def _hear(self, probability: float) -> Iterator[Command]:
        if self._state is State.WAITING:
            self._wait(probability)
        else:
            yield from self._follow(probability)
        if self._state is State.WAITING and self._at - self._reported >= PROGRESS_STEP:
            self._reported = self._at
            yield Progress(self._at)

    def _wait(self, probability: float) -> None:
        self._onset = self._onset + WINDOW if probability > START_ABOVE else 0
        if self._onset >= ONSET:
            self._begin(max(self._floor, self._at - self._onset - PREROLL), silence=0)

    def _begin(self, start: int, *, silence: int) -> None:
        self._state = State.PAUSING if silence else State.SPEAKING
        self._utterance += 1
        self._start, self._silence, self._early = start, silence, None
        self._next_interim = self._at + FIRST_INTERIM

    def _follow(self, probability: float) -> Iterator[Command]:
        self._silence = self._silence + WINDOW if probability < STOP_BELOW else 0
        self._state = State.PAUSING if self._silence else State.SPEAKING
        if self._state is State.SPEAKING and self._early is not None:
            self._early = None
            yield SpeechResumed(self._utterance)
        if self._silence >= self._endpointing.stop:
            yield from self._end()
        elif self._at - self._start >= MAX_UTTERANCE:
            yield from self._end() if self._early else self._cut()
        elif self._silence >= self._endpointing.early and self._early is None:
            self._early = (self._start, self._at)
            yield EarlyEnd(self._utterance, *self._early)
        elif self._state is State.SPEAKING and self._at >= self._next_interim:
            length = self._at - self._start
            self._next_interim = self._at + max(INTERIM_STEP, int(INTERIM_COST * length))
            yield Interim(self._utterance, self._start, self._at)

    def _end(self) -> Iterator[Command]:
        start, end = self._early or (self._start, self._at)
        yield self._final(start, end, self._at - self._silence)
        self._floor = self._at
        self._state, self._onset = State.WAITING, 0

    def _cut(self) -> Iterator[Command]:
        """End a too long utterance where it sounds least like speech; the rest begins the next one."""
        windows = list(self._recent)
        quietest = len(windows) - 1 - int(np.argmin(windows[::-1]))  # the latest, where several are
        after = windows[quietest + 1 :]
        cut = self._at - len(after) * WINDOW
        yield self._final(self._start, cut, cut - WINDOW * _trailing_silence(windows[: quietest + 1]))
        self._floor = cut
        if any(probability >= STOP_BELOW for probability in after):
            self._begin(cut, silence=WINDOW * _trailing_silence(after))
        else:
            self._state, self._onset = State.WAITING, 0

    def _final(self, start: int, end: int, end_of_speech: int) -> Final:
        self._reported = self._at
        return Final(self._utterance, start, end, end_of_speech, self._at)

    def _forget(self) -> None:
        waiting = self._state is State.WAITING
        self._tape.forget(max(self._floor, self._at - ONSET - PREROLL) if waiting else self._start)


def _trailing_silence(probabilities: list[float]) -> int:
    """How many windows at the end are no speech."""
    count = 0
    for probability in reversed(probabilities):
        if probability >= STOP_BELOW:
            break
        count += 1
    return count
