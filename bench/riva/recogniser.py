"""Recognises word-coded audio as a streaming recogniser does: interims, and finals where there is a pause. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bench.riva.words import CodedWord, WordDecoder


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an utterance. Positions are samples from the stream's start.

    Attributes:
        words: of the utterance so far, or all of them; none while nothing was said.
        processed: samples heard so far.
        zero: the position that the words' times count from.
        delay: seconds by which it comes late.
    """

    is_final: bool = False
    words: tuple[CodedWord, ...] = ()
    processed: int
    zero: int = 0
    delay: float = 0.0


class Recogniser:
    """One stream's. It answers once for each step of audio, in which way the audio may be cut.

    Args:
        rate: samples per second.
        step: seconds of audio in which it works.
        pause: seconds of silence that end an utterance; at least as long as a step.

    Attributes:
        spoken: words heard.
    """

    def __init__(self, rate: int, *, step: float = 0.1, pause: float = 0.3) -> None:
        self.spoken = 0
        self._decoder = WordDecoder(rate)
        self._step = round(step * rate)
        self._pause = round(pause * rate)
        self._words: list[CodedWord] = []

    @property
    def heard(self) -> int:
        """Samples."""
        return self._decoder.heard

    @property
    def scraps(self) -> int:
        """Sounds that were no word."""
        return self._decoder.scraps

    def hear(self, pcm: bytes) -> Iterator[Result]:
        """A result for each step that became full. The audio is heard as far as the results are taken."""
        begin = 0
        while begin < len(pcm):
            end = begin + 2 * (self._step - self.heard % self._step)
            self._add(self._decoder.feed(pcm[begin:end]))
            begin = end
            if self.heard % self._step == 0:
                yield self._result(is_final=self._has_paused())

    def force(self) -> Iterator[Result]:
        """End the utterance here: its final, if there were words. A word that is half spoken belongs to the next."""
        if self._words:
            yield self._result(is_final=True)

    def finish(self) -> Iterator[Result]:
        """No more audio will come: the last final, if there were words."""
        self._add(self._decoder.finish())
        return self.force()

    def _add(self, words: list[CodedWord]) -> None:
        self.spoken += len(words)
        self._words += words

    def _has_paused(self) -> bool:
        return bool(self._words) and self._decoder.clear - self._words[-1].end >= self._pause

    def _result(self, *, is_final: bool) -> Result:
        words = tuple(self._words)
        if is_final:
            self._words.clear()
        return Result(is_final=is_final, words=words, processed=self.heard)
