"""Makes the recording that `voxtree demo` plays: `python -m bench.record_demo`; needs Debian's flite.

The voice is flite's `rms`, of flite's and espeak-ng's the one the embedded recogniser hears best. The words
were picked for being heard right over shifts, gains and noise, not only as recorded here.
"""

from __future__ import annotations

import array
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

from transport.cli.recording import RECORDING, SAMPLE_RATE, SENTENCES

STRETCH = 0.88  # of flite's own pace; slower is no better understood
PEAK = 0.8  # of full scale
PAUSE = 0.9  # seconds; with the sentences' own edges longer than the 0.8 s that end an utterance
EDGE = 0.2  # seconds of silence before the first sentence and after the last
QUIET = 160  # samples weaker than this (-46 dB) at a sentence's ends are cut off
TAIL = 0.1  # seconds kept after the last loud sample


def main() -> int:
    if not shutil.which("flite"):
        print("record_demo: flite is not installed (apt-get install flite)", file=sys.stderr)
        return 2
    pause, edge = _silence(PAUSE), _silence(EDGE)
    samples = array.array("h", edge)
    for index, sentence in enumerate(SENTENCES):
        samples.extend(pause if index else [])
        samples.extend(_trimmed(_spoken(sentence)))
    samples.extend(edge)
    gain = PEAK * 32767 / max(map(abs, samples))
    _write(array.array("h", (round(sample * gain) for sample in samples)))
    print(f"{RECORDING}: {len(samples) / SAMPLE_RATE:.2f} s")
    return 0


def _spoken(sentence: str) -> array.array[int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sentence.wav")
        subprocess.run(
            ["flite", "-voice", "rms", "--setf", f"duration_stretch={STRETCH}", "-t", sentence, "-o", path],
            check=True,
        )
        with wave.open(str(path)) as recording:
            if (recording.getframerate(), recording.getnchannels()) != (SAMPLE_RATE, 1):
                raise SystemExit(f"record_demo: expected {SAMPLE_RATE} Hz mono, got {recording.getparams()}")
            return array.array("h", recording.readframes(recording.getnframes()))


def _trimmed(samples: array.array[int]) -> array.array[int]:
    loud = [index for index, sample in enumerate(samples) if abs(sample) > QUIET]
    return samples[loud[0] : loud[-1] + int(TAIL * SAMPLE_RATE)]


def _silence(seconds: float) -> list[int]:
    return [0] * int(seconds * SAMPLE_RATE)


def _write(samples: array.array[int]) -> None:
    with wave.open(str(RECORDING), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(SAMPLE_RATE)
        recording.writeframes(samples.tobytes())


if __name__ == "__main__":
    sys.exit(main())
