"""Whether a stream still answers, decided without a clock and without I/O."""

from __future__ import annotations

from enum import Enum, auto

from actors.speech.loudness import is_audible


class _Habit(Enum):
    UNKNOWN = auto()  # no answer yet
    WORDS = auto()  # has answered, so far only when there were words: its silence proves little
    STEADY = auto()  # answers audio without words too, or such streams do: it is expected to go on
    FINISHING = auto()  # has all the audio: it is expected to end


class Progress:
    """Watches one stream's audio against its answers.

    What counts as stalled:
    - no answer at all to the first `first_answer` seconds of audible audio (silence is not counted, since
      some backends answer only words), though as much time has passed;
    - on a stream that has answered wordlessly before (`STEADY_AFTER` times), or is expected to: no answer to
      `stall` seconds of audio, though as much time has passed;
    - on one that only ever answered words: no answer to `stall` seconds of audible audio in mid-utterance;
    - audio that could not be handed over for `first_answer` seconds;
    - after the end of the audio: no result and no end for `finish` seconds.

    What does not: a stream that answers nothing but words, and says nothing between two utterances. It may be
    hearing noise. A peer that froze with its whole process is found by asking it (`waiting`, `Pulse`).

    Args:
        rate: samples per second of the audio that `sending` is told of.
        first_answer, stall, finish: seconds.
        steady: the stream is expected to answer silence, as others of its endpoint do.
    """

    def __init__(self, rate: int, *, first_answer: float, stall: float, finish: float, steady: bool = False) -> None:
        self._rate = rate
        self._first_answer, self._stall, self._finish = first_answer, stall, finish
        self._habit = _Habit.STEADY if steady else _Habit.UNKNOWN
        self._owed = 0  # samples that deserve an answer and have none
        self._since = 0.0  # when the first of them was sent
        self._unanswered = 0  # samples that were not answered, from the first on that might have been …
        self._unanswered_since = 0.0  # … and when that one was sent
        self._sending_since: float | None = None
        self._wordless = 0
        self._speaking = False  # there are words that are not final

    @property
    def is_steady(self) -> bool:
        """Whether it has shown that it answers silence."""
        return self._wordless >= STEADY_AFTER

    @property
    def is_idle(self) -> bool:
        """Nothing is waited for, so that nothing can have stalled."""
        handed_over = self._sending_since is None and self._habit is not _Habit.FINISHING
        return handed_over and not (self._owed or self._unanswered)

    def sending(self, pcm: bytes, now: float) -> None:
        """A message with so much audio, or none, is about to be handed over."""
        self._sending_since = now
        samples, deserves = len(pcm) // 2, self._habit is _Habit.STEADY or is_audible(pcm)
        if deserves:
            self._since = self._since if self._owed else now
            self._owed += samples
        if deserves or self._speaking or self._unanswered:
            self._unanswered_since = self._unanswered_since if self._unanswered else now
            self._unanswered += samples

    def sent(self) -> None:
        """It has been handed over."""
        self._sending_since = None

    def answered(self, now: float, *, has_words: bool, is_final: bool) -> None:
        """A response came."""
        self._owed = self._unanswered = 0
        self._since = now
        self._wordless += not has_words
        self._speaking = not is_final and (has_words or self._speaking)
        if self._habit in (_Habit.UNKNOWN, _Habit.WORDS):
            self._habit = _Habit.STEADY if self.is_steady else _Habit.WORDS

    def finishing(self, now: float) -> None:
        """The last audio has been handed over."""
        self._habit = _Habit.FINISHING
        self._since = now

    def waiting(self, now: float) -> float:
        """Seconds for which an answer may have been due: a reason to ask whether anybody is there, but no stall yet.

        Not more than the audio that waits with it, since a model is not heard of before it has as much as it takes at
        a time.
        """
        if self._habit is _Habit.FINISHING:
            return now - self._since
        held_up = 0.0 if self._sending_since is None else now - self._sending_since
        return max(held_up, min(self._unanswered / self._rate, now - self._unanswered_since))

    def stall_reason(self, now: float) -> str:
        """What was waited for in vain; empty while the stream has not stalled."""
        if self._sending_since is not None and now - self._sending_since >= self._first_answer:
            return "audio was not taken"
        match self._habit:
            case _Habit.FINISHING:
                overdue = now - self._since >= self._finish
                return f"no end within {self._finish:g} s of the end of the audio" if overdue else ""
            case _Habit.WORDS:
                limit = self._stall if self._speaking else float("inf")
            case _Habit.UNKNOWN:
                limit = self._first_answer
            case _Habit.STEADY:
                limit = self._stall
        # At real-time pace the missing audio takes this long; sent faster, it only delays the finding a little.
        owed = self._owed / self._rate
        return f"no answer to {owed:.1f} s of audio" if owed >= limit and now - self._since >= limit else ""


STEADY_AFTER = 3  # one wordless answer may be a chance; three are a habit
