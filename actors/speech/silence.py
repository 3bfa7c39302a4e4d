"""When a stream that gets no audio is given silence instead."""

from __future__ import annotations

# A pause of the client's network is over sooner as a rule, and a word that silence has cut costs another stream.
FILL_AFTER = 2.0
FILL_CHUNK = 0.1  # seconds of silence in one message
# Silence after which every backend has ended the utterance that it was in: Riva's models take 0.3 to 1.5 s.
FILL_SECONDS = 2.0
# From then on only to keep the stream alive: Triton gives an idle sequence up after 60 s, NVIDIA's cloud after 30 s.
KEEP_ALIVE = 5.0


class SilenceFill:
    """Times the silence for one stream: first as fast as time goes, so that what was said becomes final, then seldom.

    Attributes:
        due: when the next chunk is to be sent, unless audio comes before.
    """

    def __init__(self, now: float) -> None:
        self.due = now + FILL_AFTER
        self._filled = 0.0  # seconds since the last audio

    def audio(self, now: float) -> None:
        """Audio was sent."""
        self.due = now + FILL_AFTER
        self._filled = 0.0

    def filled(self, now: float, *, speaking: bool) -> None:
        """A chunk was sent. `speaking`: there are words that are not final yet."""
        self._filled += FILL_CHUNK
        at_pace = speaking or self._filled < FILL_SECONDS
        self.due = max(self.due, now - FILL_CHUNK) + (FILL_CHUNK if at_pace else KEEP_ALIVE)
