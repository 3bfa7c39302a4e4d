"""What a sink is sent, and when: in order, never too many, again after failures, the newest of each alert."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from actors.speech.catalogue import CATALOGUE, Severity
from tests.transport.alerts.notices import firing, resolved
from transport.alerts.delivery import RESENT_RESOLVED, Bucket, Delivery, Manners
from transport.alerts.notices import Notice

FEW = Manners(per_minute=60.0, burst=1)


def delivery(manners: Manners = FEW) -> Delivery:
    return Delivery(manners, 0.0, random=lambda: 0.0)


def sent(queue: Delivery, now: float) -> Sequence[Notice]:
    """Take what is to be sent, and have it delivered."""
    notices = queue.take(now)
    if notices:
        queue.delivered(notices)
    return notices


def test_what_is_offered_is_sent_once() -> None:
    queue = delivery()
    queue.offer(firing(), 0.0)
    assert sent(queue, 0.0) == (firing(),)
    assert (queue.take(100.0), queue.due(100.0)) == ((), math.inf)


def test_a_sink_gets_as_much_as_it_wants() -> None:
    queue = delivery()
    for code in ("RIVA_001", "JOURNAL_001", "SYS_003"):
        queue.offer(firing(code), 0.0)
    assert [len(sent(queue, 0.0)), len(sent(queue, 0.5)), queue.due(0.5)] == [1, 0, 1.0]
    assert [len(sent(queue, 1.0)), len(sent(queue, 1.5)), len(sent(queue, 2.0))] == [1, 0, 1]


def test_what_is_not_severe_enough_is_not_sent() -> None:
    queue = delivery(Manners(least=Severity.CRITICAL))
    queue.offer(firing("RIVA_005"), 0.0)
    queue.offer(firing("RIVA_001"), 0.0)
    assert [notice.key.code for notice in sent(queue, 0.0)] == ["RIVA_001"]
    assert len(queue) == 0


def test_the_oldest_gives_way_when_too_many_wait() -> None:
    queue = delivery(Manners(capacity=2))
    codes = ["RIVA_001", "JOURNAL_001", "SYS_003"]
    dropped = [queue.offer(firing(code), 0.0) for code in codes]
    assert [[notice.key.code for notice in each] for each in dropped] == [[], [], ["RIVA_001"]]
    assert len(queue) == 2


def test_the_newest_of_an_alert_replaces_what_was_not_sent_of_it() -> None:
    queue = delivery()
    queue.offer(firing(), 0.0)
    queue.offer(firing(times=7, repeat=True), 0.0)
    assert sent(queue, 0.0) == (firing(times=7),)  # here it is the first word about it
    queue.offer(firing(times=9, repeat=True), 10.0)
    queue.offer(resolved(), 10.0)
    assert sent(queue, 10.0) == (resolved(),)
    assert len(queue) == 0


def test_what_comes_while_something_is_on_its_way_is_kept() -> None:
    queue = delivery()
    queue.offer(firing(), 0.0)
    on_its_way = queue.take(0.0)
    queue.offer(resolved(), 0.1)
    queue.delivered(on_its_way)
    assert sent(queue, 1.0) == (resolved(),)


def test_a_failure_is_tried_again_after_longer_and_longer_pauses() -> None:
    queue = delivery()
    queue.offer(firing(), 0.0)
    now, pauses = 0.0, []
    for _ in range(8):
        assert queue.take(now) == (firing(),)
        queue.failed(now)
        pauses.append(queue.due(now) - now)
        now = queue.due(now)
    assert pauses[:3] == [1.0, 2.0, 4.0]
    assert pauses[-1] == 300.0
    assert sent(queue, now) == (firing(),)
    assert (queue.failures, queue.is_open) == (0, False)


def test_a_sink_that_says_when_is_not_asked_earlier() -> None:
    queue = delivery()
    queue.offer(firing(), 0.0)
    queue.take(0.0)
    queue.failed(0.0, retry_after=30.0)
    assert (queue.take(29.9), queue.due(0.0)) == ((), 30.0)
    assert queue.take(30.0) == (firing(),)


def test_what_is_refused_is_not_tried_again() -> None:
    queue = delivery()
    queue.offer(firing(), 0.0)
    queue.refused(queue.take(0.0))
    assert (len(queue), queue.due(0.0)) == (0, math.inf)


def test_who_does_not_remember_is_told_again_of_what_lasts_and_for_a_while_of_its_end() -> None:
    queue = delivery(Manners(batch=True, interval=60.0, burst=5))
    queue.offer(firing("RIVA_001"), 0.0)
    queue.offer(firing("JOURNAL_001"), 0.0)
    assert [notice.key.code for notice in sent(queue, 0.0)] == ["RIVA_001", "JOURNAL_001"]
    assert (sent(queue, 59.0), queue.due(59.0)) == ((), 60.0)
    assert len(sent(queue, 60.0)) == 2
    queue.offer(resolved("RIVA_001"), 100.0)
    assert sent(queue, 100.0) == (resolved("RIVA_001"),)
    told = {at: {notice.key.code for notice in sent(queue, at)} for at in (120.0, 99.0 + RESENT_RESOLVED, 460.0)}
    assert list(told.values()) == [{"JOURNAL_001", "RIVA_001"}, {"JOURNAL_001", "RIVA_001"}, {"JOURNAL_001"}]


def test_the_end_does_not_wait() -> None:
    queue = delivery()
    for code in ("RIVA_001", "JOURNAL_001"):
        queue.offer(firing(code), 0.0)
    for _ in range(2):
        queue.delivered(queue.hurry())
    assert (len(queue), queue.hurry()) == (0, ())


@given(st.lists(st.floats(0.0, 5.0), max_size=60), st.floats(1.0, 600.0), st.integers(1, 5))
def test_a_bucket_gives_what_it_may_in_any_stretch_of_time(gaps: list[float], per_minute: float, burst: int) -> None:
    bucket = Bucket(per_minute, burst, 0.0)
    now, taken = 0.0, []
    for gap in gaps:
        now += gap
        free = bucket.free_at(now) <= now
        assert bucket.take(now) == free
        if free:
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = burst + (taken[last] - taken[first]) * per_minute / 60.0
            assert last - first + 1 <= allowed + 1e-6


offers = st.tuples(st.sampled_from(sorted(CATALOGUE)), st.booleans(), st.sampled_from(["ok", "no", "again"]))


@given(st.lists(offers, max_size=60), st.integers(1, 4))
def test_at_last_the_newest_of_every_alert_was_sent_refused_or_dropped(
    played: list[tuple[str, bool, str]], capacity: int
) -> None:
    queue = delivery(Manners(least=Severity.INFO, capacity=capacity, per_minute=600.0))
    newest: dict[str, Notice] = {}
    gone: list[Notice] = []
    now = 0.0
    for number, (code, over, answer) in enumerate(played):
        notice = (resolved if over else firing)(code, times=number + 1)
        newest[code] = notice
        gone += queue.offer(notice, now)
        assert len(queue) <= capacity
        if batch := queue.take(now):
            _answer(queue, batch, answer, now, gone)
        now += 1.0
    while len(queue):
        now = queue.due(now)
        if batch := queue.take(now):
            _answer(queue, batch, "ok", now, gone)
    last = {notice.key.code: notice for notice in gone}
    assert {code: notice.times for code, notice in last.items()} == {code: one.times for code, one in newest.items()}


def _answer(queue: Delivery, batch: Sequence[Notice], answer: str, now: float, gone: list[Notice]) -> None:
    match answer:
        case "ok":
            queue.delivered(batch)
            gone += batch
        case "no":
            queue.refused(batch)
            gone += batch
        case _:
            queue.failed(now)
