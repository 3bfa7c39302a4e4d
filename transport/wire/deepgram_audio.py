"""Audio as Deepgram takes it: one stream of bytes, in messages that may end anywhere."""

from __future__ import annotations

import hashlib

from actors.speech.errors import InvalidAudioFormat
from transport.audio.containers import recognise, undecided
from transport.audio.formats import DeclaredFormat


class Recut:
    """Cuts a client's audio anew, so that raw audio comes in whole samples of every channel.

    A container may be cut anywhere. What is neither, since no encoding was given and no container begins, is refused:
    taken for samples it would be noise, and noise becomes words nobody said.

    Args:
        declared: what the client said of its raw audio; None: it sends a container.

    Attributes:
        passed: bytes given out.
    """

    def __init__(self, declared: DeclaredFormat | None) -> None:
        self.passed = 0
        self._frame_bytes = 1 if declared is None else declared.filled().frame_bytes
        self._is_unknown = declared is None
        self._cut = b""  # what waits for the next message: the start of a sample, or of a container's mark
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of all bytes that came."""
        return self._digest.hexdigest()

    def feed(self, data: bytes) -> bytes:
        """The next message; what there is to decode with it, maybe nothing.

        Raises:
            InvalidAudioFormat: nobody has said what it is, and it does not tell.
        """
        self._digest.update(data)
        data = self._cut + data
        if self._is_unknown and undecided(data):
            self._cut = data
            return b""
        if self._is_unknown and recognise(data) is None:
            raise InvalidAudioFormat("this is no WAV file: raw audio takes encoding and sample_rate in the query")
        self._is_unknown = False
        whole = len(data) - len(data) % self._frame_bytes
        self._cut = data[whole:]
        self.passed += whole
        return data[:whole]
