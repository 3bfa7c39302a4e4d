"""Lines that say the same again are held back and summed; none is lost, and none without repeats is late."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.repeats import MOST_KINDS, TRACEBACK_WINDOW, WINDOW, Repeats, RepeatsHandler


def line(text: str, *, error: Exception | None = None, **facts: object) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, None)
    record = logging.LogRecord("voxtree.errors", logging.ERROR, __file__, 1, text, None, exc_info)
    vars(record).update(facts)
    return record


def texts(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records]


def test_the_first_of_a_kind_is_logged_at_once_and_what_follows_in_one_line_when_the_window_is_over() -> None:
    repeats = Repeats()
    assert texts(repeats.take(line("first", code="RIVA_005", session="s1"), 0.0)) == ["first"]
    for number in range(1, 38):
        assert repeats.take(line(f"number {number}", code="RIVA_005", session="s1"), number / 10) == []
    assert repeats.due(WINDOW - 0.1) == []
    (summed,) = repeats.due(WINDOW)
    assert summed.getMessage() == "number 37 [the last of 37 like this in 10 s]"
    assert vars(summed)["repeated"] == 37
    assert repeats.due(3 * WINDOW) == []


def test_a_single_repeat_is_logged_as_it_is() -> None:
    repeats = Repeats()
    repeats.take(line("one", code="A"), 0.0)
    repeats.take(line("two", code="A"), 1.0)
    assert texts(repeats.due(WINDOW)) == ["two"]


@pytest.mark.parametrize("name", ["event", "code", "session", "path", "endpoint", "backend"])
def test_what_differs_in_what_tells_kinds_apart_is_no_repeat(name: str) -> None:
    repeats = Repeats()
    out = [texts(repeats.take(line("same text", **{name: value}), 0.0)) for value in ("a", "b")]
    assert out == [["same text"], ["same text"]]


def test_lines_of_others_repeat_when_their_texts_do() -> None:
    repeats = Repeats()
    assert texts(repeats.take(line("one"), 0.0)) == ["one"]
    assert texts(repeats.take(line("another"), 0.0)) == ["another"]
    assert repeats.take(line("one"), 0.0) == []


def test_tracebacks_come_with_the_first_and_once_a_minute() -> None:
    repeats, shown = Repeats(), []
    for second in range(int(2 * TRACEBACK_WINDOW) + 1):
        for record in repeats.take(line("crash", error=ValueError(), code="UNKNOWN"), float(second)):
            shown.append((second, record.exc_info is not None))
    with_traceback = [second for second, traced in shown if traced]
    assert shown[0] == (0, True)
    assert 2 <= len(with_traceback) <= 3
    assert all(later - earlier >= TRACEBACK_WINDOW for earlier, later in pairwise(with_traceback))


def test_memory_is_bounded_and_what_gives_way_is_told() -> None:
    repeats = Repeats()
    repeats.take(line("x", session="first"), 0.0)
    repeats.take(line("y", session="first"), 0.0)
    out: list[str] = []
    for number in range(MOST_KINDS):
        out += texts(repeats.take(line("x", session=str(number)), 1.0))
    assert out.count("y") == 1
    assert len(repeats._kinds) == MOST_KINDS


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 7)), max_size=60))
def test_every_line_is_logged_or_counted_once(lines: list[tuple[str, float]]) -> None:
    repeats, now, out = Repeats(), 0.0, list[logging.LogRecord]()
    for code, pause in lines:
        now += pause
        out += repeats.take(line("text", code=code), now)
    out += repeats.rest(now)
    assert sum(vars(record).get("repeated", 1) for record in out) == len(lines)


def test_a_handler_says_at_the_end_what_it_holds_back() -> None:
    said: list[str] = []

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = RepeatsHandler(Said(), clock=lambda: 0.0)
    for _ in range(3):
        handler.handle(line("again", code="A"))
    assert said == ["again"]
    handler.close()
    assert said == ["again", "again [the last of 2 like this in 0 s]"]
