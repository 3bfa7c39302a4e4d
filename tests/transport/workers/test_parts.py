"""What a parent works out of its workers: whether they live, what each may take, and how all of them stand as one."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from actors.speech.backends.events import BackendDown, BackendJoined, BackendLeft, BackendUp, PoolEvent
from actors.speech.errors import ConnectionFailed
from transport.admin.state import Check, ErrorRow, Node, SessionRow, State
from transport.riva.channel import Endpoint
from transport.settings import Admin, Journal, Limits, Server, Session, Settings, SettingsError, load
from transport.workers.elsewhere import elsewhere
from transport.workers.merging import Ledger, Merged, parsed
from transport.workers.pulse import MISSES, Pulse
from transport.workers.reports import DOWN, JOINED, LEFT, UP, Backends, Reports, context_of
from transport.workers.shares import settings_of, share
from transport.workers.survey import combined, errors_of, graft, sessions_of, slowest
from transport.workers.wire import ORDERS, Assignment, BackendChanged, Failed, Frames, Usage, frame

# ---- whether one lives


def test_a_worker_is_wedged_when_several_looks_in_a_row_found_no_sign_of_life() -> None:
    pulse = Pulse()
    assert [pulse.look() for _ in range(MISSES)] == [False] * MISSES
    pulse.beat()
    assert [pulse.look() for _ in range(MISSES + 1)] == [False] * MISSES + [True]


# ---- what each may take


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_shares_are_even_and_all_there_is(total: int, of: int) -> None:
    shares = [share(total, number, of) for number in range(of)]
    assert sum(shares) == max(total, of)  # each can serve at least one
    assert max(shares) - min(shares) <= 1


def test_a_worker_gets_its_part_of_what_backends_and_sessions_may_take_and_keeps_the_rest() -> None:
    riva = Endpoint(name="riva", address="127.0.0.1:1", max_streams=5)
    embedded = Endpoint(name="embedded", address="unix:/x", max_streams=3, max_stream_age=float("inf"))
    whole = Settings(
        backends=(riva,),
        session=Session(max_sessions=7, idle_timeout=9.0),
        server=Server(port=1),
        limits=Limits(connections=9),
    )
    first, second = (settings_of(whole, number, 2, admin="/a.sock", embedded=embedded) for number in range(2))
    assert [[each.max_streams for each in one.backends] for one in (first, second)] == [[3, 2], [2, 1]]
    assert [one.session.max_sessions for one in (first, second)] == [4, 3]
    assert [one.limits.connections for one in (first, second)] == [5, 4]
    assert first.admin == Admin(host="unix:/a.sock", port=0)
    assert (first.session.idle_timeout, first.server.port, first.uses_embedded) == (9.0, 1, False)


def test_several_workers_need_a_journal_that_they_share() -> None:
    with pytest.raises(ValueError, match=r"server\.workers is more than 1 and journal\.store is memory"):
        Settings(server=Server(workers=2), journal=Journal(store="memory"))
    with pytest.raises(SettingsError, match="workers"):
        load(options=[], environ={"VOXTREE__SERVER__WORKERS": "0"})


def test_each_worker_learns_what_callers_have_at_the_others() -> None:
    usages: dict[str, Usage] = {
        "a": (("user", "ann", 2), ("address", "10.0.0.0", 1)),
        "b": (("user", "ann", 1),),
        "c": (),
    }
    assert elsewhere(usages) == {
        "a": (("user", "ann", 1),),
        "b": (("address", "10.0.0.0", 1), ("user", "ann", 2)),
        "c": (("address", "10.0.0.0", 1), ("user", "ann", 3)),
    }


# ---- what they say


async def test_messages_arrive_as_they_were_sent_infinite_times_included() -> None:
    settings = Settings(backends=(Endpoint(name="a", address="b:1", max_stream_age=float("inf")),))
    sent = Assignment(1, settings, b"key", {8080: (7, 8)}, 9, 2)
    stream = frame(sent) + frame(sent)

    async def read(count: int) -> bytes:
        nonlocal stream
        if len(stream) < count:
            raise anyio.IncompleteRead
        part, stream = stream[:count], stream[count:]
        return part

    frames = Frames(read, ORDERS)
    assert [await frames.next(), await frames.next(), await frames.next()] == [sent, sent, None]


async def test_what_is_no_message_is_refused() -> None:
    async def read(count: int) -> bytes:
        return b"\xff" * count

    with pytest.raises(ValueError, match="a message of 4294967295 bytes"):
        await Frames(read, ORDERS).next()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


def test_a_backend_is_down_while_it_is_for_any_worker() -> None:
    told: list[PoolEvent] = []
    backends = Backends(told.append)
    for who, change, code in [
        ("a", JOINED, ""), ("b", JOINED, ""), ("a", DOWN, "RIVA_001"), ("b", DOWN, "RIVA_001"), ("a", UP, ""),
    ]:  # fmt: skip
        backends.changed(who, BackendChanged("riva", change, code))
    assert [type(event) for event in told] == [BackendJoined, BackendJoined, BackendDown]
    backends.gone("b")  # it saw it down to its end
    assert isinstance(told[-1], BackendUp)
    backends.changed("a", BackendChanged("riva", LEFT))
    assert isinstance(told[-1], BackendLeft)


def test_what_alerts_are_made_of_reaches_the_parent() -> None:
    said: list[Any] = []
    reports = Reports(said.append)
    reports.pool(BackendDown(name="riva", error=ConnectionFailed("refused", endpoint="riva")))
    failed = Failed("RIVA_001", "CRITICAL", 12.5, "riva", "", "s-1")
    reports.error(context_of(failed))
    assert said == [BackendChanged("riva", DOWN, "RIVA_001"), failed]


# ---- their metrics


class Process:
    """What one process has counted."""

    def __init__(self, counted: int) -> None:
        registry = CollectorRegistry()
        counter = Counter("vt_sessions", "x", ["outcome"], registry=registry)
        for _ in range(counted):
            counter.labels("completed").inc()
        seconds = Histogram("vt_seconds", "x", buckets=(1.0, 2.0), registry=registry)
        for _ in range(counted):
            seconds.observe(1.5)
        Gauge("vt_active", "x", registry=registry).set(counted)
        self.metrics = parsed(openmetrics(registry))  # type: ignore[no-untyped-call]


def shown(ledger: Ledger, now: dict[int, int | None]) -> dict[str, float]:
    merged = Merged(CollectorRegistry(), lambda: {number: ledger.total(number, life) for number, life in now.items()})
    lines = generate_latest(merged).decode().splitlines()  # type: ignore[arg-type]
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#") and "_created" not in line)
    return {name: float(value) for name, _, value in samples}


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["grows", "is replaced"])), max_size=12))
def test_a_workers_counters_only_ever_rise_whatever_becomes_of_its_processes(steps: list[tuple[int, str]]) -> None:
    ledger, life, counted, before, all_of_it = Ledger(), 1, 0, 0.0, 0
    for more, what in steps:
        counted += more
        all_of_it += more
        ledger.saw(0, life, Process(counted).metrics)
        if what == "is replaced":
            ledger.gone(0, life)
            life, counted = life + 1, 0
            ledger.saw(0, life, Process(0).metrics)
        samples = shown(ledger, {0: life})
        rising = samples.get('vt_sessions_total{outcome="completed",worker="0"}', 0.0)
        assert (rising, samples['vt_seconds_count{worker="0"}']) == (all_of_it, all_of_it)
        assert samples['vt_seconds_bucket{le="2.0",worker="0"}'] == all_of_it
        assert rising >= before
        assert samples['vt_active{worker="0"}'] == counted  # of the moment, so of the process there is
        before = rising


def test_of_a_worker_that_does_not_answer_what_it_had_counted_is_shown_and_nothing_of_the_moment() -> None:
    ledger = Ledger()
    ledger.saw(0, 1, Process(2).metrics)
    samples = shown(ledger, {0: None})
    assert samples['vt_sessions_total{outcome="completed",worker="0"}'] == 2
    assert not any(name.startswith("vt_active") for name in samples)


def test_while_one_process_takes_over_from_another_both_count_and_the_new_one_is_shown() -> None:
    ledger = Ledger()
    ledger.saw(0, 1, Process(2).metrics)
    ledger.saw(0, 2, Process(3).metrics)
    samples = shown(ledger, {0: 2})
    assert samples['vt_sessions_total{outcome="completed",worker="0"}'] == 5
    assert samples['vt_active{worker="0"}'] == 3


def test_the_parents_own_metrics_have_no_worker() -> None:
    own = CollectorRegistry()
    Counter("vt_sessions", "x", ["outcome"], registry=own).labels("completed").inc()
    ledger = Ledger()
    ledger.saw(3, 1, Process(1).metrics)
    lines = generate_latest(Merged(own, lambda: {3: ledger.total(3, 1)})).decode()  # type: ignore[arg-type]
    assert 'vt_sessions_total{outcome="completed"} 1.0' in lines
    assert 'vt_sessions_total{outcome="completed",worker="3"} 1.0' in lines
    assert lines.count("# TYPE vt_sessions_total counter") == 1


# ---- how they stand


def session(**facts: Any) -> SessionRow:
    return SessionRow(**{"state": "streaming", "since": 1.0, **facts})


def test_a_session_that_has_moved_is_shown_where_it_lives() -> None:
    here, there = session(since=5.0), session(state="taken_over", until=6.0)
    states = {0: State(at=0, about=ABOUT, sessions={"s": there}), 1: State(at=0, about=ABOUT, sessions={"s": here})}
    assert sessions_of(states) == {"s": session(since=5.0, worker="1")}
    assert sessions_of(dict(reversed(states.items()))) == {"s": session(since=5.0, worker="1")}


ABOUT: Any = None  # nobody looks at it here


def test_a_check_is_well_if_it_is_everywhere_and_vital_if_nobody_is_of_use() -> None:
    well, bad = Check(well=True, text="written"), Check(well=False, text="disk full")
    assert combined({0: {"journal": well}, 1: {"journal": well}}) == {"journal": well}
    one = combined({0: {"journal": well}, 1: {"journal": bad}})
    assert one == {"journal": Check(well=False, text="worker 1: disk full", vital=False)}
    both = combined({0: {"journal": bad}, 1: {"journal": bad}})
    assert both == {"journal": Check(well=False, text="worker 0: disk full; worker 1: disk full", vital=True)}


def test_errors_of_one_code_are_one_row_with_the_newest_words() -> None:
    def row(count: int, first: float, last: float, detail: str) -> ErrorRow:
        return ErrorRow(
            name="N", severity="ERROR", count=count, first=first, last=last, rate=count, meaning="", remedy="",
            detail=detail,
        )  # fmt: skip

    found = errors_of([{"A": row(1, 5, 6, "old"), "B": row(1, 1, 1, "b")}, {"A": row(2, 4, 9, "new")}])
    assert list(found.items()) == [("A", row(3, 4, 9, "new")), ("B", row(1, 1, 1, "b"))]


def test_a_workers_tree_stands_at_its_place() -> None:
    nodes = {"v": Node(state="running"), "v/workers/worker:0": Node(state="running", number=2)}
    graft(nodes, "v/workers/worker:0", {"v": Node(state="running", strategy="one_for_one", limit=3),
                                        "v/journal": Node(state="running")})  # fmt: skip
    assert nodes["v/workers/worker:0"] == Node(state="running", number=2, strategy="one_for_one", limit=3)
    assert nodes["v/workers/worker:0/journal"] == Node(state="running")


def test_the_lag_shown_is_the_worst_at_each_moment() -> None:
    assert slowest([(1.0, 5.0), (), (9.0, 2.0, 3.0)]) == (9.0, 2.0, 5.0)
