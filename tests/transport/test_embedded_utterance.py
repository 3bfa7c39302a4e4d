"""The segmentation core, on audio whose samples are the detector's probabilities themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from transport.embedded.utterance import (
    MAX_UTTERANCE,
    PREROLL,
    RATE,
    Command,
    EarlyEnd,
    Endpointing,
    Final,
    Interim,
    Progress,
    SpeechResumed,
    Utterances,
)
from transport.embedded.vad import WINDOW

Samples = npt.NDArray[np.float32]
SPEECH, SILENCE = 0.9, 0.1


def windows(*runs: tuple[float, int]) -> Samples:
    """`(probability, n)`: n windows to which the detector will give that probability."""
    return np.concatenate([np.full(count * WINDOW, level, np.float32) for level, count in runs])


def heard(window: Samples) -> float:
    return float(window[0])


def commands_of(
    audio: Samples, lengths: list[int] | None = None, endpointing: Endpointing | None = None
) -> list[Command]:
    utterances = Utterances(heard, endpointing)
    commands: list[Command] = []
    at = 0
    for length in lengths or []:
        commands += utterances.receive(audio[at : at + length])
        at += length
    return commands + utterances.receive(audio[at:]) + utterances.finish()


def without_progress(commands: list[Command], *others: type) -> list[Command]:
    return [command for command in commands if not isinstance(command, (Progress, *others))]


def test_silence_is_reported_once_a_second_and_nothing_else_is() -> None:
    commands = commands_of(np.zeros(3 * RATE, np.float32))
    assert commands == [Progress(16_384), Progress(32_768), Progress(3 * RATE)]


def test_one_window_of_noise_is_no_utterance() -> None:
    assert without_progress(commands_of(windows((SILENCE, 20), (SPEECH, 1), (SILENCE, 40)))) == []


def test_an_utterance_begins_before_its_onset_and_its_early_decode_becomes_the_final() -> None:
    commands = without_progress(commands_of(windows((SILENCE, 20), (SPEECH, 8), (SILENCE, 40))))
    start, end_of_speech = 20 * WINDOW - PREROLL, 28 * WINDOW
    early_end = end_of_speech + 8 * WINDOW  # the first window at which 250 ms of silence are full
    assert commands == [
        EarlyEnd(1, start, early_end),
        Final(1, start, early_end, end_of_speech, position=end_of_speech + 25 * WINDOW),
    ]


def test_the_first_interim_comes_after_300_ms_of_speech_and_later_ones_every_half_second() -> None:
    commands = commands_of(windows((SPEECH, 50)))
    ends = [command.end / RATE for command in commands if isinstance(command, Interim)]
    assert ends == [0.384, 0.896, 1.408]


def test_speech_after_a_short_pause_voids_the_early_decode() -> None:
    commands = commands_of(windows((SPEECH, 8), (SILENCE, 10), (SPEECH, 8), (SILENCE, 30)))
    assert without_progress(commands, Interim) == [
        EarlyEnd(1, 0, 16 * WINDOW),
        SpeechResumed(1),
        EarlyEnd(1, 0, 34 * WINDOW),
        Final(1, 0, 34 * WINDOW, 26 * WINDOW, position=51 * WINDOW),
    ]


def test_a_pause_shorter_than_the_early_one_can_end_an_utterance() -> None:
    commands = commands_of(windows((SPEECH, 8), (SILENCE, 10)), endpointing=Endpointing(stop=4 * WINDOW))
    assert without_progress(commands) == [Final(1, 0, 12 * WINDOW, 8 * WINDOW, position=12 * WINDOW)]


def test_a_forced_final_has_every_sample_and_the_next_utterance_begins_behind_it() -> None:
    utterances = Utterances(heard)
    utterances.receive(np.concatenate([windows((SPEECH, 8)), np.full(100, SPEECH, np.float32)]))
    end = 8 * WINDOW + 100
    assert utterances.force() == [Final(1, 0, end, end, position=end), Progress(end)]
    utterances.receive(windows((SPEECH, 4)))
    final, _ = utterances.finish()
    assert final == Final(2, end, end + 4 * WINDOW, end + 4 * WINDOW, position=end + 4 * WINDOW)


def test_forcing_during_silence_reports_how_far_we_are() -> None:
    utterances = Utterances(heard)
    utterances.receive(np.zeros(700, np.float32))
    assert utterances.force() == [Progress(700)]


def test_forcing_after_the_early_end_takes_the_decode_that_is_there() -> None:
    utterances = Utterances(heard)
    utterances.receive(windows((SPEECH, 8), (SILENCE, 12)))
    assert utterances.force()[0] == Final(1, 0, 16 * WINDOW, 8 * WINDOW, position=20 * WINDOW)


def test_endless_speech_is_cut_where_it_sounds_least_like_speech() -> None:
    dip = 430  # of the 469 windows in 15 s
    commands = commands_of(windows((SPEECH, dip), (0.4, 1), (SPEECH, 100), (SILENCE, 30)))
    first, second = (command for command in commands if isinstance(command, Final))
    cut = (dip + 1) * WINDOW
    assert first == Final(1, 0, cut, cut, position=469 * WINDOW)
    assert (second.utterance, second.start, second.end_of_speech) == (2, cut, 531 * WINDOW)


def test_a_cut_in_the_last_pause_leaves_no_utterance_of_silence_behind() -> None:
    commands = commands_of(windows((SPEECH, 466), (SILENCE, 60)))
    finals = [command for command in commands if isinstance(command, Final)]
    assert finals == [Final(1, 0, 469 * WINDOW, 466 * WINDOW, position=469 * WINDOW)]


def test_the_audio_of_a_command_is_what_was_received() -> None:
    audio = windows((SILENCE, 40), (SPEECH, 40), (SILENCE, 12))
    utterances = Utterances(heard)
    for at in range(0, len(audio), 1_000):
        for command in utterances.receive(audio[at : at + 1_000]):
            if isinstance(command, Interim | EarlyEnd):
                assert np.array_equal(utterances.audio(command.start, command.end), audio[command.start : command.end])


probabilities = st.sampled_from([0.05, 0.3, 0.4, 0.6, 0.95])
scripts = st.lists(st.tuples(probabilities, st.integers(1, 120)), max_size=12)


@given(scripts, st.lists(st.integers(1, 20_000), max_size=30))
def test_how_audio_is_cut_into_messages_changes_nothing(script: list[tuple[float, int]], lengths: list[int]) -> None:
    audio = windows((SILENCE, 1), *script)
    assert commands_of(audio, lengths) == commands_of(audio)


@given(scripts)
def test_all_speech_is_in_a_final_and_no_sample_is_in_two(script: list[tuple[float, int]]) -> None:
    audio = windows((SILENCE, 1), *script)
    finals = [command for command in commands_of(audio) if isinstance(command, Final)]
    covered = np.zeros(len(audio), int)
    for final in finals:
        assert final.start < final.end_of_speech <= final.end <= final.position <= len(audio)
        assert final.end - final.start <= MAX_UTTERANCE + WINDOW
        covered[final.start : final.end] += 1
    assert covered.max() <= 1
    loud = audio[::WINDOW] > 0.5
    speech = np.repeat(loud & (np.roll(loud, 1) | np.roll(loud, -1)), WINDOW)  # two windows in a row
    assert covered[: len(speech)][speech].all()
