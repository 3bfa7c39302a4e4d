"""A backend that fails every other stream, under a crowd: traffic moves away, and sessions are not sent to and fro."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest

from actors.speech.backends.events import SessionMoved, Why
from actors.speech.errors import InferenceFailed, SpeechError, StreamLost
from actors.speech.ports import Tier
from tests.speech.backends.driver import Driver, backend

SESSIONS = [f"s{number}" for number in range(60)]
MINUTES = 10


class Crowd:
    """Sessions that speak in utterances of 3 to 8 s; at the primary every other utterance breaks its stream."""

    def __init__(self, seed: int, error: type[SpeechError]) -> None:
        self.random = random.Random(seed)
        self.error = error
        self.driver = Driver(
            backend("primary"), backend("fallback", Tier.FALLBACK, room=200), random=self.random.random
        )
        self.moves: dict[str, list[SessionMoved]] = defaultdict(list)
        self.moved_at: dict[str, list[float]] = defaultdict(list)
        self.fails_at: dict[str, float] = {}
        self.final_at: dict[str, float] = {}
        self.seen = 0
        self.on_primary = 0.0  # seconds of all sessions together

    def run(self) -> None:
        for session in SESSIONS:
            self.open(session)
        for _ in range(MINUTES * 60 * 10):
            self.driver.pass_time(0.1)
            for session in SESSIONS:
                self.step(session)
            self.note_moves()

    def step(self, session: str) -> None:
        now = self.driver.now
        if self.driver.at(session) is None:
            return
        self.on_primary += 0.1 * (self.driver.at(session) == "primary")
        if now >= self.fails_at[session]:
            self.driver.end(session, self.error())
            self.open(session)
        elif now >= self.final_at[session]:
            self.driver.answered(session)
            self.speak(session)
            if self.driver.should_move(session):
                self.driver.end(session)
                self.open(session)

    def open(self, session: str) -> None:
        assert self.driver.lease(session) is not None
        self.speak(session)

    def speak(self, session: str) -> None:
        """Begin an utterance."""
        now, seconds = self.driver.now, self.random.uniform(3, 8)
        breaks = self.driver.at(session) == "primary" and self.random.random() < 0.5
        self.fails_at[session] = now + self.random.uniform(0, seconds) if breaks else float("inf")
        self.final_at[session] = now + seconds

    def note_moves(self) -> None:
        for event in self.driver.events[self.seen :]:
            if isinstance(event, SessionMoved):
                self.moves[event.session].append(event)
                self.moved_at[event.session].append(self.driver.now)
        self.seen = len(self.driver.events)


@pytest.mark.parametrize("error", [InferenceFailed, StreamLost])
def test_a_backend_that_fails_every_other_stream_is_left_and_nobody_is_sent_to_and_fro(
    error: type[SpeechError],
) -> None:
    crowd = Crowd(7, error)
    crowd.run()
    switches = [len(moves) for moves in crowd.moves.values()]
    ours = [
        later - sooner
        for session, moves in crowd.moves.items()
        for (sooner, _), (later, event) in pairwise(zip(crowd.moved_at[session], moves, strict=True))
        if event.why is Why.RETURN
    ]
    assert max(switches) <= MINUTES * 2  # one in 30 s
    assert sum(switches) / len(SESSIONS) <= MINUTES / 2
    assert all(gap >= 30 for gap in ours)
    assert crowd.on_primary < 0.1 * MINUTES * 60 * len(SESSIONS)
