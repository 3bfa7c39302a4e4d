"""Moonshine: speech in, words with their probabilities out."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transport.embedded.hypothesis import Hypothesis, SpokenWord
from transport.embedded.models import DECODER, ENCODER, TOKENIZER, onnx_session

Samples = npt.NDArray[np.float32]  # 16 kHz mono, -1 to 1

START_TOKEN, END_TOKEN = 1, 2
TOKENS_PER_SECOND = 6.5  # what the model was trained with; more means that it repeats itself
LOOP_COMPRESSION = 2.4  # text that zlib shrinks further than this is a repetition loop (the threshold is Whisper's)
LOOP_MIN_SAMPLES = 32_000
MIN_SAMPLES, TAIL_SAMPLES = (
    3_200,
    1_600,
)  # the encoder needs 0.2 s; a little silence keeps the last word whole
SPACE = "\u2581".encode()  # how the tokenizer marks the start of a word


class Moonshine:
    """A Moonshine model of the `tiny` family. Safe to call from several threads; it works without the GIL.

    Args:
        folder: holds encoder_model.ort, decoder_model_merged.ort and tokenizer.bin.

    Raises:
        EngineUnavailable: the files cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        self._encoder = onnx_session(folder / ENCODER)
        self._decoder = onnx_session(folder / DECODER)
        self._tokens = read_tokens((folder / TOKENIZER).read_bytes())
        self._encoder_inputs = {i.name for i in self._encoder.get_inputs()}
        self._decoder_inputs = {i.name for i in self._decoder.get_inputs()}
        self._cache_shapes = {
            i.name: (1, i.shape[1], 0, i.shape[3])
            for i in self._decoder.get_inputs()
            if i.name.startswith("past_key_values")
        }
        self._cache_names = [o.name.replace("present", "past_key_values") for o in self._decoder.get_outputs()[1:]]

    def decode(self, samples: Samples) -> Hypothesis:
        """What is said in `samples` (16 kHz, at most some 20 s). The same samples give the same words."""
        hypothesis = self._decode_whole(samples)
        if len(samples) < LOOP_MIN_SAMPLES or not _is_loop(hypothesis):
            return hypothesis
        middle = _quietest_place(samples)
        return self.decode(samples[:middle]) + self.decode(samples[middle:])

    def _decode_whole(self, samples: Samples) -> Hypothesis:
        padded = np.pad(samples, (0, max(TAIL_SAMPLES, MIN_SAMPLES - len(samples))))[None].astype(np.float32)
        mask = np.ones(padded.shape, np.int64)
        encoded = _run(self._encoder, self._encoder_inputs, {"input_values": padded, "attention_mask": mask})[0]
        fixed = {"encoder_hidden_states": encoded, "encoder_attention_mask": mask}
        cache = {name: np.zeros(shape, np.float32) for name, shape in self._cache_shapes.items()}
        spoken = _WordBuilder(self._tokens)
        token = START_TOKEN
        for step in range(int(padded.shape[1] / 16_000 * TOKENS_PER_SECOND) + 2):
            inputs = {"input_ids": np.array([[token]]), "use_cache_branch": np.array([step > 0])}
            logits, *present = _run(self._decoder, self._decoder_inputs, {**fixed, **inputs, **cache})
            token, probability = _best(logits[0, -1])
            if token == END_TOKEN:
                break
            # The encoder's half of the cache is only right in the first step's output.
            cache.update(
                (name, value)
                for name, value in zip(self._cache_names, present, strict=True)
                if step == 0 or ".encoder." not in name
            )
            spoken.add(token, probability)
        return spoken.hypothesis()


class _WordBuilder:
    """Joins tokens to words. A word is as likely as its least likely token."""

    def __init__(self, tokens: list[bytes]) -> None:
        self._tokens = tokens
        self._words: list[tuple[bytes, float]] = []

    def add(self, token: int, probability: float) -> None:
        text = self._tokens[token].replace(SPACE, b" ")
        if text.startswith(b" ") or not self._words:
            self._words.append((text.strip(), probability))
        else:
            before, lowest = self._words[-1]
            self._words[-1] = (before + text.strip(), min(lowest, probability))

    def hypothesis(self) -> Hypothesis:
        return Hypothesis(tuple(SpokenWord(t.decode(errors="ignore"), p) for t, p in self._words if t))


def read_tokens(data: bytes) -> list[bytes]:
    """The vocabulary: for each token its length (a second byte when over 127), then its bytes."""
    tokens, at = [], 0
    while at < len(data):
        length = data[at]
        at += 1
        if length > 127:
            length += 128 * data[at] - 128
            at += 1
        tokens.append(data[at : at + length])
        at += length
    return tokens


def _run(session: Any, names: set[str], inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Run with the inputs that this model's graph has: larger Moonshine models take no masks."""
    outputs: list[npt.NDArray[Any]] = session.run(None, {k: v for k, v in inputs.items() if k in names})
    return outputs


def _best(logits: npt.NDArray[np.float32]) -> tuple[int, float]:
    token = int(logits.argmax())
    return token, 1 / float(np.exp(logits - logits[token]).sum())


def _is_loop(hypothesis: Hypothesis) -> bool:
    text = hypothesis.text.encode()
    return len(text) >= LOOP_COMPRESSION * len(zlib.compress(text))


def _quietest_place(samples: Samples) -> int:
    """Where to halve: the middle of the quietest 0.2 s of the middle half."""
    quarter = len(samples) // 4
    energy = np.convolve(samples[quarter : 3 * quarter] ** 2, np.ones(3_200), "same")
    return quarter + int(energy.argmin())
