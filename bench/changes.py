"""What happens to a recording on its way: telephones, gain, noise, and where it is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from bench.speech import Speech
from transport.audio.g711 import MULAW

Samples = npt.NDArray[np.int16]
TELEPHONE = 8000  # Hz
_CODES = np.sort(np.array(MULAW, np.int16))


def _same(samples: Samples, rate: int) -> tuple[Samples, int]:
    return samples, rate


def _telephone(samples: Samples, rate: int) -> tuple[Samples, int]:
    return np.asarray(soxr.resample(samples, rate, TELEPHONE), np.int16), TELEPHONE


def _mulaw(samples: Samples, rate: int) -> tuple[Samples, int]:
    narrow, rate = _telephone(samples, rate)
    return _CODES[np.clip(np.searchsorted(_CODES, narrow), 0, 255)], rate


def _gain(decibels: float) -> Callable[[Samples, int], tuple[Samples, int]]:
    return lambda samples, rate: (_clipped(samples * 10 ** (decibels / 20)), rate)


def _noise(decibels: float) -> Callable[[Samples, int], tuple[Samples, int]]:
    """White noise so far below the recording's mean level; the same each time."""

    def change(samples: Samples, rate: int) -> tuple[Samples, int]:
        level = np.sqrt(np.mean(samples.astype(np.float64) ** 2)) * 10 ** (-decibels / 20)
        return _clipped(samples + np.random.default_rng(1).normal(0, level, len(samples))), rate

    return change


def _shift(milliseconds: float) -> Callable[[Samples, int], tuple[Samples, int]]:
    """Begin so much sooner, in silence, or later, in speech."""

    def change(samples: Samples, rate: int) -> tuple[Samples, int]:
        count = round(milliseconds * rate / 1000)
        return (np.pad(samples, (count, 0)) if count > 0 else samples[-count:]), rate

    return change


def _together(*changes: Callable[[Samples, int], tuple[Samples, int]]) -> Callable[[Samples, int], tuple[Samples, int]]:
    def change(samples: Samples, rate: int) -> tuple[Samples, int]:
        for each in changes:
            samples, rate = each(samples, rate)
        return samples, rate

    return change


def _clipped(samples: npt.NDArray[np.floating[Any]]) -> Samples:
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)


CHANGES: Mapping[str, Callable[[Samples, int], tuple[Samples, int]]] = {
    "none": _same,
    "8 kHz mu-law": _mulaw,
    "8 kHz": _telephone,
    "+6 dB, clipped": _gain(6),
    "-6 dB": _gain(-6),
    "noise 20 dB below": _noise(20),
    "noise 10 dB below": _noise(10),
    "200 ms sooner": _shift(200),
    "200 ms later": _shift(-200),
    "203.7 ms sooner": _shift(203.7),
    "telephone, sooner, -6 dB, noise 20 dB": _together(_mulaw, _shift(203.7), _gain(-6), _noise(20)),
}


def changed(speech: Speech, change: str) -> Speech:
    """The recording after one of `CHANGES`."""
    samples, rate = CHANGES[change](np.frombuffer(speech.pcm, np.int16), speech.sample_rate)
    return Speech(speech.name, speech.text, samples.tobytes(), rate)


def faster(speech: Speech, factor: float) -> Speech:
    """The recording played so many times as fast, and so much higher."""
    samples = np.frombuffer(speech.pcm, np.int16)
    played = np.asarray(soxr.resample(samples, speech.sample_rate * factor, speech.sample_rate), np.int16)
    return Speech(speech.name, speech.text, played.tobytes(), speech.sample_rate)
