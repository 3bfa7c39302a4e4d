"""Lines that say the same again are held back and summed; none is lost, and none without repeats is late."""

from __future__ import annotations

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.repeats import MOST_KINDS, TRACEBACK_WINDOW, WINDOW, Repeats, RepeatsHandler


def line(text: str, *, error: Exception | None = None, **facts: object) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
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


@pytest.mark.parametrize("event", [None, "settings.needs_restart"])
def test_lines_without_code_and_subject_repeat_when_their_texts_do(event: str | None) -> None:
    repeats = Repeats()
    facts = {} if event is None else {"event": event}
    assert texts(repeats.take(line("one", **facts), 0.0)) == ["one"]
    assert texts(repeats.take(line("another", **facts), 0.0)) == ["another"]
    assert repeats.take(line("one", **facts), 0.0) == []


def test_lines_of_other_libraries_repeat_though_their_numbers_differ() -> None:
    repeats = Repeats()
    assert texts(repeats.take(line("not sent, trying again in 0.97 s"), 0.0)) == ["not sent, trying again in 0.97 s"]
    assert repeats.take(line("not sent, trying again in 2.1 s"), 1.0) == []
    said = "File x.py, line 12"
    assert texts(repeats.take(line(said, event="embedded.said"), 0.0)) == [said]
    said = "File x.py, line 13"
    assert texts(repeats.take(line(said, event="embedded.said"), 0.0)) == [said]


def test_each_order_of_an_operator_is_logged() -> None:
    repeats = Repeats()
    for _ in range(3):
        assert texts(repeats.take(line("an order", event="admin.action", path="a"), 0.0)) == ["an order"]


def failed(code: str) -> Exception:
    try:
        raise ValueError(code)
    except ValueError as error:
        return error


def test_a_traceback_comes_with_the_first_and_once_a_minute_whoever_meets_the_error() -> None:
    repeats, shown = Repeats(), []
    for second in range(int(2.5 * TRACEBACK_WINDOW)):
        for session in ("a", "b"):
            made = line("crash", error=failed("RIVA_005"), code="UNKNOWN", session=session)
            shown += [(second, record.exc_info is not None) for record in repeats.take(made, float(second))]
            assert made.exc_info  # it is another's record too
    assert [second for second, traced in shown if traced] == [0, 60, 120]


def test_errors_of_other_kinds_or_places_keep_their_tracebacks() -> None:
    repeats = Repeats()
    errors = [failed("a"), KeyError("a"), OSError("a")]
    for number, error in enumerate(errors):
        (record,) = repeats.take(line("crash", error=error, code=str(number)), 0.0)
        assert record.exc_info


def test_what_is_held_back_keeps_nothing_alive_that_failed() -> None:
    repeats = Repeats()
    repeats.take(line("crash", error=failed("a"), code="UNKNOWN"), 0.0)
    repeats.take(line("crash", error=failed("b"), code="UNKNOWN"), 1.0)
    (kind,) = repeats._kinds.values()
    assert kind.last is not None
    assert kind.last.exc_info is None


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


def test_a_line_that_does_not_fit_its_arguments_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    handler = RepeatsHandler(logging.StreamHandler(), clock=lambda: 0.0)
    for _ in range(3):
        handler.handle(logging.LogRecord("other", logging.ERROR, __file__, 1, "%d of %d", ("one",), None))
    handler.close()
    said = capsys.readouterr().err
    assert "--- Logging error ---" in said
    assert "%d of %d [the last of 2 like this in 0 s]" in said


def test_sums_come_by_themselves_when_all_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.repeats.WINDOW", 0.05)
    said: list[str] = []
    told = threading.Event()

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            if "last of" in said[-1]:
                told.set()

    handler = RepeatsHandler(Said())
    try:
        for _ in range(3):
            handler.handle(line("again", code="A"))
        assert told.wait(10)
        assert said[0] == "again"
    finally:
        handler.close()


def test_a_closed_handler_starts_no_timer() -> None:
    handler = RepeatsHandler(logging.NullHandler())
    handler.close()
    handler.handle(line("late", code="A"))
    assert handler._timer is None
