"""How well words were recognised."""

from __future__ import annotations

from collections.abc import Iterable

import jiwer

from bench.speech import Speech
from bench.text import normalised
from transport.embedded.recognise import Recogniser


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Word errors in percent of all words said, over pairs of (said, recognised)."""
    said, recognised = zip(*pairs, strict=True)
    return round(100 * jiwer.wer(list(map(normalised, said)), list(map(normalised, recognised))), 2)


def bare_transcripts(speech: Iterable[Speech]) -> list[str]:
    """What the engine makes of recordings when it is handed their samples directly."""
    recogniser = Recogniser()
    return [" ".join(final.text for final in recogniser.transcribe(one.pcm, one.sample_rate)) for one in speech]
