"""Silero: how likely it is that a window of audio is speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transport.embedded.models import onnx_session, silero_file

Samples = npt.NDArray[np.float32]

WINDOW = 512  # samples at 16 kHz (32 ms): the only size the model takes
_CONTEXT = 64  # samples of the window before that the model wants to see again
_RATE = np.array(16_000)


class Silero:
    """The model, loaded once a process and shared by all streams.

    Raises:
        EngineUnavailable: the model cannot be found or loaded.
    """

    def __init__(self) -> None:
        self._session = onnx_session(silero_file())

    def listener(self) -> SileroListener:
        """The detector of one stream."""
        return SileroListener(self._session)


class SileroListener:
    """One stream's ear: some 2 KB of state on the shared model."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros((1, _CONTEXT), np.float32)

    def __call__(self, window: Samples) -> float:
        """The probability that `window` (exactly `WINDOW` samples) is speech; windows must come in order."""
        heard = np.concatenate([self._context, window[None]], axis=1)
        self._context = heard[:, -_CONTEXT:]
        probability, self._state = self._session.run(None, {"input": heard, "state": self._state, "sr": _RATE})
        return float(probability[0, 0])
