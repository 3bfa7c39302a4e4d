"""What a recording sounds like, as landmarks: pairs of spectral peaks that survive telephones, noise and gain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

RATE = 16_000  # Hz that everything is brought to
FRAME, HOP = 512, 160  # samples: 32 ms of audio every 10 ms
FRAMES_A_SECOND = RATE // HOP
LONGEST = 40.0  # seconds, 4000 frames: an index keeps a frame's number in 12 bits
LOWEST, BINS = 9, 100  # 281 to 3406 Hz, which is what a telephone lets through
NEAR_BINS, NEAR_FRAMES = 4, 5  # a peak is the highest within so much of it, each way
RANGE_DB = 30.0  # … and within this of nearly the loudest
PEAKS = 10  # kept in each half second, the strongest
PARTNERS = 4  # each peak is paired with so many that follow
SOONEST, LATEST, FARTHEST = 2, 64, 31  # … within these frames and bins
SILENCE_DB = -60.0  # of a peak, full scale being some 40: digital silence and rounding have no landmarks

_WINDOW = np.hanning(FRAME).astype(np.float32)

Samples = npt.NDArray[np.float32]
Integers = npt.NDArray[np.uint32]


class Landmarks:
    """A fingerprint: `hashes[i]` (19 bits) was heard in frame `frames[i]`, ten milliseconds each.

    Attributes:
        frame_count: how long the recording is, in frames.
    """

    __slots__ = ("frame_count", "frames", "hashes")

    def __init__(self, hashes: Integers, frames: Integers, frame_count: int) -> None:
        self.hashes = hashes
        self.frames = frames
        self.frame_count = frame_count

    def __len__(self) -> int:
        return len(self.hashes)


def fingerprint(pcm: bytes, sample_rate: int) -> Landmarks:
    """The landmarks of a recording; none where there is nothing to hear.

    Args:
        pcm: PCM16 mono, little-endian.
        sample_rate: in Hz, 8000 to 48000.

    Raises:
        ValueError: it is longer than `LONGEST`.
    """
    if len(pcm) > LONGEST * sample_rate * 2:
        raise ValueError(f"{len(pcm) / sample_rate / 2:.1f} s of audio, and {LONGEST:g} s at most can be looked at")
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)
    if sample_rate != RATE:
        samples = np.asarray(soxr.resample(samples, sample_rate, RATE, quality="MQ"), np.float32)
    levels = _spectrum(samples)
    frames, bins = _peaks(levels)
    return _pairs(frames, bins, len(levels))


def _spectrum(samples: Samples) -> Samples:
    """Levels in dB: a row for each frame, a column for each bin."""
    if len(samples) < FRAME:
        return np.zeros((0, BINS), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    bins = np.fft.rfft(windows * _WINDOW)[:, LOWEST : LOWEST + BINS]
    power = (bins.real**2 + bins.imag**2).astype(np.float32)
    return np.asarray(10 * np.log10(power + np.float32(1e-12)), np.float32)


def _peaks(levels: Samples) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Frames and bins of the peaks, in the order of their frames."""
    if not len(levels):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    floor = max(float(np.percentile(levels, 99.5)) - RANGE_DB, SILENCE_DB)
    highest = _maximum(_maximum(levels, NEAR_BINS, axis=1), NEAR_FRAMES, axis=0)
    frames, bins = np.nonzero((levels == highest) & (levels > floor))
    order = np.lexsort((-levels[frames, bins], frames // (FRAMES_A_SECOND // 2)))
    half_seconds = frames[order] // (FRAMES_A_SECOND // 2)
    rank = np.arange(len(order)) - np.searchsorted(half_seconds, half_seconds)
    kept = np.sort(order[rank < PEAKS])
    return frames[kept], bins[kept]


def _maximum(levels: Samples, reach: int, axis: int) -> Samples:
    """The highest level within `reach` of each place along an axis."""
    margin = [(reach, reach) if each == axis else (0, 0) for each in range(2)]
    padded = np.pad(levels, margin, constant_values=-np.inf)
    length = levels.shape[axis]
    result = levels
    for shift in range(2 * reach + 1):
        part = padded[shift : shift + length] if axis == 0 else padded[:, shift : shift + length]
        result = np.maximum(result, part)
    return result


def _pairs(frames: npt.NDArray[np.intp], bins: npt.NDArray[np.intp], frame_count: int) -> Landmarks:
    later = frames[None, :] - frames[:, None]
    higher = bins[None, :] - bins[:, None]
    fits = (later >= SOONEST) & (later <= LATEST) & (np.abs(higher) <= FARTHEST)
    first, second = np.nonzero(fits & (np.cumsum(fits, axis=1, dtype=np.int32) <= PARTNERS))
    between = later[first, second] - SOONEST
    hashes = (bins[first] << 12) | ((higher[first, second] + FARTHEST) << 6) | between
    return Landmarks(hashes.astype(np.uint32), frames[first].astype(np.uint32), frame_count)
