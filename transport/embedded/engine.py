"""The models of one process, and what they make of an utterance."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transport.embedded.aligner import Aligner, Span
from transport.embedded.hypothesis import Hypothesis
from transport.embedded.models import TINY_EN, moonshine_files, sha256
from transport.embedded.moonshine import Moonshine
from transport.embedded.utterance import RATE
from transport.embedded.vad import Silero, SileroListener

Samples = npt.NDArray[np.float32]

BUNDLED_MODEL = "moonshine-tiny-en"


class Engine:
    """Everything that recognises. Its methods may be called from several threads.

    Args:
        threads: how many of them decode at the same time; each needs an aligner.
        model_dir: a Moonshine model of your own in place of the bundled one.

    Raises:
        EngineUnavailable: a package or a model file is missing or wrong.
    """

    def __init__(self, *, threads: int = 1, model_dir: Path | None = None) -> None:
        folder = moonshine_files(model_dir)
        self.model = BUNDLED_MODEL if model_dir is None or _is_bundled(folder) else folder.name
        self._moonshine = Moonshine(folder)
        self._silero = Silero()
        self._aligners: queue.SimpleQueue[Aligner] = queue.SimpleQueue()
        for _ in range(threads):
            self._aligners.put(Aligner())

    def listener(self) -> SileroListener:
        """The speech detector of a new stream; not to be shared between threads."""
        return self._silero.listener()

    def decode(self, samples: Samples) -> Hypothesis:
        """The words in `samples` (16 kHz)."""
        return self._moonshine.decode(samples)

    def align(self, samples: Samples, hypothesis: Hypothesis) -> list[Span]:
        """Where in `samples` each word of `hypothesis` is, in seconds."""
        with self._aligner() as aligner:
            return aligner.align(samples, [word.text for word in hypothesis.words])

    def warm_up(self) -> None:
        """Decode once, so that the first speaker does not pay for what the runtime sets up lazily."""
        self.decode(np.zeros(RATE, np.float32))

    @contextmanager
    def _aligner(self) -> Iterator[Aligner]:
        aligner = self._aligners.get()
        try:
            yield aligner
        finally:
            self._aligners.put(aligner)


def _is_bundled(folder: Path) -> bool:
    return all(sha256(folder / name) == expected for name, expected in TINY_EN.items())
