"""From the results of changing streams to one transcript: every word once, every sample settled once."""

from __future__ import annotations

from actors.speech.errors import AudioLost
from actors.speech.messages import Gap, Transcript
from actors.speech.ports import Recognised, Tier, Word

# A replayed stream begins where the last confirmed word ended; a scrap of that word's tail may be heard again. Riva's
# word times lie on an 80 ms grid, so nothing that ends within one step of the seam can be a word of its own.
SEAM_SECONDS = 0.08

# Without word times a final says only how much audio was processed, silence after the last word included. So much of it
# is left unsettled, so that a replay cannot cut the beginning of the next word.
UNTIMED_TAIL_SECONDS = 0.5


class Timeline:
    """The finals and gaps of a session: numbered from 1, each beginning where the one before ended.

    Attributes:
        confirmed: everything below this sample position is settled; a new stream starts here.
        seq: the last one's number; 0 before the first.
    """

    def __init__(self, sample_rate: int) -> None:
        self.confirmed = 0
        self.seq = 0
        self._rate = sample_rate

    def final(self, result: Recognised, *, origin: int, end: int, source: Tier) -> Transcript | None:
        """Settle a stream's final. None when it says nothing new (a repetition, or a replay of settled words).

        Args:
            origin: the session position at which the stream began.
            end: the session position up to which the stream was given audio; no final reaches past it.
        """
        words = tuple(word for word in _shifted(result.words, origin) if self._is_new(word, origin))
        if (result.words and not words) or not result.text:
            return None
        text = result.text if len(words) == len(result.words) else " ".join(word.text for word in words)
        if words:
            reach = words[-1].end
        elif result.processed:
            reach = origin + result.processed - int(UNTIMED_TAIL_SECONDS * self._rate)
        else:
            reach = end
        return self._settle(min(max(reach, self.confirmed), end), text, words, result.confidence, source)

    def interim(self, result: Recognised, *, origin: int, source: Tier) -> Transcript:
        """What the stream currently believes about the audio after the last final."""
        return Transcript(
            is_final=False,
            seq=0,
            start=self.confirmed,
            end=max(self.confirmed, origin + result.processed),
            text=result.text,
            stability=result.stability,
            source=source,
        )

    def silence(self, position: int, source: Tier) -> Transcript | None:
        """Settle audio up to `position` in which nothing was said: a final without text. None if it is settled."""
        return self._settle(position, "", (), 0.0, source) if position > self.confirmed else None

    def gap(self, position: int) -> Gap | None:
        """Settle audio up to `position` as lost, for whatever was said in it. None if it is settled."""
        if position <= self.confirmed:
            return None
        start, self.confirmed = self.confirmed, position
        self.seq += 1
        return Gap(seq=self.seq, start=start, end=position, code=AudioLost.entry.code)

    def _settle(self, end: int, text: str, words: tuple[Word, ...], confidence: float, source: Tier) -> Transcript:
        start, self.confirmed = self.confirmed, end
        self.seq += 1
        return Transcript(
            is_final=True, seq=self.seq, start=start, end=end, text=text, words=words,
            confidence=confidence, source=source,
        )  # fmt: skip

    def _is_new(self, word: Word, origin: int) -> bool:
        if origin == self.confirmed and origin > 0 and word.end <= origin + int(SEAM_SECONDS * self._rate):
            return False
        return (word.start + word.end) // 2 >= self.confirmed


def _shifted(words: tuple[Word, ...], origin: int) -> tuple[Word, ...]:
    if origin == 0:
        return words
    return tuple(Word(word.text, word.start + origin, word.end + origin, word.confidence) for word in words)
