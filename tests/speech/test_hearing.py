"""What one stream's results come to: finals that are made of interims, silence in between, utterances cut short."""

from __future__ import annotations

import pytest

from actors.speech.hearing import QUIET_SECONDS, TURN_SECONDS, Hearing
from actors.speech.messages import Cut, Heard
from actors.speech.ports import Recognised, Word
from actors.speech.silence import FILL_AFTER, FILL_SECONDS, KEEP_ALIVE

RATE = 1000
LOUD = b"\x00\x20" * 100  # 100 ms
QUIET = bytes(200)


class Scene:
    """A hearing that is fed by hand; `now` moves with the audio, or as told."""

    def __init__(self, origin: int = 0, longest: int = 30 * RATE, waits_until: int = 0) -> None:
        self.now = 100.0
        self.hearing = Hearing(7, origin, RATE, longest=longest, now=self.now, waits_until=waits_until)

    def audio(self, seconds: float, pcm: bytes = LOUD) -> None:
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 2)
            self.hearing.audio(pcm, self.now)

    def pause(self, seconds: float) -> float:
        """No audio for so long; returns the seconds of silence that were filled in."""
        filled = 0
        for _ in range(round(seconds * 20)):
            self.now = round(self.now + 0.05, 2)
            filled += len(self.hearing.silence(self.now)) // 2
        return filled / RATE

    def interim(self, text: str, *words: Word, processed: int = 0) -> Heard | None:
        return self.hearing.heard(Recognised(is_final=False, text=text, words=words, processed=processed), self.now)

    def final(self, *words: Word, processed: int = 0) -> Heard | None:
        text = " ".join(word.text for word in words)
        return self.hearing.heard(Recognised(is_final=True, text=text, words=words, processed=processed), self.now)

    def promoted(self) -> Heard | None:
        return self.hearing.promoted(self.now)


def test_results_come_at_positions_of_the_session() -> None:
    scene = Scene(origin=5000)
    scene.audio(2.0)
    assert scene.interim("he", processed=1000) == Heard(7, Recognised(is_final=False, text="he", processed=6000), 7000)
    assert scene.final(Word("hello", 500, 900, 0.5), processed=1500) == Heard(
        7,
        Recognised(is_final=True, text="hello", words=(Word("hello", 5500, 5900, 0.5),), processed=6500),
        7000,
    )


def test_a_final_that_comes_again_is_dropped() -> None:
    scene = Scene()
    scene.audio(2.0)
    assert scene.final(Word("hello", 500, 900), processed=1500) is not None
    assert scene.final(Word("hello", 500, 900), processed=1500) is None


def test_of_silence_that_is_heard_a_session_is_told_once_a_second() -> None:
    scene = Scene()
    scene.audio(3.0, QUIET)
    told = [scene.interim("", processed=100 * step) for step in range(1, 31)]
    assert [heard.result.processed for heard in told if heard is not None] == [1000, 2000, 3000]
    assert scene.interim("he", processed=3050) is not None


# ---- finals out of order


def said_twice(scene: Scene) -> tuple[Word, Word]:
    """Two utterances of which interims are shown."""
    scene.audio(1.0)
    scene.interim("one", processed=700)
    scene.audio(1.0)
    scene.interim("two", processed=1800)
    return Word("one", 500, 800), Word("two", 1500, 1800)


def in_turn(scene: Scene) -> list[str]:
    texts = []
    while (heard := scene.hearing.in_turn(scene.now)) is not None:
        texts.append(heard.result.text)
    return texts


def test_a_final_waits_for_words_that_were_shown_before_it() -> None:
    scene = Scene()
    one, two = said_twice(scene)
    assert scene.final(two, processed=2000) is None
    assert (in_turn(scene), scene.hearing.speaking) == ([], True)
    first = scene.final(one, processed=1000)
    assert first is not None
    assert first.result.text == "one"
    assert (in_turn(scene), scene.hearing.speaking) == (["two"], False)


def test_several_wait_in_order() -> None:
    scene = Scene()
    one, two = said_twice(scene)
    assert scene.final(two, processed=2000) is None
    scene.audio(0.5)
    assert scene.final(Word("three", 2100, 2300), processed=2500) is None
    assert scene.final(one, processed=1000) is not None
    assert in_turn(scene) == ["two", "three"]


def test_what_was_shown_since_is_kept_when_the_late_final_comes() -> None:
    scene = Scene()
    one, two = said_twice(scene)
    scene.final(two, processed=2000)
    scene.audio(0.5)
    scene.interim("three", processed=2500)
    scene.final(one, processed=1000)
    assert in_turn(scene) == ["two"]
    left = scene.hearing.leftover()
    assert left is not None
    assert left.result.text == "three"


def test_a_final_waits_no_longer_than_it_must() -> None:
    scene = Scene()
    _, two = said_twice(scene)
    scene.final(two, processed=2000)
    scene.now += TURN_SECONDS - 0.01
    assert in_turn(scene) == []
    scene.now += 0.01
    assert in_turn(scene) == ["two"]


def test_a_final_that_still_waits_when_the_stream_has_ended_comes_before_the_words_left() -> None:
    scene = Scene()
    _, two = said_twice(scene)
    scene.final(two, processed=2000)
    scene.audio(0.5)
    scene.interim("three", processed=2500)
    left = [scene.hearing.leftover() for _ in range(3)]
    assert [heard and heard.result.text for heard in left] == ["two", "three", None]


def test_an_ordinary_final_waits_for_nothing_however_long_the_pause_before_it() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.interim("one", processed=700)
    assert scene.final(Word("one", 500, 800), processed=1000) is not None
    scene.pause(60.0)
    scene.audio(1.0)
    assert scene.final(Word("two", 1500, 1800), processed=2000) is not None  # no interim of it was shown
    assert scene.final(Word("three", 2500, 2800), processed=2900) is not None


# ---- silence


def test_silence_is_filled_in_at_first_in_real_time_and_then_to_keep_the_stream_alive() -> None:
    scene = Scene()
    scene.audio(1.0)
    assert scene.pause(FILL_AFTER - 0.1) == 0.0
    assert scene.pause(0.1 + FILL_SECONDS) == pytest.approx(FILL_SECONDS, abs=0.11)
    assert scene.pause(10 * KEEP_ALIVE) == pytest.approx(1.0)
    scene.audio(0.1)
    assert scene.pause(FILL_AFTER - 0.1) == 0.0


def test_silence_goes_on_in_real_time_while_words_are_not_final() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.interim("hello", processed=1000)
    assert scene.pause(FILL_AFTER + 2 * FILL_SECONDS) == pytest.approx(2 * FILL_SECONDS, abs=0.11)


def test_a_stream_that_gets_no_audio_at_all_is_kept_alive_too() -> None:
    assert Scene().pause(FILL_AFTER + 0.1) > 0


def test_filled_silence_takes_no_time_in_the_session() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.pause(FILL_AFTER + 2.0)
    scene.audio(1.0)
    heard = scene.final(Word("one", 500, 1040), Word("two", 3300, 3500), processed=3900)
    assert heard is not None
    assert heard.result.words == (Word("one", 500, 1000), Word("two", 1300, 1500))
    assert (heard.result.processed, heard.sent) == (1900, 2000)


# ---- words that never become final


def test_words_that_stand_for_long_in_what_was_heard_are_made_final_once() -> None:
    scene = Scene(origin=5000)
    scene.audio(1.0)
    scene.interim("hello", processed=1000)
    scene.audio(QUIET_SECONDS - 0.1)
    scene.interim("hello", processed=3900)
    assert scene.promoted() is None
    scene.audio(0.1)
    scene.interim("hello", processed=4000)
    made = scene.promoted()
    assert made is not None
    assert made.result == Recognised(is_final=True, text="hello", processed=7000, provisional=True)
    assert scene.hearing.over
    assert scene.promoted() is None


def test_words_that_change_are_not_made_final() -> None:
    scene = Scene()
    for second in range(1, 20):
        scene.audio(1.0)
        scene.interim("la " * second, processed=1000 * second)
        assert scene.promoted() is None


def test_words_of_a_backend_that_says_nothing_more_are_made_final_after_silence() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.interim("hello", processed=1000)
    scene.audio(0.2)  # the rest of the word
    scene.audio(QUIET_SECONDS, QUIET)
    made = scene.promoted()
    assert made is not None
    assert made.result == Recognised(is_final=True, text="hello", processed=2000, provisional=True)


def test_words_of_a_backend_that_says_nothing_more_are_not_made_final_while_there_is_sound() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.interim("hello", processed=1000)
    for _ in range(10):
        scene.audio(QUIET_SECONDS - 0.2, QUIET)
        scene.audio(0.1)
        assert scene.promoted() is None


def test_words_of_a_backend_that_is_behind_are_not_made_final_by_the_silence_it_has_not_heard() -> None:
    scene = Scene()
    scene.audio(20.0)
    scene.interim("hello", processed=1000)
    scene.audio(2 * QUIET_SECONDS, QUIET)
    assert scene.promoted() is None


def test_silence_that_was_filled_in_makes_words_final() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.interim("hello", processed=1000)
    scene.pause(FILL_AFTER + QUIET_SECONDS)
    made = scene.promoted()
    assert made is not None
    assert (made.result.text, made.result.processed) == ("hello", 1000)


def test_word_times_of_an_interim_are_used_if_they_make_sense() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.interim("hello", Word("hello", 200, 500), processed=1000)
    scene.interim("hello", Word("hello", 200, 700), processed=1000)
    scene.audio(QUIET_SECONDS, QUIET)
    made = scene.promoted()
    assert made is not None
    assert made.result.words == (Word("hello", 200, 700),)


@pytest.mark.parametrize("words", [(Word("hello", 0, 0),), (Word("hel", 0, 100), Word("lo", 100, 200))])
def test_word_times_of_an_interim_that_make_no_sense_are_not_used(words: tuple[Word, ...]) -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.interim("hello", *words, processed=1000)
    left = scene.hearing.leftover()
    assert left is not None
    assert left.result == Recognised(is_final=True, text="hello", processed=1000, provisional=True)


def test_what_is_left_at_the_end_is_made_final_unless_it_was_taken_back() -> None:
    scene = Scene()
    scene.audio(1.0)
    assert scene.hearing.leftover() is None
    scene.interim("hello", processed=1000)
    scene.final(processed=1000)
    assert scene.hearing.leftover() is None


def test_a_backend_that_was_given_silence_has_heard_all_when_it_says_so() -> None:
    scene = Scene()
    scene.audio(2.0, QUIET)
    assert not scene.hearing.heard_all
    scene.interim("", processed=1400)
    assert not scene.hearing.heard_all
    scene.interim("", processed=1600)
    assert scene.hearing.heard_all


def test_a_backend_that_never_says_how_far_it_is_has_heard_all_if_it_showed_words() -> None:
    scene = Scene()
    scene.audio(2.0)
    scene.interim("")
    assert not scene.hearing.heard_all
    scene.interim("hello")
    assert scene.hearing.heard_all


# ---- utterances that are cut short


def test_an_utterance_that_goes_on_for_too_long_is_to_be_ended_once() -> None:
    scene = Scene(longest=2000)
    scene.audio(5.0)
    scene.interim("la", processed=2000)  # the silence before it does not count
    scene.interim("la la", processed=4000)
    assert not scene.hearing.force_due
    scene.interim("la la la", processed=4100)
    assert scene.hearing.force_due
    scene.hearing.forced(for_length=True)
    scene.interim("la la la la", processed=5000)
    assert not scene.hearing.force_due


def test_an_utterance_that_ends_by_itself_need_not_be_ended() -> None:
    scene = Scene(longest=2000)
    scene.audio(5.0)
    scene.interim("la", processed=1000)
    scene.interim("la la", processed=4000)
    scene.final(Word("la", 0, 3000), processed=4000)
    assert not scene.hearing.force_due


def test_a_word_at_the_place_where_an_utterance_was_ended_for_its_length_is_left_to_the_next_stream() -> None:
    scene = Scene()
    scene.audio(2.0)
    scene.hearing.forced(for_length=True)
    scene.audio(0.1)
    heard = scene.final(Word("one", 0, 500), Word("tw", 1500, 1960), processed=2000)
    assert heard is not None
    assert (heard.cut, scene.hearing.over) == (Cut.HELD, True)


def test_an_utterance_that_was_ended_between_two_words_cuts_none() -> None:
    scene = Scene()
    scene.audio(2.0)
    scene.hearing.forced(for_length=True)
    heard = scene.final(Word("one", 0, 500), Word("two", 1500, 1900), processed=2000)
    assert heard is not None
    assert (heard.cut, scene.hearing.over) == (Cut.NONE, False)


def test_a_word_where_the_client_wanted_the_end_or_fell_silent_may_have_been_cut() -> None:
    scene = Scene()
    scene.audio(2.0)
    scene.hearing.forced(for_length=False)
    heard = scene.final(Word("one", 1500, 2000), processed=2000)
    assert heard is not None
    assert heard.cut is Cut.TOUCHED
    scene.audio(1.0, QUIET)
    scene.pause(FILL_AFTER + 1.0)
    heard = scene.final(Word("two", 2500, 3040), processed=3900)
    assert heard is not None
    assert (heard.cut, scene.hearing.over, scene.hearing.cut_at) == (Cut.TOUCHED, False, None)


def test_a_sound_that_filled_silence_cuts_is_left_to_the_next_stream() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.pause(FILL_AFTER + 1.0)
    assert scene.hearing.cut_at == RATE
    heard = scene.final(Word("one", 500, 1040), processed=1900)
    assert heard is not None
    assert (heard.cut, scene.hearing.over) == (Cut.LEFT, True)


def test_the_next_stream_is_not_given_silence_before_the_sound_goes_on() -> None:
    scene = Scene(waits_until=RATE)
    scene.audio(1.0)
    assert scene.pause(100.0) == 0
    scene.audio(0.1)
    assert scene.pause(FILL_AFTER + 1.0) > 0


@pytest.mark.parametrize(("early", "cut"), [(True, Cut.HELD), (False, Cut.NONE)])
def test_the_last_word_of_a_stream_is_cut_only_if_there_is_more_audio(early: bool, cut: Cut) -> None:
    scene = Scene()
    scene.audio(2.0)
    scene.hearing.finished(early=early)
    heard = scene.final(Word("one", 1500, 2000), processed=2000)
    assert heard is not None
    assert heard.cut is cut


def test_a_backend_has_not_heard_all_while_a_word_may_be_left_that_it_has_not_shown() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.audio(0.6, QUIET)
    scene.hearing.finished(early=False)
    scene.interim("one", processed=1100)  # all of the last sound, but a model shows a word only behind its end
    assert (scene.hearing.heard_nearly_all, scene.hearing.heard_all) == (True, False)
    scene.interim("one", processed=1500)
    assert scene.hearing.heard_all


def test_one_that_was_sent_nothing_behind_the_last_sound_has_heard_all_with_it() -> None:
    scene = Scene()
    scene.audio(1.0)
    scene.hearing.finished(early=False)
    scene.interim("one", processed=950)
    assert (scene.hearing.heard_nearly_all, scene.hearing.heard_all) == (True, False)
    scene.interim("one", processed=1000)
    assert scene.hearing.heard_all
