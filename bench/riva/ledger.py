"""What became of the words that were sent: lost, doubled, out of order, declared as a gap."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from bench.riva.words import CodedSpeech, CodedWord


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Words, counted.

    Attributes:
        sent: whole words in the audio that was sent.
        received: of these, how many came at least once.
        lost: of these, how many never came.
        declared: of the lost ones, those that lie in a gap the client was told of.
        doubled: repetitions: a word that came three times counts twice.
        misordered: words that came, for the first time, after a word of a higher number.
        foreign: what came and was not sent: another session's words, or no words at all.
        moved: words that came with a time that is not theirs.
    """

    sent: int
    received: int
    lost: int
    declared: int
    doubled: int
    misordered: int
    foreign: int
    moved: int

    @property
    def undeclared(self) -> int:
        """Words lost without a word."""
        return self.lost - self.declared

    @property
    def flawless(self) -> bool:
        """Every word once, in order, at its time, and nothing else."""
        return self.received == self.sent and not (self.doubled or self.misordered or self.foreign or self.moved)


class Ledger:
    """Counts what a client of one session is told, final by final, against the speech it sends.

    Args:
        speech: what is sent; positions are its samples.
        tolerance: seconds by which a word's reported start may be wrong.
    """

    def __init__(self, speech: CodedSpeech, *, tolerance: float = 0.01) -> None:
        self._speech = speech
        self._tolerance = tolerance * speech.rate
        self._came: dict[int, int] = {}  # how often, by number
        self._highest = -1
        self._misordered = self._foreign = self._moved = 0
        self._gaps: list[tuple[int, int]] = []

    def final(self, text: str, starts: Iterable[int] = ()) -> None:
        """A final came. `starts`: the sample positions of its words, as far as they are known."""
        positions = iter(starts)
        for word in text.split():
            self._word(word, next(positions, None))

    def gap(self, start: int, end: int) -> None:
        """The client was told that the audio between two sample positions is lost."""
        self._gaps.append((start, end))

    def came(self, word: int) -> bool:
        """Whether the word of this number came in a final."""
        return word in self._came

    def lost(self, samples: int | None = None) -> list[CodedWord]:
        """The words that were sent and never came. `samples`: as for `score`."""
        return [word for word in self._sent(samples) if word.number not in self._came]

    def score(self, samples: int | None = None) -> Score:
        """The account so far. `samples`: how many were sent, if not all."""
        sent = self._sent(samples)
        lost = self.lost(samples)
        return Score(
            sent=len(sent),
            received=len(sent) - len(lost),
            lost=len(lost),
            declared=sum(self._is_declared(word) for word in lost),
            doubled=sum(times - 1 for times in self._came.values()),
            misordered=self._misordered,
            foreign=self._foreign,
            moved=self._moved,
        )

    def _word(self, text: str, start: int | None) -> None:
        word = self._read(text)
        if word is None:
            self._foreign += 1
            return
        self._misordered += word.number < self._highest and word.number not in self._came
        self._moved += start is not None and abs(start - word.start) > self._tolerance
        self._highest = max(self._highest, word.number)
        self._came[word.number] = self._came.get(word.number, 0) + 1

    def _read(self, text: str) -> CodedWord | None:
        """The word of our speech that is written so."""
        if (match := _WORD.fullmatch(text)) is None:
            return None
        try:
            word = self._speech.word(int(match[1]))
        except IndexError:
            return None
        return word if word.text == text else None

    def _sent(self, samples: int | None) -> list[CodedWord]:
        samples = self._speech.samples if samples is None else samples
        words = map(self._speech.word, self._speech.between(0, samples))
        return [word for word in words if word.end <= samples]

    def _is_declared(self, word: CodedWord) -> bool:
        return any(start < word.end and word.start < end for start, end in self._gaps)


_WORD = re.compile(r"w(\d{1,8})(?:t\d+)?")


def total(scores: Iterable[Score]) -> Score:
    """The sum of several sessions' accounts."""
    rows = [msgspec.structs.astuple(score) for score in scores]
    return Score(**dict(zip(Score.__struct_fields__, map(sum, zip(*rows, strict=True)), strict=True)))
