"""Hypotheses as Riva's protobuf messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from riva.client.proto import riva_asr_pb2 as pb

from transport.embedded.config import LANGUAGE
from transport.embedded.hypothesis import Hypothesis
from transport.embedded.timing import TimedWord
from transport.embedded.utterance import RATE


def progress(position: int) -> Any:
    """Nothing but how far we have heard: a result without alternatives."""
    return pb.StreamingRecognitionResult(channel_tag=1, audio_processed=position / RATE)


def interim(hypothesis: Hypothesis, position: int, stability: float) -> Any:
    result = pb.StreamingRecognitionResult(stability=stability, channel_tag=1, audio_processed=position / RATE)
    result.alternatives.add(transcript=hypothesis.text, language_code=[LANGUAGE])
    return result


def final(hypothesis: Hypothesis, position: int, words: Iterable[TimedWord]) -> Any:
    result = pb.StreamingRecognitionResult(is_final=True, channel_tag=1, audio_processed=position / RATE)
    result.alternatives.append(alternative(hypothesis, words))
    return result


def alternative(hypothesis: Hypothesis, words: Iterable[TimedWord]) -> Any:
    return pb.SpeechRecognitionAlternative(
        transcript=hypothesis.text,
        confidence=hypothesis.confidence,
        language_code=[LANGUAGE],
        words=[_word(word) for word in words],
    )


def _word(word: TimedWord) -> Any:
    return pb.WordInfo(
        start_time=word.start * 1000 // RATE,
        end_time=word.end * 1000 // RATE,
        word=word.text,
        confidence=word.confidence,
        language_code=LANGUAGE,
    )
