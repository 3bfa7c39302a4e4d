"""The cache's index: utterances of any rate, found again by their landmarks."""

from __future__ import annotations

from actors.speech.ports import Recollection, Utterance
from transport.cache.fingerprint import fingerprint
from transport.cache.index import Index


class SimilarAudio:
    """Finds an utterance that is, but for its channel, level, noise and edges, the same recording.

    It does not find the same words said again. See `actors.speech.ports.SoundIndex`.

    Args:
        max_entries, max_bytes, ttl: see `Index`.
    """

    def __init__(self, *, max_entries: int, max_bytes: int, ttl: float) -> None:
        self._index = Index(max_entries=max_entries, max_bytes=max_bytes, ttl=ttl)

    def add(self, utterance: Utterance, text: str, now: float) -> None:
        """See `SoundIndex.add`."""
        landmarks = fingerprint(utterance.pcm, utterance.sample_rate)
        self._index.add(landmarks, text, now, language=utterance.language)

    def find(self, utterance: Utterance, now: float) -> Recollection | None:
        """See `SoundIndex.find`."""
        landmarks = fingerprint(utterance.pcm, utterance.sample_rate)
        match = self._index.find(landmarks, now, language=utterance.language)
        return None if match is None else Recollection(match.text, match.score)

    def expire(self, now: float) -> None:
        """See `SoundIndex.expire`."""
        self._index.expire(now)
