"""Hearing and timeline together, against backends of all habits: every word once, wherever streams break."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.speech.hearing import Hearing
from actors.speech.messages import Heard, Transcript
from actors.speech.ports import Tier
from actors.speech.silence import FILL_AFTER
from actors.speech.timeline import Timeline
from tests.speech.fakes import PAUSE, RATE, WORD, Ear, Habits, speech

CHUNK = RATE // 10
SECOND = RATE


class Listener:
    """A session that speaks `pcm` in chunks of 100 ms; everything happens at once, and time is counted along."""

    def __init__(self, pcm: bytes, habits: Habits) -> None:
        self.finals: list[Transcript] = []
        self.streams = 0
        self._pcm = pcm
        self._habits = habits
        self._now = 0.0
        self._end = 0  # samples that were spoken
        self._timeline = Timeline(RATE)
        self._open()

    def speak(self, chunks: int = 1) -> None:
        for _ in range(chunks):
            self._end = min(self._end + CHUNK, len(self._pcm) // 2)
            self._now += CHUNK / RATE
            self._catch_up()

    def pause(self, seconds: float) -> None:
        """Its client sends nothing for so long."""
        until = self._now + seconds
        while self._now < until:
            self._now += 0.1
            if silence := self._hearing.silence(self._now):
                self._take(self._ear.hear(silence))
                self._wait(self._hearing)
                self._catch_up()

    def lose_the_stream(self) -> None:
        self._open()
        self._catch_up()

    def finish(self) -> None:
        """Speak the rest, and end."""
        while self._end < len(self._pcm) // 2:
            self.speak()
        self._hearing.finished(early=False)
        self._take(self._ear.finish())
        while (left := self._hearing.leftover()) is not None:
            self._report(left)

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.finals if final.text)

    def _open(self) -> None:
        self.streams += 1
        self._ear = Ear(self._habits)
        self._position = self._timeline.stream_opened()
        self._hearing = Hearing(self.streams, self._position, RATE, longest=30 * RATE, now=self._now)

    def _catch_up(self) -> None:
        while self._position < self._end:
            pcm = self._pcm[2 * self._position : 2 * min(self._position + CHUNK, self._end)]
            self._position += len(pcm) // 2
            self._hearing.audio(pcm, self._now)
            self._take(self._ear.hear(pcm))
            if self._hearing.force_due:
                self._hearing.forced(for_length=True)
                self._take(self._ear.force())

    def _take(self, results: Iterable[object]) -> None:
        hearing = self._hearing
        for result in results:
            if self._hearing is hearing:  # else the stream was replaced, and what it still says is ignored
                self._report(hearing.heard(result, self._now))  # type: ignore[arg-type]
                self._wait(hearing)

    def _wait(self, hearing: Hearing) -> None:
        while (heard := hearing.in_turn(self._now)) is not None:
            self._report(heard)
        self._report(hearing.promoted(self._now))

    def _report(self, heard: Heard | None) -> None:
        if heard is None:
            return
        if heard.result.is_final:
            final = self._timeline.final(heard.result, sent=heard.sent, source=Tier.PRIMARY, cut=heard.cut)
            self.finals += [] if final is None else [final]
        if self._hearing.over:
            self._open()


def numbers(first: int, last: int) -> str:
    return " ".join(map(str, range(first, last + 1)))


utterances = st.lists(st.tuples(st.integers(1, 6), st.integers(2 * PAUSE, 4 * SECOND)), min_size=1, max_size=6)
happenings = st.lists(st.tuples(st.integers(1, 15), st.sampled_from(["lost", "pause"])), max_size=8)


@settings(deadline=None)
@given(
    utterances=utterances,
    happenings=happenings,
    lead=st.integers(0, 1000),
    steady=st.booleans(),
    on_grid=st.booleans(),
    per_utterance=st.booleans(),
    repeats=st.integers(0, 3),
)
def test_finals_tile_and_hold_every_word_once(
    utterances: list[tuple[int, int]],
    happenings: list[tuple[int, str]],
    lead: int,
    steady: bool,
    on_grid: bool,
    per_utterance: bool,
    repeats: int,
) -> None:
    """After so many chunks the stream is lost, or the client sends nothing for a while, in mid-word too."""
    pcm, words = bytes(2 * lead), 0
    for count, pause in utterances:
        pcm += speech(words + 1, count, pause)
        words += count
    habits = Habits(steady=steady, on_grid=on_grid, per_utterance=per_utterance, repeats=repeats)
    listener = Listener(pcm, habits)
    for chunks, what in happenings:
        listener.speak(chunks)
        if what == "lost":
            listener.lose_the_stream()
        else:
            listener.pause(FILL_AFTER + 1.0)
    listener.finish()
    assert listener.text == numbers(1, words)
    finals = listener.finals
    assert [final.seq for final in finals] == list(range(1, len(finals) + 1))
    assert [final.start for final in finals] == [0, *(final.end for final in finals[:-1])]


@given(utterances, st.integers(1, 3), st.integers(0, 2))
def test_finals_out_of_order_are_put_into_order(utterances: list[tuple[int, int]], swaps: int, repeats: int) -> None:
    pcm, words = b"", 0
    for count, pause in utterances:
        pcm += speech(words + 1, count, pause)
        words += count
    listener = Listener(pcm, Habits(swaps=swaps, repeats=repeats))
    listener.finish()
    assert listener.text == numbers(1, words)


@settings(deadline=None)
@given(utterances, happenings, st.booleans())
def test_a_backend_without_finals_loses_and_doubles_nothing(
    utterances: list[tuple[int, int]], happenings: list[tuple[int, str]], steady: bool
) -> None:
    pcm, words = b"", 0
    for count, _ in utterances:
        pcm += speech(words + 1, count, 4 * SECOND)
        words += count
    listener = Listener(pcm, Habits(finals=False, steady=steady))
    for chunks, what in happenings:
        listener.speak(chunks)
        if what == "lost":
            listener.lose_the_stream()
    listener.finish()
    assert listener.text == numbers(1, words)
    assert all(final.provisional for final in listener.finals)


def test_endless_speech_is_cut_between_words_where_that_is_possible() -> None:
    listener = Listener(speech(1, 300), Habits())  # 75 s
    listener.finish()
    assert listener.text == numbers(1, 300)
    assert len(listener.finals) == 3


def test_endless_speech_to_a_backend_that_cannot_be_forced_is_not_asked_for_ever() -> None:
    listener = Listener(speech(1, 300), Habits(forces=False))
    listener.finish()
    assert [final.text for final in listener.finals] == [numbers(1, 300)]


def test_a_pause_in_mid_word_leaves_one_word() -> None:
    listener = Listener(speech(1, 3) + speech(4, 2), Habits())
    listener.speak(6)  # and half of the third word
    listener.pause(10.0)
    assert listener.text == "1 2 3"
    listener.finish()
    assert listener.text == numbers(1, 5)
    assert listener.streams == 1


def test_words_become_final_when_the_client_sends_nothing_more() -> None:
    listener = Listener(speech(1, 2, pause=0), Habits())
    listener.speak(5)
    listener.pause(FILL_AFTER + PAUSE / RATE - 0.2)
    assert listener.text == ""
    listener.pause(0.3)
    assert listener.text == "1 2"
    assert listener.finals[-1].end == WORD + 50 + WORD
