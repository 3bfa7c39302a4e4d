"""Word-coded audio: speech in which each word is a number, so that lost, doubled and damaged words can be counted.

A word takes a slot of 200 ms: 40 ms of silence, 80 ms of sound (see `bench.riva.tones`), 80 ms of silence. The sound
holds the word's number, a tag that tells sessions apart, and a checksum. Resampling, mu-law, A-law and another volume
leave words readable. A lost or doubled sample moves every word behind it; 5 ms lost or silenced in a word's sound make
it no word.

The silence around a word is what a replay needs. A stream that begins up to 100 ms after a word's end hears the next
one whole, and that one ends more than 80 ms into the stream. Of a word in which a stream begins it hears a scrap, which
is no word.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from bench.riva import tones
from bench.riva.tones import Samples

WORDS = 1 << 24  # numbers there are
TAGS = 1 << 16
SLOT_SECONDS = 0.2
LEAD_SECONDS = 0.04  # silence in the slot before the sound


class CodedWord(msgspec.Struct, frozen=True, gc=False):
    """A word and where its sound is: sample positions, the first and the one after the last."""

    number: int
    start: int
    end: int
    tag: int = 0

    @property
    def text(self) -> str:
        """What a recogniser writes: `w17`, or `w17t5` with tag 5."""
        return f"w{self.number}t{self.tag}" if self.tag else f"w{self.number}"


class CodedSpeech(msgspec.Struct, frozen=True, kw_only=True):
    """Speech of so many words, which need not be kept: any part of it can be made again.

    Attributes:
        words: how many.
        rate: samples per second: 8000 to 192000, a multiple of 50.
        first: the number of the first word; the others follow.
        tag: which session this is, 0 to 65535.
        utterance: words between two pauses.
        pause: seconds of silence after each utterance, besides the 120 ms there are between any two words.

    Raises:
        ValueError: when a value is out of its range.
    """

    words: int
    rate: int = 16_000
    first: int = 0
    tag: int = 0
    utterance: int = 10
    pause: float = 0.8

    def __post_init__(self) -> None:
        tones.check_rate(self.rate)
        if min(self.first, self.words) < 0 or self.first + self.words > WORDS:
            raise ValueError(f"words {self.first} to {self.first + self.words - 1}; there are 0 to {WORDS - 1}")
        if not 0 <= self.tag < TAGS:
            raise ValueError(f"tag {self.tag}; there are 0 to {TAGS - 1}")
        if self.utterance < 1 or self.pause < 0:
            raise ValueError("an utterance has at least one word, and a pause is not negative")

    @property
    def samples(self) -> int:
        """How long it is, the last pause included."""
        utterances, rest = divmod(self.words, self.utterance)
        return utterances * self._period + (rest * self._slot + self._pause if rest else 0)

    def word(self, number: int) -> CodedWord:
        """The word of this number, and where it is.

        Raises:
            IndexError: there is no such word here.
        """
        if not 0 <= number - self.first < self.words:
            raise IndexError(f"word {number} of {self.first} to {self.first + self.words - 1}")
        utterance, place = divmod(number - self.first, self.utterance)
        start = utterance * self._period + place * self._slot + round(LEAD_SECONDS * self.rate)
        return CodedWord(number, start, start + round(tones.SECONDS * self.rate), self.tag)

    def between(self, start: int, end: int) -> range:
        """The numbers of the words that have sound between two sample positions."""
        return range(self._next(start), self._next_starting(end))

    def read(self, position: int, samples: int) -> bytes:
        """So many samples of PCM16 mono from a position on; fewer at the end."""
        end = min(position + samples, self.samples)
        pcm = np.zeros(max(0, end - position), np.int16)
        numbers = self.between(position, end)
        for number, sound in zip(numbers, _sounds(numbers, self.rate, self.tag), strict=True):
            at = self.word(number).start - position
            pcm[max(0, at) : at + len(sound)] = sound[max(0, -at) : len(pcm) - at]
        return pcm.astype("<i2").tobytes()

    def chunks(self, seconds: float = 0.1) -> Iterator[bytes]:
        """All of it, piece by piece."""
        size = round(seconds * self.rate)
        return (self.read(position, size) for position in range(0, self.samples, size))

    @property
    def _slot(self) -> int:
        return round(SLOT_SECONDS * self.rate)

    @property
    def _pause(self) -> int:
        return round(self.pause * self.rate)

    @property
    def _period(self) -> int:
        return self.utterance * self._slot + self._pause

    def _next(self, position: int) -> int:
        """The first word that ends after a position."""
        return self._next_starting(position + 1 - round(tones.SECONDS * self.rate))

    def _next_starting(self, position: int) -> int:
        """The first word that starts at a position or after it; the one after the last word if none does."""
        utterance, rest = divmod(max(0, position - round(LEAD_SECONDS * self.rate)), self._period)
        place = min(self.utterance, -(-rest // self._slot))
        return self.first + min(self.words, utterance * self.utterance + place)


def words(first: int, count: int, rate: int = 16_000, tag: int = 0) -> bytes:
    """PCM16 mono of so many words in a row, a slot each.

    Raises:
        ValueError: a number, the tag or the rate is out of its range.
    """
    speech = CodedSpeech(words=count, rate=rate, first=first, tag=tag, utterance=max(1, count), pause=0.0)
    return speech.read(0, speech.samples)


def silence(seconds: float, rate: int = 16_000) -> bytes:
    """PCM16 mono in which nothing is said."""
    return bytes(2 * round(seconds * rate))


class WordDecoder:
    """Finds the words in PCM16 mono. How the audio is cut into pieces makes no difference.

    Args:
        rate: samples per second, as for `CodedSpeech`.

    Attributes:
        heard: samples fed.
        scraps: sounds that were no word.

    Raises:
        ValueError: from here, for a rate at which there are no words; from `feed`, for half a sample.
    """

    def __init__(self, rate: int = 16_000) -> None:
        tones.check_rate(rate)
        self.heard = 0
        self.scraps = 0
        self._rate = rate
        self._word = round(tones.SECONDS * rate)
        self._ringing = round(_RINGING_SECONDS * rate)
        self._quiet = round(_QUIET_SECONDS * rate)
        self._held = np.empty(0, np.int16)  # from the first sound on that is not understood yet
        self._in_scrap = False

    @property
    def clear(self) -> int:
        """What is before this sample position has been understood; silence follows if it is all of `heard`."""
        return self.heard - len(self._held)

    def feed(self, pcm: bytes) -> list[CodedWord]:
        """The words that became whole with this audio. Positions count from the first sample ever fed."""
        new = np.frombuffer(pcm, "<i2")
        self.heard += len(new)
        self._held = np.concatenate((self._held, new)) if len(self._held) else new
        found: list[CodedWord] = []
        while self._leave_scrap() if self._in_scrap else (self._skip_silence() and self._understand(found)):
            pass
        return found

    def finish(self) -> list[CodedWord]:
        """The last word, if the audio ended right behind it. Nothing may be fed after this."""
        if not len(self._held):
            return []
        heard = self.heard
        found = self.feed(bytes(2 * (self._word + 2 * self._ringing)))
        self.heard, self._held = heard, self._held[:0]
        return found

    def _skip_silence(self) -> bool:
        """True if there is a sound behind it."""
        loud = _loud(self._held)
        first = int(loud.argmax()) if len(loud) else 0
        self._held = self._held[first:] if len(loud) and loud[first] else self._held[:0]
        return len(self._held) > 0

    def _understand(self, found: list[CodedWord]) -> bool:
        """Take the sound for a word or for a scrap; false while too little of it is there."""
        if len(self._held) < self._word + 2 * self._ringing:
            return False
        level = np.abs(self._held[: self._word + self._ringing].astype(np.int32))
        first = int((level[: self._ringing] > _ONSET * level.max()).argmax())
        word = self._read(first)
        if word is None:
            self.scraps += 1
            self._in_scrap = True
        else:
            found.append(word)
            self._held = self._held[first + self._word + self._ringing :]
        return True

    def _read(self, first: int) -> CodedWord | None:
        value = tones.read(self._held[first : first + self._word], self._rate)
        if value is None or (meaning := _meaning(value)) is None:
            return None
        number, tag = meaning
        start = self.clear + first
        return CodedWord(number, start, start + self._word, tag)

    def _leave_scrap(self) -> bool:
        """True once there is a silence behind it."""
        loud = np.flatnonzero(_loud(self._held))
        pauses = np.diff(loud, append=len(self._held)) > self._quiet
        self._in_scrap = not pauses.any()
        self._held = self._held[loud[-1] if self._in_scrap else loud[pauses.argmax()] + 1 :]
        return not self._in_scrap


_FLOOR = 64  # of 32768: above A-law's silence; words that are quieter are not heard
_ONSET = 0.4  # of the loudest sample: less than the first one of a word, which a resampler may halve
_RINGING_SECONDS = 0.005  # how far a resampler lets a word reach beyond its ends
_QUIET_SECONDS = 0.01  # a silence that ends a scrap; in a word there is none of this length

_CHECK_BITS = 24
_MASK = 0x9E3779B97F4A7C15  # so that small numbers do not repeat one symbol, which could then be doubled unnoticed


def _loud(samples: Samples) -> npt.NDArray[np.bool_]:
    return np.asarray((samples > _FLOOR) | (samples < -_FLOOR))


def _sounds(numbers: Iterable[int], rate: int, tag: int) -> Samples:
    return tones.write(np.array([_value(number, tag) for number in numbers], np.uint64), rate)


def _value(number: int, tag: int) -> int:
    return _checked(number << 16 | tag) ^ _MASK


def _meaning(value: int) -> tuple[int, int] | None:
    """Number and tag; None when the checksum is another one's."""
    value ^= _MASK
    content = value >> _CHECK_BITS
    return (content >> 16, content & 0xFFFF) if _checked(content) == value else None


def _checked(content: int) -> int:
    checksum = zlib.crc32(content.to_bytes(5, "big")) & (1 << _CHECK_BITS) - 1
    return content << _CHECK_BITS | checksum
