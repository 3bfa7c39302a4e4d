"""A session's events as Riva's responses: milliseconds and float seconds there, samples here.

What Riva's protocol has no word for is said so that any client of it stays right:

- a `Gap` is a final without words that reaches to its end, so that what was shown of it is taken back; and it is named
  in the trailing metadata, `voxtree-gap: 1200-4800;AUDIO_004` (milliseconds, and why);
- an `Ack`, every second or so while audio comes, is a response without results, as Riva gives them in silence: clients
  pass over it, and whoever waits for a sign of life has it;
- a final of silence is not said, unless an interim has shown words in its place, which it takes back;
- a transcript of similar audio is not said: it could not be told from what was heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_common_pb2 import RequestId

from actors.speech.messages import Ack, Gap, Ready, SessionEvent, Transcript
from actors.speech.ports import RecognitionConfig
from transport.grpc_door.requests import Requests

MAX_GAPS = 32  # that are named: metadata may not be longer than some KiB


class Responses:
    """What one call is answered.

    Args:
        requests: what its client said so far.

    Attributes:
        gaps: those there were, for the trailing metadata; the first `MAX_GAPS`.
    """

    def __init__(self, requests: Requests) -> None:
        self.gaps: list[tuple[str, str]] = []
        self._requests = requests
        self._config = RecognitionConfig()  # the session's, once it is there
        self._shown = False  # an interim with words, since the last final

    def response(self, event: SessionEvent) -> pb.StreamingRecognizeResponse | None:
        """The response of a stream to an event; None: it is not told."""
        match event:
            case Ready(config=config):
                self._config = config
            case Transcript(is_final=False):
                self._shown = True
                return self._response(self._interim(event))
            case Transcript() | Gap():
                said, self._shown = self._shown, False
                final = self._final(event)
                return self._response(final) if said or isinstance(event, Gap) or event.text else None
            case Ack():
                return self._response()
        return None

    def _response(self, *results: Any) -> pb.StreamingRecognizeResponse:
        return pb.StreamingRecognizeResponse(results=results, id=self._requests.request_id)

    def _interim(self, event: Transcript) -> Any:
        result = self._result(event)
        result.stability = event.stability
        result.alternatives.add(transcript=event.text, language_code=[self._config.language])
        return result

    def _final(self, event: Transcript | Gap) -> Any:
        result = self._result(event)
        result.is_final = True
        if isinstance(event, Gap):
            self._name(event)
            result.alternatives.add()
            return result
        result.alternatives.add(
            transcript=event.text and f"{event.text} ",  # as Riva does: clients string finals together
            confidence=event.confidence,
            words=self._words(event),
            language_code=[self._config.language],
        )
        return result

    def _result(self, event: Transcript | Gap) -> Any:
        return pb.StreamingRecognitionResult(channel_tag=1, audio_processed=event.end / self._config.sample_rate)

    def _words(self, event: Transcript) -> list[Any]:
        if not self._config.word_times:
            return []
        return [
            pb.WordInfo(
                word=word.text,
                start_time=self._milliseconds(word.start),
                end_time=self._milliseconds(word.end),
                confidence=word.confidence,
                language_code=self._config.language,
            )
            for word in event.words
        ]

    def _name(self, gap: Gap) -> None:
        if len(self.gaps) < MAX_GAPS:
            place = f"{self._milliseconds(gap.start)}-{self._milliseconds(gap.end)}"
            self.gaps.append(("voxtree-gap", f"{place};{gap.code}"))

    def _milliseconds(self, samples: int) -> int:
        return samples * 1000 // self._config.sample_rate


def in_one(streamed: Iterable[pb.StreamingRecognizeResponse], request_id: RequestId | None) -> pb.RecognizeResponse:
    """The one response to a whole recording, made of a stream's: a result for each final with words."""
    return pb.RecognizeResponse(
        results=[
            pb.SpeechRecognitionResult(
                alternatives=result.alternatives,
                channel_tag=result.channel_tag,
                audio_processed=result.audio_processed,
            )
            for response in streamed
            for result in response.results
            if result.is_final and result.alternatives[0].transcript
        ],
        id=request_id,
    )
