"""From spans within an utterance's audio to words at their place in the stream."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from transport.embedded.aligner import Span
from transport.embedded.hypothesis import Hypothesis
from transport.embedded.utterance import RATE, Final


class TimedWord(msgspec.Struct, frozen=True, gc=False):
    """A word of a final; `start` and `end` are samples at 16 kHz from the stream's first."""

    text: str
    start: int
    end: int
    confidence: float


def place_words(final: Final, hypothesis: Hypothesis, spans: Sequence[Span]) -> tuple[TimedWord, ...]:
    """The words of a final; none without spans.

    Words do not overlap, and none reaches out of the utterance. The last one lasts at least to the end of speech: who
    takes its end as the place up to which all is said must not hear the rest of it again.
    """
    if not spans:
        return ()
    words, at = [], final.start
    for word, (start, end) in zip(hypothesis.words, spans, strict=True):
        first = min(max(at, final.start + round(start * RATE)), final.end)
        at = min(max(first, final.start + round(end * RATE)), final.end)
        words.append(TimedWord(word.text, first, at, word.probability))
    last = words[-1]
    words[-1] = msgspec.structs.replace(last, end=max(last.end, final.end_of_speech))
    return tuple(words)
