"""What one stream was given, what it said about it, and what follows from both. No I/O; time is an argument."""

from __future__ import annotations

import msgspec

from actors.speech.clock import StreamClock
from actors.speech.loudness import is_audible
from actors.speech.messages import Cut, Heard
from actors.speech.ports import Recognised, Word
from actors.speech.silence import FILL_CHUNK, SilenceFill
from actors.speech.utterance_times import GRID_SECONDS, UtteranceTimes

# A backend that gives finals gives them within 2 s of silence. Words that stood for so long in what it heard, without
# becoming final, will not.
QUIET_SECONDS = 3.0
# The last of these words may have been shown before it was over.
LAST_WORD_SECONDS = 1.0
LAG_SECONDS = 1.0  # a backend that is further behind what it was sent has not heard the silence at its end yet
# For so long a final waits for the one before it, of which interims were seen. Riva gives finals in order; one that has
# not come by then has most likely been lost.
TURN_SECONDS = 1.0
TAIL_SECONDS = 0.5  # of what was sent; a backend that says it heard all but so much has heard all
# A word is shown once what follows it has been heard as well, in which models differ. One that has heard no more than
# the last sound, though it was sent more, may have a word in mind that it has not shown.
SHOWN_SECONDS = 0.5
SOUND_SECONDS = 0.03  # at the end of what was sent: if that is audible, silence put behind it cuts a sound
# A session that is told of each step of silence is woken for nothing; it settles silence in stretches of seconds.
PROGRESS_SECONDS = 1.0


class Hearing:
    """Turns a stream's results into the session's: repetitions dropped, times mapped, cut words marked.

    Where a backend gives no finals, it makes them of interims: after a quiet time, or at the end. A stream that was
    cut short in this way has had its day (`over`): the next one begins where the last final ended, so that nothing it
    may still say can double a word.

    Finals that come out of order are put into it as far as that can be known: a final that begins behind words which
    interims have shown waits for theirs. An ordinary final does not wait, since it begins with the words last shown.

    Args:
        number: the stream's.
        origin: the session position where it begins.
        rate: samples per second.
        longest: samples; an utterance that goes on for longer is to be ended by force.
        waits_until: no silence is filled in before audio from this session position on has come.

    Attributes:
        over: nothing that the stream says from now on counts.
        force_due: the utterance is to be ended by force.
        cut_at: the session position of a sound that filled silence has cut in two; None: there is none. When audio
            comes again, another stream should hear the sound whole.
    """

    def __init__(self, number: int, origin: int, rate: int, *, longest: int, now: float, waits_until: int = 0) -> None:
        self.over = False
        self.force_due = False
        self.cut_at: int | None = None
        self._waits_until = waits_until
        self._sounds = False  # the last of the audio does
        self._sound_end = 0  # … and where the last message ended that had any sound, on the stream's clock
        self._tail = 2 * int(SOUND_SECONDS * rate)  # bytes
        self._number = number
        self._rate = rate
        self._grid = int(GRID_SECONDS * rate)
        self._longest = longest
        self._clock = StreamClock(origin)
        self._times = UtteranceTimes(rate)
        self._fill = SilenceFill(now)
        self._processed = 0  # the most that the backend said it had heard, on the stream's clock
        self._told = 0  # … when the session was last told
        self._shown: _Shown | None = None
        self._cuts: list[tuple[int, Cut]] = []  # where utterances were made to end
        self._early: list[Heard] = []  # finals that wait for one before them
        self._turn_at = 0.0  # … until then

    # ---- what the stream is given

    def audio(self, pcm: bytes, now: float) -> None:
        """The session's next audio was handed over."""
        samples = len(pcm) // 2
        self._clock.audio(samples)
        self._fill.audio(now)
        sounds, shown = is_audible(pcm), self._shown
        self._sounds = sounds and is_audible(pcm[-self._tail :])
        if sounds:
            self._sound_end = self._clock.length
        if shown is not None and shown.is_prompt:
            shown.silent = 0 if sounds else shown.silent + samples

    def silence(self, now: float) -> bytes:
        """The silence that is due now because no audio comes; it counts as handed over. Mostly empty."""
        if now < self._fill.due or (self._sounds and self._clock.sent <= self._waits_until):
            return b""
        if self._sounds:
            self.cut_at = self._clock.sent
        samples = int(FILL_CHUNK * self._rate)
        self._clock.silence(samples)
        self._fill.filled(now, speaking=self.speaking)
        if self._shown is not None and self._shown.is_prompt:
            self._shown.silent += samples
        return bytes(2 * samples)

    def missing(self, step: int) -> int:
        """Samples that the stream has still to be sent before they make up a multiple of `step`; at least 1."""
        return step - self._clock.length % step

    @property
    def silence_due(self) -> float:
        """When `silence` has some next, unless audio comes before."""
        return self._fill.due

    def forced(self, *, for_length: bool) -> None:
        """The utterance is told to end here: because it was due, or because its speaker wants it."""
        self._cuts.append((self._clock.sent, Cut.HELD if for_length else Cut.TOUCHED))
        self.force_due = False

    def finished(self, *, early: bool) -> None:
        """The stream was told that its audio is over. `early`: there is more, for the next one."""
        if early:
            self._cuts.append((self._clock.sent, Cut.HELD))

    # ---- what it says

    @property
    def speaking(self) -> bool:
        """There are words that are not final."""
        return self._shown is not None or bool(self._early)

    @property
    def heard_all(self) -> bool:
        """Whether the backend must have shown every word, or has at least listened if it says no more."""
        shown = min(self._sound_end + int(SHOWN_SECONDS * self._rate), self._clock.length)
        return self.heard_nearly_all and (not self._processed or self._processed >= shown)

    @property
    def heard_nearly_all(self) -> bool:
        """The same but for what may be a word at the end."""
        if self._processed:
            return self._processed >= self._clock.length - int(TAIL_SECONDS * self._rate)
        return self.speaking

    def heard(self, result: Recognised, now: float) -> Heard | None:
        """What the session is to be told of a result, before all whose turn that makes it; None: nothing."""
        self._processed = max(self._processed, result.processed)
        if result.is_final:
            return None if self._times.repeats(result) else self._take(result, now)
        if result.text:
            self._show(result, now)
        elif self._processed - self._told < PROGRESS_SECONDS * self._rate:
            return None
        self._told = self._processed
        interim = Recognised(
            is_final=False, text=result.text, processed=self._position(result.processed), stability=result.stability
        )
        return Heard(self._number, interim, self._clock.sent)

    def in_turn(self, now: float) -> Heard | None:
        """The next final that has waited for another one, and need not any more; None: there is none."""
        return self._early.pop(0) if self._early and (self.over or now >= self._turn_at) else None

    def promoted(self, now: float) -> Heard | None:
        """The final that is made of words which have stood for long enough; the stream is `over` with it."""
        shown = self._shown
        if shown is None or now - shown.since < QUIET_SECONDS:
            return None
        if max(self._processed - shown.processed, shown.silent) < QUIET_SECONDS * self._rate:
            return None
        self.over = True
        return self._promote(shown, reach=shown.processed + int(LAST_WORD_SECONDS * self._rate))

    def leftover(self) -> Heard | None:
        """The next final of those that still waited, or were made of the words left, when the stream has ended."""
        if self._early:
            return self._early.pop(0)
        return None if self._shown is None else self._promote(self._shown, reach=self._clock.length)

    def _show(self, result: Recognised, now: float) -> None:
        processed = result.processed or self._clock.length
        shown = self._shown
        is_prompt = self._clock.length - processed <= LAG_SECONDS * self._rate
        if shown is None:
            self._shown = _Shown(result, processed, now, began=processed, is_prompt=is_prompt)
            return
        if not shown.forced and processed - shown.began > self._longest:
            self.force_due = shown.forced = True
        if result.text == shown.result.text:
            shown.result = result
        else:
            began, forced = shown.began, shown.forced
            self._shown = _Shown(result, processed, now, began=began, is_prompt=is_prompt, forced=forced)

    def _promote(self, shown: _Shown, *, reach: int) -> Heard:
        text, words = shown.result.text, shown.result.words
        if len(words) != len(text.split()) or not 0 < words[-1].end <= reach:
            words = ()  # the times of interims are rarely meant
        result = Recognised(is_final=True, text=text, words=words, processed=reach, provisional=True)
        self._settle_shown()
        return self._mapped(result, self._times.shift(result))

    def _take(self, result: Recognised, now: float) -> Heard | None:
        """A final in its turn, or None: it has to wait for the one before it."""
        shift = self._times.shift(result)
        shown, final = self._shown, self._mapped(result, shift)
        if self._early:
            if result.words and final.result.words[0].start > self._early[0].result.words[0].start:
                self._early.append(final)
                return None
            self._turn_at = now  # this is the one they waited for; what is shown was said behind them
            return final
        self._settle_shown()
        if shown is not None and result.words and result.words[0].start + shift > shown.began + self._grid:
            self._early.append(final)
            self._turn_at = now + TURN_SECONDS
            return None
        return final

    def _settle_shown(self) -> None:
        self._shown = None
        self.force_due = False

    def _mapped(self, result: Recognised, shift: int) -> Heard:
        """A final on the session's clock."""
        words = tuple(self._word(word, shift) for word in result.words)
        cut = self._take_cut(words[-1].end) if words else Cut.NONE
        self.over = self.over or cut in (Cut.HELD, Cut.LEFT)
        mapped = msgspec.structs.replace(result, words=words, processed=self._position(result.processed))
        return Heard(self._number, mapped, self._clock.sent, cut)

    def _word(self, word: Word, shift: int) -> Word:
        start, end = self._clock.span(max(0, word.start + shift), max(0, word.end + shift))
        return Word(word.text, start, end, word.confidence)

    def _position(self, processed: int) -> int:
        return self._clock.position(processed) if processed else 0  # 0: the backend does not say

    def _take_cut(self, end: int) -> Cut:
        """Whether a final's last word, which ends there, was made to end."""
        found = [cut for position, cut in self._cuts if abs(end - position) <= self._grid]
        self._cuts = [(position, cut) for position, cut in self._cuts if position > end + self._grid]
        if found:
            return found[-1]
        if not self._clock.fills_near(end, self._grid):
            return Cut.NONE
        return Cut.TOUCHED if self.cut_at is None else Cut.LEFT


class _Shown:
    """Words that are not final."""

    def __init__(
        self, result: Recognised, processed: int, since: float, *, began: int, is_prompt: bool, forced: bool = False
    ) -> None:
        self.result = result  # the last interim; but all else is of the first one with these words
        self.processed = processed  # on the stream's clock
        self.began = began  # … and so much when the utterance's first words came
        self.since = since
        self.is_prompt = is_prompt  # the backend had heard nearly all that it was sent by then
        self.forced = forced  # the utterance's end was asked for already
        self.silent = 0  # samples without a sound that were sent since, and last
