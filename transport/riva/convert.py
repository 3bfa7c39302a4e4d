"""Between Riva's messages and ours: milliseconds and float seconds there, samples here."""

from __future__ import annotations

import math

import numpy as np
import soxr
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto import riva_audio_pb2 as audio_pb

from actors.speech.ports import Recognised, RecognitionConfig, Word


def config_request(config: RecognitionConfig, *, sample_rate: int, model: str, label: str) -> bytes:
    """A stream's first message. `sample_rate` is that of the audio sent; Riva echoes `label` and logs it."""
    request = pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(
            interim_results=config.interim_results,
            config=pb.RecognitionConfig(
                encoding=audio_pb.LINEAR_PCM,
                sample_rate_hertz=sample_rate,
                language_code=config.language,
                max_alternatives=1,
                audio_channel_count=1,
                enable_word_time_offsets=config.word_times,
                enable_automatic_punctuation=config.punctuate,
                model=model,
            ),
        ),
    )
    request.id.value = label
    return bytes(request.SerializeToString())


def audio_request(pcm: bytes) -> bytes:
    """A message of audio, serialised: `StreamingRecognizeRequest(audio_content=pcm)`, byte for byte.

    Written by hand because it is the one message sent per chunk, and the protobuf object would copy `pcm`
    twice.
    """
    size = len(pcm)
    length = bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"".join((_AUDIO_CONTENT, length, pcm))


_AUDIO_CONTENT = b"\x12"  # field 2, length-delimited
FORCE_FINAL = bytes(pb.StreamingRecognizeRequest(runtime_config={"force_eou": "true"}).SerializeToString())


def read_results(response: pb.StreamingRecognizeResponse, rate: int) -> list[Recognised]:
    """Our results for one response; none for a response that has no results. `rate` is the session's, in Hz."""
    return [_result(result, rate) for result in response.results]


def _result(result: pb.StreamingRecognitionResult, rate: int) -> Recognised:
    processed = round(result.audio_processed * rate)
    if not result.alternatives:  # the pipeline's states only
        return Recognised(is_final=False, processed=processed)
    best = result.alternatives[0]
    return Recognised(
        is_final=result.is_final,
        text=best.transcript.strip(),
        words=tuple([_word(word, rate) for word in best.words]) if best.words else (),
        processed=processed,
        stability=result.stability,
        confidence=_probability(best.confidence) if result.is_final else 0.0,
    )


def _word(word: pb.WordInfo, rate: int) -> Word:
    return Word(
        text=word.word,
        start=max(0, word.start_time) * rate // 1000,
        end=max(0, word.end_time) * rate // 1000,
        confidence=_probability(word.confidence),
    )


def _probability(confidence: float) -> float:
    """Riva's models give a probability or its natural logarithm; 0.0 is its `not set` either way."""
    return math.exp(confidence) if confidence < 0 else min(confidence, 1.0)


class Resampler:
    """PCM16 mono from one rate to another, chunk by chunk, without a seam and without a shift in time.

    Holds back up to 50 ms until more audio comes; `flush` gives that out and ends the stream.
    """

    def __init__(self, source: int, target: int) -> None:
        self._stream = soxr.ResampleStream(source, target, 1, dtype="int16", quality="HQ")

    def push(self, pcm: bytes) -> bytes:
        """The resampled audio that is ready; may be empty."""
        return bytes(self._stream.resample_chunk(np.frombuffer(pcm, "<i2")).tobytes())

    def flush(self) -> bytes:
        """The rest. Nothing may be pushed after it."""
        return bytes(self._stream.resample_chunk(np.empty(0, np.int16), last=True).tobytes())
