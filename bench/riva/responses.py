"""Results as Riva's messages."""

from __future__ import annotations

from typing import Any, Literal

from riva.client.proto import riva_asr_pb2 as pb

from bench.riva.plan import Plan
from bench.riva.recogniser import Result
from bench.riva.settings import Settings
from bench.riva.words import CodedWord

STABILITY = 0.8  # of interims: high, since a word that was decoded never changes
CONFIDENCE = 0.99


class Responses:
    """Writes one stream's messages.

    Args:
        in_silence: what a result without words becomes; see `Plan`.

    Attributes:
        request_id: the client's, echoed in each.
    """

    def __init__(self, settings: Settings, in_silence: Literal["progress", "empty", "nothing"]) -> None:
        self.request_id: Any = None
        self._settings = settings
        self._in_silence = in_silence

    def message(self, result: Result) -> Any | None:
        """The message for a result; None when the client is to hear nothing."""
        if not result.is_final and not self._settings.interims:
            return None
        if not (result.words or result.is_final) and self._in_silence != "progress":
            return pb.StreamingRecognizeResponse(id=self.request_id) if self._in_silence == "empty" else None
        return pb.StreamingRecognizeResponse(results=[self._result(result)], id=self.request_id)

    def _result(self, result: Result) -> Any:
        processed = result.processed / self._settings.rate
        message = pb.StreamingRecognitionResult(is_final=result.is_final, channel_tag=1, audio_processed=processed)
        if result.is_final:
            timed = result.words if self._settings.word_times else ()
            message.alternatives.add(
                transcript=_text(result),
                confidence=CONFIDENCE,
                words=[self._word(word, result.zero) for word in timed],
            )
        elif result.words:
            message.stability = STABILITY
            message.alternatives.add(transcript=_text(result))
        return message

    def _word(self, word: CodedWord, zero: int) -> Any:
        return pb.WordInfo(
            word=word.text,
            start_time=self._milliseconds(word.start - zero),
            end_time=self._milliseconds(word.end - zero),
            confidence=CONFIDENCE,
        )

    def _milliseconds(self, samples: int) -> int:
        return samples * 1000 // self._settings.rate


def _text(result: Result) -> str:
    return " ".join(word.text for word in result.words)


def model_config(plan: Plan) -> Any:
    """What the scripted Riva says about its one model."""
    return pb.RivaSpeechRecognitionConfigResponse.Config(
        model_name=plan.model,
        parameters={"language_code": ",".join(plan.languages), "type": "online", "streaming": "True"},
    )
