"""The clock map: whatever silence is filled in, every sample of the session is found again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.speech.clock import StreamClock
from actors.speech.loudness import is_audible

FILL = -1  # in the model: a stream sample that is no sample of the session
steps = st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=20)


def sent(origin: int, steps: list[tuple[bool, int]]) -> tuple[StreamClock, list[int]]:
    """A clock, and for each sample of its stream the session's sample, by hand."""
    clock, model = StreamClock(origin), []
    for is_audio, samples in steps:
        if is_audio:
            model += range(clock.sent, clock.sent + samples)
            clock.audio(samples)
        else:
            model += [FILL] * samples
            clock.silence(samples)
    return clock, model


@given(st.integers(0, 10**6), steps)
def test_every_sample_is_found_where_it_was_taken_from(origin: int, steps: list[tuple[bool, int]]) -> None:
    clock, model = sent(origin, steps)
    audio = [sample for sample in model if sample != FILL]
    assert [clock.position(at) for at, sample in enumerate(model) if sample != FILL] == audio
    assert (clock.length, clock.sent) == (len(model), origin + len(audio))


@given(st.integers(0, 10**6), steps)
def test_filled_silence_is_the_place_where_it_was_put(origin: int, steps: list[tuple[bool, int]]) -> None:
    clock, model = sent(origin, steps)
    for at, sample in enumerate(model):
        if sample == FILL:
            before = [sample for sample in model[:at] if sample != FILL]
            assert clock.position(at) == (before[-1] + 1 if before else origin)


@given(steps, st.integers(0, 700), st.integers(0, 700))
def test_a_word_never_reaches_across_a_fill(steps: list[tuple[bool, int]], start: int, length: int) -> None:
    clock, model = sent(100, steps)
    first, last = clock.span(start, start + length)
    heard = [sample for sample in model[start : start + length] if sample != FILL]
    pieces: list[list[int]] = []  # of the word's audio, cut where silence lies between
    for at, sample in enumerate(model[start : start + length], start):
        if sample != FILL:
            if not pieces or model[at - 1] == FILL or at == start:
                pieces.append([])
            pieces[-1].append(sample)
    assert first <= last
    if pieces:
        assert list(range(first, last)) in pieces
        assert last - first == max(map(len, pieces))
    else:
        assert (first, heard) == (last, [])


def test_a_word_within_one_piece_keeps_its_length() -> None:
    clock = StreamClock(1000)
    clock.audio(500)
    clock.silence(300)
    clock.audio(400)
    assert clock.span(100, 500) == (1100, 1500)
    assert clock.span(450, 560) == (1450, 1500)  # its end was rounded up into the silence
    assert clock.span(700, 900) == (1500, 1600)
    assert clock.span(480, 900) == (1500, 1600)
    assert clock.span(400, 820) == (1400, 1500)
    assert clock.span(600, 700) == (1500, 1500)


def test_a_place_near_a_fill_is_known() -> None:
    clock = StreamClock(1000)
    clock.audio(500)
    assert not clock.fills_near(1500, 80)
    clock.silence(300)
    assert clock.fills_near(1450, 80)
    clock.audio(400)
    assert [clock.fills_near(at, 80) for at in (1419, 1420, 1580, 1581, 1900)] == [False, True, True, False, False]


def test_a_stream_begins_near_no_fill() -> None:
    clock = StreamClock(0)
    clock.audio(10)
    assert not clock.fills_near(0, 80)


def test_what_a_muted_microphone_sends_is_not_audible() -> None:
    def tone(level: int) -> bytes:
        return b"".join(sample.to_bytes(2, "little", signed=True) for sample in [level, -level] * 800)

    assert [is_audible(tone(level)) for level in (0, 255, 257, 3000)] == [False, False, True, True]
    assert not is_audible(b"")
