"""Which recording heard before is this one? An index of fingerprints, bounded in entries, memory and time."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from transport.cache.fingerprint import FRAMES_A_SECOND, Landmarks

FRAME_BITS = 12
LAST_NUMBER = (1 << 32 - FRAME_BITS) - 1  # of an entry: it shares 32 bits with a frame's number
SHIFT = int(0.6 * FRAMES_A_SECOND)  # frames by which a recording may begin sooner or later
LENGTHS = 0.25  # … and the part by which it may be longer or shorter
ACCEPTED_SCORE, ACCEPTED_VOTES = 0.05, 5  # measured, see `python -m bench cache`
FEWEST_HASHES = 8  # by which votes are divided at least

# What an entry costs, measured with tracemalloc: two dictionaries' slots, an array's head, its spare room, an object's.
HASH_BYTES, POSTING_BYTES, ENTRY_BYTES = 150, 5, 700


class Match(msgspec.Struct, frozen=True):
    """An entry that resembles what was asked for.

    Attributes:
        text: what was added with it.
        votes: landmarks that both have at the same distance in time.
        score: their share of the landmarks of the one that has fewer, 0 to 1.
    """

    text: str
    votes: int
    score: float

    @property
    def accepted(self) -> bool:
        """Whether it is the same recording, as far as can be told."""
        return self.score >= ACCEPTED_SCORE and self.votes >= ACCEPTED_VOTES


class _Entry(msgspec.Struct, frozen=True):
    text: str
    language: str
    frame_count: int
    landmarks: int
    hashes: array[int]  # each once, for taking the entry out again
    added: float

    @property
    def bytes(self) -> int:
        return ENTRY_BYTES + len(self.text) + self.hashes.itemsize * len(self.hashes) + POSTING_BYTES * self.landmarks


class Index:
    """What was said in recordings, by their fingerprints; the newest ones.

    Not to be used by two threads at a time. `now` is in seconds of any steady clock, and never goes back.

    Args:
        max_entries: entries held; beyond it the oldest goes.
        max_bytes: memory held, as estimated; beyond it the oldest go.
        ttl: seconds after which an entry is forgotten.

    Attributes:
        bytes: the memory held, estimated.
    """

    def __init__(self, *, max_entries: int, max_bytes: int, ttl: float) -> None:
        self.bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._next = 0
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # by number, the oldest first
        self._postings: dict[int, array[int]] = {}  # by hash: entry << 12 | frame, rising

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, landmarks: Landmarks, text: str, now: float, *, language: str = "en-US") -> None:
        """Remember a recording. One without landmarks cannot be found again and is not kept."""
        self.expire(now)
        if not len(landmarks):
            return
        if self._next > LAST_NUMBER:  # after a million entries, of which it holds the last few: begin anew
            self.clear()
        self._post(landmarks)
        hashes = array("I", np.unique(landmarks.hashes).tobytes())
        entry = self._entries[self._next] = _Entry(text, language, landmarks.frame_count, len(landmarks), hashes, now)
        self._next += 1
        self.bytes += entry.bytes
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            self._drop_oldest()

    def matches(
        self, landmarks: Landmarks, now: float, *, language: str = "en-US", fewest: int = ACCEPTED_VOTES
    ) -> Iterator[Match]:
        """Entries of about the same length that share landmarks with a recording: most votes first, then newest.

        Args:
            language: of the entry; the same sounds may have been taken for something else in another.
            fewest: votes that an entry needs to be among them.
        """
        self.expire(now)
        for number, votes in self._votes(landmarks, fewest):
            entry = self._entries[number]
            lengths = sorted((entry.frame_count, landmarks.frame_count))
            if lengths[0] >= (1 - LENGTHS) * lengths[1] and entry.language == language:
                fewer = max(FEWEST_HASHES, min(entry.landmarks, len(landmarks)))
                yield Match(entry.text, votes, min(1.0, votes / fewer))

    def find(self, landmarks: Landmarks, now: float, *, language: str = "en-US") -> Match | None:
        """The entry that is the same recording, if there is one."""
        return next((match for match in self.matches(landmarks, now, language=language) if match.accepted), None)

    def expire(self, now: float) -> None:
        """Forget what is older than the time to live."""
        while self._entries and now - next(iter(self._entries.values())).added >= self._ttl:
            self._drop_oldest()

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._postings.clear()
        self._next = self.bytes = 0

    def _post(self, landmarks: Landmarks) -> None:
        postings = (self._next << FRAME_BITS | landmarks.frames).tolist()
        for number, posting in zip(landmarks.hashes.tolist(), postings, strict=True):
            known = self._postings.get(number)
            if known is None:
                self._postings[number] = array("I", (posting,))
                self.bytes += HASH_BYTES
            else:
                known.append(posting)

    def _drop_oldest(self) -> None:
        number, entry = self._entries.popitem(last=False)
        self.bytes -= entry.bytes
        for each in entry.hashes:
            postings = self._postings[each]
            del postings[: bisect_left(postings, number + 1 << FRAME_BITS)]  # postings rise, so its own come first
            if not postings:
                del self._postings[each]
                self.bytes -= HASH_BYTES

    def _votes(self, landmarks: Landmarks, fewest: int) -> Iterator[tuple[int, int]]:
        """The numbers of entries, and their votes."""
        postings, own = self._heard_before(landmarks)
        shift = (postings & (1 << FRAME_BITS) - 1) - own
        near = np.abs(shift) <= SHIFT
        keys, counts = np.unique(postings[near] >> FRAME_BITS << 6 | shift[near] + SHIFT >> 1, return_counts=True)
        joined = counts.copy()  # two neighbouring shifts vote together: the truth may lie between them
        joined[:-1] += np.where(np.diff(keys) == 1, counts[1:], 0)
        keys, joined = keys[joined >= fewest], joined[joined >= fewest]
        seen = set()
        for place in np.lexsort((-keys, -joined)).tolist():
            number = int(keys[place]) >> 6
            if number not in seen:
                seen.add(number)
                yield number, int(joined[place])

    def _heard_before(self, landmarks: Landmarks) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The postings of all the recording's hashes, and for each the frame in which the recording has it."""
        found, frames = [np.zeros(0, np.uint32)], [0]
        for number, frame in zip(landmarks.hashes.tolist(), landmarks.frames.tolist(), strict=True):
            postings = self._postings.get(number)
            if postings is not None:
                found.append(np.frombuffer(postings, np.uint32))
                frames.append(frame)
        own = np.repeat(np.array(frames, np.int64), [len(each) for each in found])
        return np.concatenate(found).astype(np.int64), own
