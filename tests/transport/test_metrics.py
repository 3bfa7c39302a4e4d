"""A server's metrics: what each event moves, what lives, and that no number of sessions makes more series."""

from __future__ import annotations

import random
from collections.abc import Iterator

import anyio
import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, enable_created_metrics
from prometheus_client.openmetrics import exposition as openmetrics

from actors.speech.backends.events import (
    BackendDown,
    BackendState,
    BreakerClosed,
    BreakerOpened,
    Health,
    PoolState,
)
from actors.speech.catalogue import CATALOGUE
from actors.speech.error_handler import ErrorContext, ErrorHandler
from actors.speech.errors import BY_CODE, ConnectionFailed
from actors.speech.journal.reports import BatchCommitted, BatchFailed
from actors.speech.ports import Tier
from actors.speech.reports import (
    AudioGivenUp,
    Ending,
    Recovered,
    Said,
    SessionEnded,
    SessionOpened,
    SessionResumed,
    StreamBegan,
)
from supervisor.breaker import BreakerState
from supervisor.names import DynamicName
from supervisor.reports import ChildRestarting, GaveUp
from transport.metrics import Metrics, Sample

MOST_SERIES = 2000
GAPS = ("AUDIO_004", "AUDIO_007")
RECOGNISER = ("voxtree", "sessions", DynamicName("session:s1"), "recogniser")


def backend(
    name: str,
    *,
    health: Health = Health.READY,
    breaker: BreakerState = BreakerState.CLOSED,
    streams: int = 3,
    leaving: bool = False,
) -> BackendState:
    return BackendState(
        name=name, tier=Tier.PRIMARY, health=health, health_seconds=None, breaker=breaker, breaker_seconds=None,
        streams=streams, cap=7, max_streams=10, rest_seconds=0.0, probe_seconds=None, drained=False, leaving=leaving,
        last_code=None, last_code_seconds=None,
    )  # fmt: skip


def sample(*backends: BackendState, **audio: float) -> Sample:
    pool = PoolState(backends, waiting=2)
    return Sample(connected=5, waiting=1, connections=6, audio=audio, depth=4, unsent=100, pool=pool)


class House:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.handler = ErrorHandler(self.registry, listener=lambda error: self.metrics.error(error))
        self.metrics = Metrics(self.registry, sample, store="memory")

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"voxtree_{name}", labels)

    @property
    def series(self) -> int:
        return sum(len(family.samples) for family in self.registry.collect())


@pytest.fixture
def house() -> House:
    return House()


def test_a_slow_final_names_a_session_to_who_asks_for_exemplars(house: House) -> None:
    house.metrics.session(Said(session=128 * "s", is_final=True, latency=2.5, words=1, tier=Tier.PRIMARY))
    (line,) = [each for each in openmetrics.generate_latest(house.registry).decode().splitlines() if "# {" in each]
    assert line.startswith('voxtree_final_latency_seconds_bucket{le="3.0"} 1.0 # {session="' + 100 * "s" + '"} 2.5 ')


def test_a_sessions_life_is_counted(house: House) -> None:
    tell = house.metrics.session
    tell(SessionOpened(session="s1", epoch=1))
    tell(SessionOpened(session="s2", epoch=2, claimed=True))
    tell(SessionResumed(session="s1", epoch=3, away=1.5))
    tell(SessionResumed(session="s1", epoch=3, away=0.0))
    tell(StreamBegan(session="s1", endpoint="a", tier=Tier.PRIMARY, number=1, replayed=2.5))
    tell(Recovered(session="s1", seconds=0.2, source="a", target="b", code="RIVA_005"))
    tell(AudioGivenUp(session="s1", seconds=4.0, code="AUDIO_004"))
    tell(SessionEnded(session="s1", ending=Ending.FAILED, code="SYS_001", age=9.0, audio=8.0))
    tell(SessionEnded(session="s2", ending=Ending.FAILED, code="RIVA_002", age=9.0, audio=8.0))
    assert (house.value("sessions_opened_total", how="new"), house.value("sessions_opened_total", how="claimed")) == (
        1,
        1,
    )
    assert house.value("resumes_total", result="returned") == house.value("resumes_total", result="took_over") == 1
    assert house.value("resume_gap_seconds_sum") == 1.5
    assert house.value("replayed_audio_seconds_total") == 2.5
    assert house.value("failovers_total", source="a", target="b") == 1
    assert house.value("failover_duration_seconds_sum") == 0.2
    assert house.value("audio_lost_seconds_total", reason="AUDIO_004") == 4
    outcomes = {
        outcome: house.value("sessions_total", outcome=outcome) for outcome in ("failed", "rejected", "drained")
    }
    assert outcomes == {"failed": 1, "rejected": 1, "drained": 0}  # an unknown language is its client's to mend


def test_words_are_timed_when_it_is_known_when_their_audio_came(house: House) -> None:
    for is_final, latency in [(True, 0.4), (True, None), (False, 0.1)]:
        house.metrics.session(Said(session="s", is_final=is_final, latency=latency, words=1, tier=Tier.PRIMARY))
    assert (house.value("final_latency_seconds_count"), house.value("final_latency_seconds_sum")) == (1, 0.4)
    assert (house.value("partial_latency_seconds_count"), house.value("partial_latency_seconds_sum")) == (1, 0.1)


def test_audio_is_counted_once_whether_it_was_seen_on_the_way_or_at_the_end(house: House) -> None:
    house.metrics.take(sample(s1=2.0))
    house.metrics.take(sample(s1=5.0, s2=1.0))
    house.metrics.session(SessionEnded(session="s1", ending=Ending.COMPLETED, code=None, age=9.0, audio=6.0))
    house.metrics.take(sample(s2=1.5))
    house.metrics.session(SessionEnded(session="short", ending=Ending.COMPLETED, code=None, age=0.1, audio=0.25))
    assert house.value("audio_received_seconds_total") == 6.0 + 1.5 + 0.25


def test_what_lives_is_shown_and_what_has_left_is_not(house: House) -> None:
    house.metrics.take(sample(backend("a"), backend("b", health=Health.SUSPECT, breaker=BreakerState.OPEN)))
    assert (house.value("sessions_active", state="connected"), house.value("sessions_active", state="waiting")) == (
        5,
        1,
    )
    assert (house.value("connections"), house.value("mailbox_depth_max"), house.value("send_buffer_bytes_max")) == (
        6,
        4,
        100,
    )
    assert (house.value("backend_up", backend="a"), house.value("backend_up", backend="b")) == (1, 0)
    assert (house.value("backend_streams", backend="a"), house.value("backend_streams_max", backend="a")) == (3, 7)
    assert house.value("backend_waiting_sessions") == 2
    assert [house.value("breaker_state", backend="b", state=state.value) for state in BreakerState] == [0, 1, 0]
    house.metrics.take(sample(backend("a")))
    assert house.value("backend_up", backend="a") == 1
    assert house.value("backend_up", backend="b") is None
    assert [house.value("breaker_state", backend="b", state=state.value) for state in BreakerState] == [None] * 3


@pytest.mark.parametrize("order", [1, -1])
def test_a_backend_is_shown_and_not_the_one_it_replaces_under_its_name(house: House, order: int) -> None:
    new = backend("a")
    old = backend("a", health=Health.SUSPECT, breaker=BreakerState.OPEN, streams=9, leaving=True)
    for backends in ([new, old][::order], [new]):  # … also when the last stream of that has ended
        house.metrics.take(sample(*backends))
        assert (house.value("backend_up", backend="a"), house.value("backend_streams", backend="a")) == (1, 3)
        assert house.value("breaker_state", backend="a", state="closed") == 1


def test_backends_and_their_breakers_are_counted(house: House) -> None:
    house.metrics.take(sample(backend("a")))
    error = ConnectionFailed("refused", endpoint="a")
    house.handler.report(error, ErrorContext(session_id="s1"))
    house.metrics.pool(BackendDown(name="a", error=error))
    house.metrics.pool(BreakerOpened(name="a", code=error.code, seconds=1.0))
    house.metrics.pool(BreakerClosed(name="a"))
    assert house.value("backend_up", backend="a") == 0
    assert house.value("backend_rpc_errors_total", backend="a", code="RIVA_001") == 1
    assert house.value("session_errors_total", code="RIVA_001", category="RIVA") == 1
    assert house.value("breaker_transitions_total", backend="a", state="open") == 1
    assert house.value("breaker_transitions_total", backend="a", state="closed") == 1


def test_the_tree_the_journal_and_the_door_are_counted(house: House) -> None:
    house.metrics.tree(ChildRestarting(path=RECOGNISER, error=None, delay=0.0))
    house.metrics.tree(GaveUp(path=RECOGNISER[:3], child=RECOGNISER, error=None))
    house.metrics.journal(BatchCommitted(seconds=0.01, operations=5, fenced=2))
    house.metrics.journal(BatchFailed("JOURNAL_002"))
    house.metrics.refused("origin")
    house.metrics.reloaded(False)
    house.handler.report(BY_CODE["CONN_007"]())
    assert house.value("actor_restarts_total", supervisor="voxtree/sessions/*/recogniser") == 1
    assert house.value("supervisor_escalations_total", supervisor="voxtree/sessions/*") == 1
    assert house.value("journal_append_seconds_count", store="memory") == 1
    assert (house.value("fenced_writes_total"), house.value("journal_errors_total", code="JOURNAL_002")) == (2, 1)
    assert house.value("handshake_rejected_total", reason="origin") == 1
    assert house.value("config_last_reload_successful") == 0
    assert house.value("slow_consumer_total") == 1


@pytest.fixture
def as_served() -> Iterator[None]:
    """What `voxtree serve` does."""
    disable_created_metrics()
    yield
    enable_created_metrics()


@pytest.mark.usefixtures("as_served")
def test_ten_thousand_sessions_of_all_kinds_make_no_more_series_than_the_code_has_places(house: House) -> None:
    chance = random.Random(1)
    backends = [f"riva-{number}" for number in range(16)]
    house.metrics.take(sample(*map(backend, backends)))
    for number in range(10_000):
        session, code = f"{number}-{chance.random()}", chance.choice(sorted(CATALOGUE))
        source, target = chance.choice(backends), chance.choice(backends)
        path = ("voxtree", "sessions", DynamicName(f"session:{session}"), chance.choice(("session", "recogniser")))
        house.metrics.session(SessionOpened(session=session, epoch=number))
        house.metrics.session(Said(session=session, is_final=True, latency=chance.random(), words=9, tier=Tier.PRIMARY))
        house.metrics.session(Recovered(session=session, seconds=0.1, source=source, target=target, code=code))
        house.metrics.session(AudioGivenUp(session=session, seconds=0.1, code=chance.choice(GAPS)))
        house.metrics.tree(ChildRestarting(path=path, error=None, delay=0.0))
        context = ErrorContext(session_id=session, user_id=session, endpoint=chance.choice(backends))
        house.handler.report(BY_CODE[code](f"detail {number}"), context)
        ending = chance.choice(list(Ending))
        house.metrics.session(SessionEnded(session=session, ending=ending, code=code, age=1.0, audio=1.0))
    assert 1000 < house.series < MOST_SERIES
    assert house.metrics._audio == {}


@pytest.mark.anyio
async def test_what_lives_and_the_loops_lag_are_looked_at_again_and_again() -> None:
    registry, looked = CollectorRegistry(), anyio.Event()

    def look() -> Sample:
        if registry.get_sample_value("voxtree_event_loop_lag_seconds_count") == 2:
            looked.set()
        return sample()

    metrics = Metrics(registry, look, store="memory")
    async with anyio.create_task_group() as tasks:
        await tasks.start(metrics.run)
        with anyio.fail_after(30):
            await looked.wait()
        tasks.cancel_scope.cancel()
    assert registry.get_sample_value("voxtree_connections") == 6
