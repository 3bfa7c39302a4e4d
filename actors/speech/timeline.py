"""From the results of changing streams to one transcript: every word once, every sample settled once."""

from __future__ import annotations

from actors.speech.errors import AudioLost
from actors.speech.messages import Cut, Gap, Transcript
from actors.speech.ports import Recognised, Tier, Word

# A replayed stream begins where the last confirmed word ended; a scrap of that word's tail may be heard again. Riva's
# word times lie on an 80 ms grid, so nothing that ends within one step of the seam can be a word of its own.
SEAM_SECONDS = 0.08

# Without word times a final says only how much audio was processed, silence after the last word included. So much of it
# is left unsettled, so that a replay cannot cut the beginning of the next word.
UNTIMED_TAIL_SECONDS = 0.5

KEPT = 1000  # words of one stream against which a late final is compared: over five minutes of speech


class Timeline:
    """The finals of a session: numbered from 1, each beginning where the one before ended.

    Args:
        seq, confirmed: of a session that others began: its last final's number, and where that ended.

    Attributes:
        confirmed: everything below this sample position is settled; a new stream starts here.
        seq: the last final's number; 0 before the first.
    """

    def __init__(self, sample_rate: int, *, seq: int = 0, confirmed: int = 0) -> None:
        self.confirmed = confirmed
        self.seq = seq
        self._rate = sample_rate
        self._seam = int(SEAM_SECONDS * sample_rate)
        self._origin = confirmed  # where the present stream begins
        self._said: list[Word] = []  # by the present stream
        self._halved: Word | None = None  # the last word, when it may be only the first half of one
        self._held: int | None = None  # where a word begins that the next stream is to hear whole
        self._lost = 0  # words below it were given up, whoever may still say them

    def stream_opened(self) -> int:
        """Another stream speaks from now on; returns the position where it begins."""
        self._origin = self.confirmed
        self._said.clear()
        self._held = None
        return self._origin

    def final(self, result: Recognised, *, sent: int, source: Tier, cut: Cut = Cut.NONE) -> Transcript | None:
        """Settle a final of the present stream. None when it says nothing new: it repeats what is settled.

        Words that come out of turn, for a place where nothing was said so far, are new. The other half of a word that
        was cut off is settled with what follows, but not said again.

        Args:
            sent: the position up to which the stream was given audio; no final reaches past it.
            cut: whether its last word was cut off.
        """
        words = [word for word in result.words if not self._is_known(word)]
        rest = words.pop(0) if words and self._is_rest(words[0]) else None
        if not result.text or (result.words and not words and rest is None):
            return None
        last = words[-1] if words else rest
        is_cut = cut is not Cut.NONE and last is not None and last is result.words[-1]
        if is_cut and words and (cut is Cut.LEFT or (cut is Cut.HELD and len(words) > 1)):
            self._held, is_cut = words.pop().start, False
            if not words:
                return None
        if last is not None:
            self._halved = last if is_cut else None
        self._said += words
        del self._said[:-KEPT]
        text = result.text if len(words) == len(result.words) else " ".join(word.text for word in words)
        reach = max((word.end for word in (*words, rest) if word is not None), default=self._reach(result, sent))
        end = min(max(reach, self.confirmed), max(sent, self.confirmed))
        return self._settle(end, text, tuple(words), result, source)

    def interim(self, result: Recognised, *, source: Tier) -> Transcript:
        """What the stream currently believes about the audio after the last final."""
        return Transcript(
            is_final=False,
            seq=0,
            start=self.confirmed,
            end=max(self.confirmed, result.processed),
            text=result.text,
            stability=result.stability,
            source=source,
        )

    def silence(self, position: int, source: Tier) -> Transcript | None:
        """Settle audio up to `position` in which nothing was said: a final without text. None if it is settled."""
        if self._held is not None:
            position = min(position, self._held)
        if position <= self.confirmed:
            return None
        return self._settle(position, "", (), Recognised(is_final=True), source)

    def gap(self, position: int, code: str = AudioLost.entry.code) -> Gap | None:
        """Settle audio up to `position` as lost, for whatever was said in it. None if it is settled."""
        if position <= self.confirmed:
            return None
        start, self.confirmed = self.confirmed, position
        self._lost = position
        self.seq += 1
        return Gap(seq=self.seq, start=start, end=position, code=code)

    def _settle(self, end: int, text: str, words: tuple[Word, ...], result: Recognised, source: Tier) -> Transcript:
        start, self.confirmed = self.confirmed, end
        self.seq += 1
        return Transcript(
            is_final=True, seq=self.seq, start=start, end=end, text=text, words=words,
            confidence=result.confidence, source=source, provisional=result.provisional,
        )  # fmt: skip

    def _reach(self, result: Recognised, sent: int) -> int:
        """How far a final without word times reaches."""
        if not result.processed:
            return sent
        if result.provisional:
            return result.processed  # just so far
        return result.processed - int(UNTIMED_TAIL_SECONDS * self._rate)

    def _is_known(self, word: Word) -> bool:
        if self._origin > 0 and word.end <= self._origin + self._seam:
            return True  # a scrap of the last word before this stream
        middle = (word.start + word.end) // 2
        return middle < self._lost or (middle < self.confirmed and any(_are_one(word, said) for said in self._said))

    def _is_rest(self, word: Word) -> bool:
        """Whether this is the other half of the last word: the same one, from where that was cut off."""
        half = self._halved
        return half is not None and word.text == half.text and abs(word.start - half.end) <= self._seam


def _are_one(word: Word, said: Word) -> bool:
    """Whether two words are one and the same, heard twice: they share more than half of the shorter one."""
    shared = min(word.end, said.end) - max(word.start, said.start)
    return 2 * shared > min(word.end - word.start, said.end - said.start) or word.start == said.start
