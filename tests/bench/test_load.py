"""A load keeps to its schedule, counts from when a frame was due, and knows when it was itself the limit."""

from __future__ import annotations

import asyncio
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.command import measure
from bench.load.histogram import LEAST, STEP, Histogram
from bench.load.report import Tally, summed
from bench.load.schedule import Schedule, phase
from bench.load.speaker import READINGS, Speaker, State, by_count, by_position
from bench.load.websocket import BINARY, CLOSE, PING, TEXT, Answer, frame, request

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def said(text: bytes, opcode: int = TEXT) -> bytes:
    """A frame from a server."""
    size = len(text)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + text


# ---- the schedule


def test_a_frame_stays_due_at_its_time_however_late_somebody_looks() -> None:
    schedule: Schedule[str] = Schedule(0.02)
    schedule.join("a", 1.0)
    schedule.join("b", 1.01)

    assert list(schedule.due(0.9)) == []
    assert [(who, round(due, 6)) for who, due in schedule.due(1.035)] == [
        ("a", 1.0),
        ("b", 1.01),
        ("a", 1.02),
        ("b", 1.03),
    ]
    assert schedule.next == pytest.approx(1.04)


def test_who_leaves_sends_no_more_and_who_comes_again_once() -> None:
    schedule: Schedule[str] = Schedule(1.0)
    schedule.join("a", 0.0)
    schedule.leave("a")
    schedule.join("a", 0.5)

    assert list(schedule.due(1.0)) == [("a", 0.5)]


@given(st.integers(1, 300))
def test_any_number_of_clients_is_spread_evenly(clients: int) -> None:
    phases = sorted(phase(number, 1.0) for number in range(clients))
    gaps = [after - before for before, after in zip(phases, [*phases[1:], phases[0] + 1.0], strict=True)]
    assert max(gaps) <= 2.7 / clients  # golden ratio: no gap is longer than 1 + its inverse … times the mean


# ---- counting


@given(st.lists(st.floats(1e-4, 100.0), min_size=1), st.floats(1, 100))
def test_a_percentile_is_that_of_the_values_but_for_two_percent(values: list[float], percent: float) -> None:
    one, other = Histogram(), Histogram()
    for number, value in enumerate(values):
        (one, other)[number % 2].add(value)
    one.merge(msgspec.json.decode(msgspec.json.encode(other), type=Histogram))

    exact = sorted(values)[max(1, math.ceil(percent / 100 * len(values))) - 1]
    found = one.percentile(percent)
    assert found is not None
    assert exact * (1 - 1e-9) <= found <= exact * STEP * (1 + 1e-9)
    assert one.total == len(values)


def test_nothing_counted_has_no_percentile_and_what_is_tiny_counts_as_the_least() -> None:
    histogram = Histogram()
    assert histogram.percentile(99) is None
    histogram.add(0.0)
    assert (histogram.percentile(99), histogram.within(LEAST)) == (LEAST, 1)


def tally(*delays: float, late: float = 0.001, cpu: float = 1.0) -> Tally:
    """What a process has counted in ten seconds."""
    one = Tally(seconds=10.0, sent=len(delays), cpu=cpu, open=1)
    for delay in delays:
        one.delays.add(delay)
        one.late.add(late)
    return one


def test_processes_are_summed_and_only_answers_in_time_count_as_served() -> None:
    report = summed([tally(*[0.01] * 100), tally(*[0.01] * 50, *[3.0] * 50)])

    assert (report.sent, report.answers, report.open, report.cpu, report.busiest) == (200, 200, 2, 2.0, 0.1)
    assert report.served == pytest.approx(1.5)
    assert report.latency_p50 == pytest.approx(0.01, rel=0.02)
    assert report.latency_p99 == pytest.approx(3.0, rel=0.02)
    assert report.doubt == ""


def test_a_load_that_was_late_or_had_no_time_is_not_to_be_trusted() -> None:
    assert "sent 20 ms late" in summed([tally(0.01, late=0.02), tally(0.01)]).doubt
    assert "took 95% of a core" in summed([tally(0.01), tally(0.01, cpu=9.5)]).doubt


# ---- a client


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
def test_frames_are_found_however_they_are_cut(cut: int) -> None:
    answer, frames = Answer(), []
    data = SWITCHING + said(b"a" * 200) + said(b"") + said(b"b", PING)
    for start in range(0, len(data), cut):
        frames += list(answer.feed(data[start : start + cut]))
    assert (answer.status, frames) == (101, [(TEXT, b"a" * 200), (TEXT, b""), (PING, b"b")])


def test_a_refusal_names_its_status_and_when_to_come_back() -> None:
    answer = Answer()
    list(answer.feed(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\n\r\n{}"))
    assert (answer.status, answer.retry_after) == (503, 3.0)


def test_answers_are_read_by_position_or_by_count() -> None:
    interim = b'{"event":"transcript","is_final":false,"seq":0,"start":0,"end":3200,"text":"at 0000002"}'
    final = b'{"event":"transcript","is_final":true,"seq":1,"start":0,"end":79200,"text":"at 0000050"}'
    assert [by_position(text) for text in (interim, final, b'{"event":"gap","end":1600}')] == [2, 50, None]
    assert [by_count(text) for text in (interim, final, b'{"event":"ack"}')] == [2, 50, None]


class _Wire(asyncio.Transport):
    """Keeps what a client writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True


def connected(reading: str = "position") -> tuple[Speaker, Tally, _Wire]:
    """A client of 20 ms frames whose request was answered."""
    counted, wire = Tally(), _Wire()
    speaker = Speaker("/t", "host", None, [b"one", b"two"], 20, 0.02, READINGS[reading], counted, lambda _: None)
    speaker.connection_made(wire)
    speaker.data_received(SWITCHING)
    return speaker, counted, wire


def test_a_delay_counts_from_when_the_frame_was_due_and_what_never_came_counts_too() -> None:
    speaker, counted, wire = connected()
    for number in range(15):
        speaker.speak(-100.0 + 0.02 * number)  # long overdue by the clock of any machine

    assert wire.written[2:5] == [b"one", b"two", b"one"]
    speaker.data_received(said(b'{"event":"transcript","is_final":false,"seq":0,"start":0,"end":1600,"text":"x"}'))
    first = counted.delays.percentile(100)
    assert first is not None
    assert first > 99.9
    assert speaker.due(2) == pytest.approx(-100.0 + 9 * 0.02)
    speaker.overdue(0.0)
    assert (counted.delays.total, counted.unanswered) == (3, 2)  # two more tenths were said, and not the fourth


def test_where_silence_has_no_transcript_the_newest_tenth_counts_and_none_is_overdue() -> None:
    speaker, counted, _ = connected("newest")
    for number in range(50):
        speaker.speak(-100.0 + 0.02 * number)

    interim = said(b'{"event":"transcript","is_final":false,"seq":0,"start":0,"end":8000,"text":"x"}')
    speaker.data_received(interim + interim)
    speaker.overdue(0.0)

    assert (counted.delays.total, counted.unanswered) == (1, 0)


def test_pings_are_answered_and_a_full_server_refuses() -> None:
    speaker, counted, wire = connected()
    speaker.data_received(said(b"there?", PING))
    assert wire.written[-1][6:] == b"there?"
    speaker.data_received(said(b'{"event":"error","code":"CONN_005","retry_after_ms":2500}'))
    speaker.data_received(said((1013).to_bytes(2, "big"), CLOSE))
    assert (speaker.state, speaker.retry_after, counted.refusals.total, counted.lost) == (State.REFUSED, 2.5, 1, 0)
    assert wire.is_closed


def test_who_was_told_all_answers_the_close() -> None:
    speaker, counted, wire = connected()
    speaker.stop()
    speaker.data_received(said(b'{"event":"done","position":0,"seq":0}') + said((1000).to_bytes(2, "big"), CLOSE))
    speaker.connection_lost(None)
    assert (speaker.was_told_all, counted.lost, wire.written[-1][0] & 0x0F) == (True, 0, CLOSE)


def test_a_request_says_who_we_are() -> None:
    assert b"Authorization: Bearer vt_1\r\n" in request("/t", "host", "vt_1")
    assert frame(bytes(640), BINARY)[:4] == bytes([0x82, 0xFE, 0x02, 0x80])


@pytest.mark.slow
def test_a_small_load_is_served() -> None:
    loaded = asyncio.run(measure(3, 1.0, 20, 2))
    assert (loaded.heard.open, loaded.heard.lost, loaded.heard.refused) == (3, 0, 0)
    assert loaded.heard.answers > 0
    assert loaded.server_cpu > 0
