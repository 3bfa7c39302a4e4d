"""Word times: pocketsphinx told what was said, asked only when."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from transport.embedded.models import missing

Samples = npt.NDArray[np.float32]
Span = tuple[float, float]  # seconds from the start of the audio

SLICE = 3_200  # bytes (0.1 s) a call: pocketsphinx holds the GIL, and the event loop must get its turn
MAX_ADDED_WORDS = 2_000  # then the decoder is made anew, for its dictionary only grows

_SOUNDS_OF_LETTERS = "AE B K D EH F G HH IH JH K L M N AA P K R S T AH V W K Y Z AH"
_LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz'", _SOUNDS_OF_LETTERS.split(), strict=True))
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SYMBOLS = {"%": "percent", "$": "dollars", "&": "and", "+": "plus"}


class Aligner:
    """Finds where in the audio each word is. 28 MB, and not for two threads at once: one a core is enough.

    Raises:
        EngineUnavailable: pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as exc:
            raise missing("pocketsphinx") from exc
        self._decoder_class: Any = Decoder
        self._decoder = self._new_decoder()
        self._added = 0

    def align(self, samples: Samples, words: Sequence[str]) -> list[Span]:
        """The span of each word, in order, without overlaps. The same input always gives the same spans.

        Words that the aligner cannot place share the audio by their length.
        """
        sounds = [spoken_form(word) for word in words]
        flat = [sound for group in sounds for sound in group]
        if not flat:
            return [(0.0, 0.0)] * len(words)
        spans = self._align(samples, flat)
        if len(spans) != len(flat):
            spans = by_length(flat, len(samples) / 16_000)
        return _regroup(sounds, spans)

    def _align(self, samples: Samples, sounds: list[str]) -> list[Span]:
        self._learn(sounds)
        decoder = self._decoder
        decoder.reinit_feat()  # forget the speaker before, or the result would depend on who it was
        decoder.set_align_text(" ".join(sounds))
        decoder.start_utt()
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        for at in range(0, len(pcm), SLICE):
            decoder.process_raw(pcm[at : at + SLICE], False, False)
        decoder.end_utt()
        return [
            (segment.start_frame / 100, (segment.end_frame + 1) / 100)
            for segment in decoder.seg() or ()
            if segment.word[0] not in "<["
        ]

    def _new_decoder(self) -> Any:
        # ds=2 scores every other 10 ms frame: a third less CPU, and nine in ten ends move by 20 ms at most.
        return self._decoder_class(lm=None, bestpath=False, loglevel="FATAL", ds=2)

    def _learn(self, sounds: list[str]) -> None:
        """Teach words that are not in the dictionary, spelled letter by letter."""
        if self._added > MAX_ADDED_WORDS:
            self._decoder, self._added = self._new_decoder(), 0
        for sound in sounds:
            if self._decoder.lookup_word(sound) is None:
                self._decoder.add_word(sound, " ".join(_LETTERS[letter] for letter in sound), True)
                self._added += 1


def spoken_form(word: str) -> list[str]:
    """How a written word sounds: `35%` as thirty, five, percent. Mere punctuation has no sound."""
    plain = unicodedata.normalize("NFKD", word.lower()).replace("’", "'")  # é becomes e and an accent
    parts = re.findall(r"[a-z']*[a-z][a-z']*|[0-9]+|[%$&+]", re.sub(r"[\u0300-\u036f]", "", plain))
    return [sound for part in parts for sound in _sounds(part)]


def _sounds(part: str) -> list[str]:
    if not part.isdigit():
        return [_SYMBOLS.get(part, part)]
    if len(part) == 2 and part[0] != "0":
        return _two_digits(part)
    if len(part) == 4 and part[0] != "0" and part[2] != "0":  # most often a year
        return _two_digits(part[:2]) + _two_digits(part[2:])
    return [_DIGITS[int(digit)] for digit in part]


def _two_digits(part: str) -> list[str]:
    tens, ones = int(part[0]), int(part[1])
    if tens == 1:
        return [_TEENS[ones]]
    return [_TENS[tens], _DIGITS[ones]] if ones else [_TENS[tens]]


def by_length(sounds: Sequence[str], seconds: float) -> list[Span]:
    """Shares `seconds` out by the number of letters: a rough guess for when the aligner loses its way."""
    ends = np.cumsum([0] + [len(sound) + 1 for sound in sounds])
    return list(pairwise(float(end) for end in ends / ends[-1] * seconds))


def _regroup(sounds: Sequence[list[str]], spans: Sequence[Span]) -> list[Span]:
    """One span for each written word; a word without a sound gets an empty one after the word before it."""
    result, at, end = [], 0, spans[0][0]
    for group in sounds:
        if group:
            start, end = spans[at][0], spans[at + len(group) - 1][1]
            at += len(group)
        else:
            start = end
        result.append((start, end))
    return result
