"""Sixty-four bits as 80 ms of sound: four symbols of four tones each, and back.

A symbol lasts 20 ms. Each of its four tones is one of sixteen, 50 Hz apart, and so carries four bits; all lie between
300 and 3450 Hz, which a telephone's 8 kHz, mu-law and A-law keep. The tones of a symbol are orthogonal, so it is read
by one Fourier transform, however loud it is. They are cosines and begin together: the first sample is the loudest,
which tells where the word begins to the sample.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

BITS = 64
SYMBOLS = 4  # one after another
VOICES = 4  # tones at the same time
SECONDS = 0.08  # of all symbols
SPACING = 50  # Hz, one period in a symbol; so symbols last a fiftieth of a second, at any rate that 50 divides

_LOWEST = 6  # of the tones, in multiples of SPACING
_CHOICES = 16  # tones a voice can take
_AMPLITUDE = 5000  # of one tone; four of them stay below the 32768 of full scale
# Of a symbol's energy, the part in its four tones. Resampling to 8 kHz and back with A-law between leaves 0.995, a
# third of a millisecond too early or too late leaves this.
_PURE = 0.97
_BALANCE = 0.5  # the weakest of the four against the strongest, in power


def check_rate(rate: int) -> None:
    """Words can be coded at this many samples per second.

    Raises:
        ValueError: they cannot.
    """
    if not 8000 <= rate <= 192_000 or rate % SPACING:
        raise ValueError(f"a sample rate of {rate} Hz; words need 8000 to 192000 Hz, a multiple of {SPACING}")


def write(values: npt.NDArray[np.uint64], rate: int) -> Samples:
    """The sound of each value, a row of `SECONDS * rate` samples each."""
    shifts = np.arange(BITS - 4, -1, -4, dtype=np.uint64)
    digits = ((values[:, None] >> shifts) & np.uint64(15)).astype(np.intp).reshape(-1, SYMBOLS, VOICES)
    sound = _tones(rate)[digits + _CHOICES * np.arange(VOICES)].sum(axis=2, dtype=np.int16)
    return np.asarray(sound.reshape(len(values), SYMBOLS * (rate // SPACING)))


def read(sound: Samples, rate: int) -> int | None:
    """The value whose sound fills `SECONDS * rate` samples; None when they are anything else."""
    symbols = sound.reshape(SYMBOLS, -1).astype(np.float32)
    energy = np.einsum("ij,ij->i", symbols, symbols)
    spectrum = np.fft.rfft(symbols)[:, _LOWEST : _LOWEST + VOICES * _CHOICES]
    power = (spectrum.real**2 + spectrum.imag**2).reshape(SYMBOLS, VOICES, _CHOICES)
    digits = power.argmax(axis=2)
    strongest = power.max(axis=2)
    tones = strongest.sum(axis=1) * (2 / symbols.shape[1])
    if (tones < _PURE * energy).any() or (strongest.min(axis=1) < _BALANCE * strongest.max(axis=1)).any():
        return None
    value = 0
    for digit in digits.ravel().tolist():
        value = value << 4 | digit
    return value


@cache
def _tones(rate: int) -> Samples:
    """Every tone a symbol may hold, one in each row."""
    multiples = _LOWEST + np.arange(VOICES * _CHOICES)
    phases = np.arange(rate // SPACING) * (2 * np.pi * SPACING / rate)
    return np.asarray(np.rint(_AMPLITUDE * np.cos(np.outer(multiples, phases))), np.int16)
