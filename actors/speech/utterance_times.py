"""Whether a backend counts word times from its stream's start, or anew with each utterance."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from actors.speech.ports import Recognised

GRID_SECONDS = 0.08  # Riva's word times lie on a grid of so much; nothing finer is told apart
# A backend ends its utterances after about the same silence each time. When the last word seems to have ended that much
# earlier than the one of the utterance before, it was counted from somewhere else.
ODD_SECONDS = 0.3
# Without the audio processed only a start so far before the last final's end gives the backend away.
FAR_SECONDS = 1.0
KEPT = 8  # finals that may still be repeated, or come late


class _Final(msgspec.Struct, frozen=True):
    result: Recognised  # as it came
    end: int  # of its last word, since the stream's start


class UtteranceTimes:
    """Follows the finals of one stream, in samples.

    Times are taken as counted from the stream's start until a final shows that they cannot be: its words would lie
    before the end of the one before, or long before its own, and make sense when counted from there. From then on the
    audio processed up to the final before is added. Should that once lead past the audio processed, it was an error and
    is taken back.
    """

    def __init__(self, rate: int) -> None:
        self._grid = int(GRID_SECONDS * rate)
        self._odd = int(ODD_SECONDS * rate)
        self._far = int(FAR_SECONDS * rate)
        self._anew = False
        self._finals: list[_Final] = []  # the last ones, by the audio processed

    def repeats(self, final: Recognised) -> bool:
        """Whether a final came before, word for word; two without any position are never the same."""
        return bool(final.words or final.processed) and any(final == known.result for known in self._finals)

    def shift(self, result: Recognised) -> int:
        """Samples to add to the word times of a result; a final is remembered."""
        before = self._before(result)
        if result.words and before is not None:
            self._judge(result, before)
        shift = self._starts(before) if self._anew and before is not None else 0
        if result.is_final:
            self._remember(result, shift)
        return shift

    def _judge(self, result: Recognised, before: _Final) -> None:
        first, last = result.words[0].start, result.words[-1].end
        if not self._anew:
            self._anew = result.is_final and self._starts_anew(first, last, result, before)
        elif result.processed and last <= result.processed < self._starts(before) + last - self._grid:
            self._anew = False

    def _starts_anew(self, first: int, last: int, result: Recognised, before: _Final) -> bool:
        if not (result.processed and before.result.processed):
            return first + self._far < before.end and not self._says_again(result, before)
        if self._starts(before) + last > result.processed + 2 * self._grid:
            return False  # counted from there, it would lie in audio that was not heard yet
        silence, usual = result.processed - last, before.result.processed - before.end
        return first < before.end - self._grid or silence > usual + self._odd

    def _says_again(self, result: Recognised, before: _Final) -> bool:
        """Whether a final begins with the words of the one before."""
        if not before.result.words:
            return False
        first, known = result.words[0], before.result.words[0]
        return first.text == known.text and abs(first.start - known.start) <= self._grid

    def _starts(self, before: _Final) -> int:
        """Where the utterance after a final begins to count."""
        return before.result.processed or before.end

    def _before(self, result: Recognised) -> _Final | None:
        """The final that precedes a result, which itself may come late."""
        if not result.processed:
            return self._finals[-1] if self._finals else None
        index = bisect_left(self._finals, result.processed, key=lambda known: known.result.processed)
        return self._finals[index - 1] if index else None

    def _remember(self, result: Recognised, shift: int) -> None:
        end = result.words[-1].end + shift if result.words else result.processed
        index = len(self._finals)
        if result.processed:
            index = bisect_left(self._finals, result.processed, key=lambda known: known.result.processed)
        self._finals.insert(index, _Final(result, end))
        del self._finals[:-KEPT]
