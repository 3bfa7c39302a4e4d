"""What a decode yields, and how far two of them agree."""

from __future__ import annotations

import msgspec

_EDGES = "".join(c for c in map(chr, range(33, 127)) if not c.isalnum()) + "’‘“”…–—"
UNSURE = 0.4  # below it fewer than half of the words are right
SHORT = 1.5  # seconds, lead-in and pause included


class SpokenWord(msgspec.Struct, frozen=True, gc=False):
    """A word as the model writes it, and the probability (0 to 1) of its least likely token."""

    text: str
    probability: float


class Hypothesis(msgspec.Struct, frozen=True):
    """The words of one stretch of audio."""

    words: tuple[SpokenWord, ...] = ()

    def __add__(self, other: Hypothesis) -> Hypothesis:
        return Hypothesis(self.words + other.words)

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """The mean of the words' probabilities; 0.0 without words."""
        return sum(word.probability for word in self.words) / len(self.words) if self.words else 0.0

    def unpunctuated(self) -> Hypothesis:
        """The same words in lower case without punctuation; apostrophes and points inside a word stay."""
        plain = (SpokenWord(_plain(word.text), word.probability) for word in self.words)
        return Hypothesis(tuple(word for word in plain if word.text))

    def is_noise(self, seconds: float) -> bool:
        """Whether this is what the model makes of a short noise that is no speech, rather than words."""
        return not self.words or (seconds < SHORT and self.confidence < UNSURE)

    def agreement(self, other: Hypothesis) -> float:
        """The leading share, 0 to 1, of these words that `other` has too."""
        same = 0
        for mine, theirs in zip(self.words, other.words, strict=False):
            if _plain(mine.text) != _plain(theirs.text):
                break
            same += 1
        return same / len(self.words) if self.words else 0.0


def _plain(word: str) -> str:
    return word.strip(_EDGES).lower()
