"""What a plan does to results on their way to the client. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import assert_never

import msgspec

from bench.riva.faults import (
    EmptyFinals,
    FinalsAction,
    FinalsFault,
    NeverFinal,
    OverlapFinals,
    ReorderFinals,
    RepeatFinals,
    SlowFinals,
    UtteranceTimes,
)
from bench.riva.recogniser import Result
from bench.riva.words import CodedWord


class Tampering:
    """The changes to one stream's results, in the order in which they were added."""

    def __init__(self) -> None:
        self._changes: list[_Change] = []

    def add(self, fault: FinalsAction) -> None:
        """Change what comes from now on."""
        self._changes.append(_Change(fault))

    def apply(self, results: Iterable[Result]) -> Iterable[Result]:
        """The results as they are sent."""
        for change in self._changes:
            results = change.apply(results)
        return results

    def end(self) -> Iterator[Result]:
        """What was held back, when nothing more is to come."""
        for index, change in enumerate(self._changes):
            results: Iterable[Result] = change.end()
            for later in self._changes[index + 1 :]:
                results = later.apply(results)
            yield from results


class _Change:
    def __init__(self, fault: FinalsAction) -> None:
        self._fault = fault
        limit = fault.finals if isinstance(fault, FinalsFault) else None
        self._left = math.inf if limit is None else limit  # finals that it may still change
        self._words: tuple[CodedWord, ...] = ()  # of the last final, or of all of them
        self._held: Result | None = None
        self._zero = 0

    def apply(self, results: Iterable[Result]) -> Iterator[Result]:
        for result in results:
            yield from self._changed(result)

    def end(self) -> Iterator[Result]:
        if self._held is not None:
            yield self._held
        self._held = None

    def _changed(self, result: Result) -> Iterator[Result]:
        if isinstance(self._fault, NeverFinal | UtteranceTimes):
            yield self._never_final(result) if isinstance(self._fault, NeverFinal) else self._shifted(result)
        elif not result.is_final or (self._left <= 0 and self._held is None):
            yield result
        else:
            self._left -= 1
            yield from self._changed_final(result, self._fault)
            self._words = result.words

    def _changed_final(
        self, final: Result, fault: SlowFinals | RepeatFinals | EmptyFinals | OverlapFinals | ReorderFinals
    ) -> Iterator[Result]:
        match fault:
            case SlowFinals(seconds=seconds):
                yield msgspec.structs.replace(final, delay=final.delay + seconds)
            case RepeatFinals():
                yield final
                yield final
            case EmptyFinals():
                yield msgspec.structs.replace(final, words=())
                yield final
            case OverlapFinals(words=words):
                yield msgspec.structs.replace(final, words=self._words[-words:] + final.words)
            case ReorderFinals():
                if self._held is None:
                    self._held = final
                else:
                    yield final
                    yield from self.end()
            case _:
                assert_never(fault)

    def _never_final(self, result: Result) -> Result:
        words = self._words + result.words
        if result.is_final:
            self._words = words
        return msgspec.structs.replace(result, is_final=False, words=words)

    def _shifted(self, result: Result) -> Result:
        shifted = msgspec.structs.replace(result, zero=self._zero)
        if result.is_final:
            self._zero = result.processed
        return shifted
