"""Whether a stream still answers, decided without a clock and without I/O."""

from __future__ import annotations

from enum import Enum, auto

import numpy as np


class _Habit(Enum):
    UNKNOWN = auto()  # no answer yet
    WORDS = auto()  # has answered, so far only when there were words: its silence proves nothing
    STEADY = auto()  # has answered audio without words too: it is expected to go on
    FINISHING = auto()  # has all the audio: it is expected to end


class Progress:
    """Watches one stream's audio against its answers; the owner asks `due_in` when it should look again.

    What counts as stalled:
    - no answer at all to the first `first_answer` seconds of audible audio (silence is not counted, since
      some backends answer only words), though as much time has passed;
    - on a stream that has answered wordlessly before (`STEADY_AFTER` times): no answer to `stall` seconds of
      audio, though as much time has passed;
    - audio that could not be handed over for `first_answer` seconds;
    - after the end of the audio: no result and no end for `finish` seconds.

    What does not: a stream that has answered, but never without words, and then says nothing. It may be
    hearing silence. A peer that froze with its whole process is found by the channel's pings instead.

    Args:
        rate: samples per second of the audio that `sending` is told of.
        first_answer, stall, finish: seconds.
    """

    def __init__(self, rate: int, *, first_answer: float, stall: float, finish: float) -> None:
        self._rate = rate
        self._first_answer, self._stall, self._finish = first_answer, stall, finish
        self._habit = _Habit.UNKNOWN
        self._owed = 0  # samples that deserve an answer and have none
        self._since = 0.0  # when the first of them was sent
        self._sending_since: float | None = None
        self._wordless = 0

    def sending(self, pcm: bytes, now: float) -> None:
        """A message with so much audio, or none, is about to be handed over."""
        self._sending_since = now
        if self._habit is _Habit.UNKNOWN and not _is_audible(pcm):
            return
        if not self._owed:
            self._since = now
        self._owed += len(pcm) // 2

    def sent(self) -> None:
        """It has been handed over."""
        self._sending_since = None

    def answered(self, now: float, *, has_words: bool) -> None:
        """A response came."""
        self._owed = 0
        self._since = now
        self._wordless += not has_words
        if self._habit is not _Habit.FINISHING:
            self._habit = _Habit.STEADY if self._wordless >= STEADY_AFTER else _Habit.WORDS

    def finishing(self, now: float) -> None:
        """The last audio has been handed over."""
        self._habit = _Habit.FINISHING
        self._since = now

    def due_in(self, now: float) -> float:
        """Seconds until the next look; 0.0 when the stream has stalled."""
        due = self._answer_due_in(now)
        if self._sending_since is not None:
            due = min(due, self._sending_since + self._first_answer - now)
        return max(0.0, due)

    @property
    def stall_reason(self) -> str:
        """What was waited for in vain."""
        if self._sending_since is not None:
            return "audio was not taken"
        if self._habit is _Habit.FINISHING:
            return f"no end within {self._finish:g} s of the end of the audio"
        return f"no answer to {self._owed / self._rate:.1f} s of audio"

    def _answer_due_in(self, now: float) -> float:
        match self._habit:
            case _Habit.FINISHING:
                return self._since + self._finish - now
            case _Habit.WORDS:
                return self._stall
            case _Habit.UNKNOWN:
                limit = self._first_answer
            case _Habit.STEADY:
                limit = self._stall
        if not self._owed:
            return limit
        # At real-time pace the missing audio takes this long; sent faster, it only delays the finding a
        # little.
        return max(self._since + limit - now, limit - self._owed / self._rate)


STEADY_AFTER = 3  # one wordless answer may be a chance; three are a habit
_AUDIBLE = 328  # of 32768: -40 dBFS, above the noise of a muted microphone, below speech


def _is_audible(pcm: bytes) -> bool:
    samples = np.frombuffer(pcm, "<i2")
    return samples.size > 0 and bool(samples.max() > _AUDIBLE or samples.min() < -_AUDIBLE)
