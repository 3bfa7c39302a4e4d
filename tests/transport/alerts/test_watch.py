"""What is worth telling: pages at once, conditions until they end, rates unless explained; each alert once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.backends.events import BackendDown, BackendDrained, BackendJoined, BackendUp, PoolEvent
from actors.speech.catalogue import CATALOGUE, Alert, Severity
from actors.speech.error_handler import ErrorContext
from actors.speech.errors import BY_CODE
from transport.alerts.notices import ALL, Key, Kind, Notice, Phase
from transport.alerts.watch import DIGESTS, GRACE, QUIET, Watch, component_of

START = 50_000.0
FIRING, RESOLVED = Phase.FIRING, Phase.RESOLVED


def error(code: str, *, endpoint: str = "", path: str = "") -> ErrorContext:
    return ErrorContext(error_code=code, endpoint=endpoint, path=path, severity=CATALOGUE[code].severity)


def down(name: str, code: str = "RIVA_001") -> BackendDown:
    return BackendDown(name=name, error=BY_CODE[code]())


def up(name: str) -> BackendUp:
    return BackendUp(name=name, seconds=1.0)


class Server:
    """A watch whose clock is turned by hand, and all that it told: seconds since the start, code, component, phase."""

    def __init__(self) -> None:
        self.now = START
        self.watch = Watch("gw-1", START)
        self.notices: list[tuple[float, Notice]] = []

    def wait(self, seconds: float) -> None:
        """Let time pass; the watch is looked at whenever it is due."""
        end = self.now + seconds
        while self.watch.due <= end:
            assert self.watch.due > self.now or self.watch.due == -math.inf or self.now == START
            self.now = max(self.now, self.watch.due)
            self._told(self.watch.tick(self.now))
            assert self.watch.due > self.now
        self.now = end

    def error(self, code: str, times: int = 1, **where: str) -> None:
        for _ in range(times):
            self._told(self.watch.error(error(code, **where), self.now))

    def pool(self, *events: PoolEvent) -> None:
        for event in events:
            self._told(self.watch.pool(event, self.now))

    @property
    def told(self) -> list[tuple[float, str, str, str]]:
        return [(at, one.key.code, one.key.component, _phase(one)) for at, one in self.notices]

    def _told(self, notices: Iterable[Notice]) -> None:
        self.notices += [(round(self.now - START, 3), notice) for notice in notices]


def _phase(notice: Notice) -> str:
    return "goes on" if notice.repeat and notice.phase is FIRING else notice.phase.value


# ---- errors that page


def test_a_critical_error_is_told_at_once_and_is_over_when_it_has_been_quiet() -> None:
    server = Server()
    server.error("JOURNAL_001", path="voxtree/journal")
    server.wait(3600)
    assert server.told == [(0.0, "JOURNAL_001", "journal", "firing"), (QUIET, "JOURNAL_001", "journal", "resolved")]
    (_, first), _ = server.notices
    assert (first.severity, first.times, first.summary) == (
        Severity.CRITICAL,
        1,
        "JOURNAL_UNAVAILABLE: journal on gw-1",
    )


def test_what_goes_on_is_told_after_1_5_15_and_60_minutes_and_then_every_hour() -> None:
    server = Server()
    for _ in range(60 * 200):
        server.error("UNKNOWN", path="voxtree/sessions/session:s1/session")
        server.wait(1)
    assert [at for at, _ in server.notices] == [0.0, *DIGESTS, 7200.0, 10800.0]
    assert [notice.times for _, notice in server.notices][:3] == [1, 60, 300]
    assert {notice.repeat for _, notice in server.notices[1:]} == {True}


def test_nothing_is_told_of_what_does_not_go_on() -> None:
    server = Server()
    server.error("UNKNOWN", 3)
    server.wait(QUIET - 1)
    assert [phase for *_, phase in server.told] == ["firing", "goes on"]  # the second and third time, in one digest
    server.wait(1)
    assert server.told[-1] == (QUIET, "UNKNOWN", "server", "resolved")


def test_a_restart_storm_is_one_alert() -> None:
    """A hundred sessions whose actors crash at every message until each has given up."""
    server = Server()
    for number in range(100):
        server.error("UNKNOWN", 20, path=f"voxtree/sessions/session:s{number}/session")
        server.error("SYS_001", path=f"voxtree/sessions/session:s{number}")
        server.wait(0.3)
    server.wait(3600)
    assert [(key, phase) for _, *key, phase in server.told if phase != "goes on"] == [
        (["UNKNOWN", "sessions"], "firing"),
        (["UNKNOWN", "sessions"], "resolved"),
    ]


def test_that_an_alert_is_not_delivered_is_no_alert() -> None:
    server = Server()
    server.error("ALERT_001", 1000, path="voxtree/alerts/oncall")
    assert (server.told, server.watch.due) == ([], math.inf)


# ---- conditions


def test_a_backend_that_is_down_is_told_once_and_is_over_when_it_is_up() -> None:
    server = Server()
    server.pool(BackendJoined(name="a"), BackendJoined(name="b"), up("a"), up("b"))
    server.error("RIVA_005", 50, endpoint="a")  # its streams go first
    server.wait(0.5)
    server.error("RIVA_001", endpoint="a")  # then it is known why
    server.pool(down("a"))
    server.error("RIVA_001", 20, endpoint="a")
    server.wait(40.0)
    server.pool(up("a"))
    server.wait(3600)
    assert server.told == [(0.5, "RIVA_001", "backend:a", "firing"), (40.5, "RIVA_001", "backend:a", "resolved")]


def test_a_backend_that_stays_down_is_told_again_and_again_and_never_resolved() -> None:
    server = Server()
    server.pool(up("b"), down("a"))
    server.wait(7200)
    assert [(at, phase) for at, *_, phase in server.told] == [(0.0, "firing"), *((at, "goes on") for at in DIGESTS),
        (7200.0, "goes on")]  # fmt: skip


def test_a_backend_that_flaps_is_two_alerts_at_most() -> None:
    server = Server()
    server.pool(up("b"))
    for _ in range(60):
        server.pool(down("a"))
        server.wait(10)
        server.pool(up("a"))
        server.wait(20)
    server.wait(3600)
    phases = [(at, phase) for at, *_, phase in server.told if phase != "goes on"]
    assert phases == [(0.0, "firing"), (10.0, "resolved"), (30.0, "firing"), (60 * 30 - 20 + QUIET, "resolved")]


def test_a_backend_that_only_loads_its_models_is_told_when_that_lasts() -> None:
    server = Server()
    server.pool(up("b"), down("a", "RIVA_007"))
    server.wait(120)
    server.pool(up("a"))
    server.wait(120)
    assert server.told == []
    server.pool(down("a", "RIVA_007"))
    server.wait(301)
    assert server.told == [(540.0, "RIVA_007", "backend:a", "firing")]


def test_that_no_backend_is_left_is_a_condition_of_its_own() -> None:
    server = Server()
    server.pool(up("a"), up("b"), down("a"), down("b"))
    server.wait(10)
    server.pool(up("b"))
    assert server.told == [
        (0.0, "RIVA_001", "backend:a", "firing"),
        (0.0, "RIVA_001", "backend:b", "firing"),
        (5.0, "RIVA_013", "backends", "firing"),
        (10.0, "RIVA_001", "backend:b", "resolved"),
        (10.0, "RIVA_013", "backends", "resolved"),
    ]


def test_a_backend_that_is_taken_out_of_the_settings_is_missed_by_nobody() -> None:
    server = Server()
    server.pool(up("b"), down("a"), BackendDrained(name="a", leaving=True))
    server.wait(3600)
    assert [phase for *_, phase in server.told] == ["firing", "resolved"]


# ---- rates


def test_many_errors_of_a_kind_that_pages_nobody_are_told_as_such() -> None:
    server = Server()
    server.wait(3600)
    server.error("CONN_003", 30)
    server.wait(3600)
    (at, first), (_, last) = server.notices
    assert at == 3600 + GRACE
    assert (first.key, first.kind, first.severity) == (
        Key("gw-1", "CONN_003", "server"),
        Kind.RATE,
        Severity.ERROR,
    )
    assert first.summary == "unusually many CONN_INVALID_MESSAGE: server on gw-1"
    assert first.story == "30 in the last 60 s, hardly any is usual; 30 for 15 s"
    assert (last.phase, last.times) == (RESOLVED, 30)


def test_many_errors_of_many_kinds_are_told_together() -> None:
    server = Server()
    server.wait(3600)
    for code in ("CONN_002", "CONN_003", "CONN_007", "AUDIO_003", "RIVA_009", "RIVA_006"):
        server.error(code, 4)
    server.wait(60)
    assert [told[1:] for told in server.told] == [(ALL, "server", "firing")]
    assert server.notices[0][1].summary == "unusually many errors on gw-1"


def test_a_rate_that_is_over_before_it_was_told_is_not_told() -> None:
    server = Server()
    server.wait(3600)
    server.error("RIVA_005", 30, endpoint="a")
    server.wait(5)
    server.error("RIVA_001", endpoint="a")
    server.wait(3600)
    assert {code for _, code, *_ in server.told} == {"RIVA_001"}


def test_an_alert_elsewhere_explains_nothing() -> None:
    server = Server()
    server.wait(3600)
    server.error("RIVA_001", endpoint="a")
    server.error("RIVA_005", 30, endpoint="b")
    server.wait(20)
    assert [told[1:3] for told in server.told] == [("RIVA_001", "backend:a"), ("RIVA_005", "backend:b")]


@pytest.mark.parametrize(
    ("context", "component"),
    [
        (error("RIVA_005", endpoint="riva-a", path="voxtree/sessions/session:x/recogniser"), "backend:riva-a"),
        (error("SYS_001", path="voxtree/sessions/session:+4912345678"), "sessions"),
        (error("SYS_003", path="voxtree"), "server"),
        (error("JOURNAL_001", path="voxtree/journal"), "journal"),
        (ErrorContext(session_id="+4912345678", user_id="u"), "sessions"),
        (ErrorContext(), "server"),
    ],
)
def test_a_component_is_never_a_session_or_a_user(context: ErrorContext, component: str) -> None:
    assert component_of(context) == component


# ---- whatever happens

Step = Callable[[Server], None]
CODES = [code for code in CATALOGUE if code != "RIVA_013"]
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda code, times, endpoint: lambda server: server.error(code, times, endpoint=endpoint),
        st.sampled_from(CODES),
        st.sampled_from([1, 1, 3, 40]),
        st.sampled_from(["", "a", "b"]),
    ),
    st.builds(
        lambda name, code: lambda server: server.pool(down(name, code)),
        st.sampled_from("ab"),
        st.sampled_from(["RIVA_001", "RIVA_006", "RIVA_007"]),
    ),
    st.builds(lambda name: lambda server: server.pool(up(name)), st.sampled_from("ab")),
    st.builds(
        lambda seconds: lambda server: server.wait(seconds),
        st.sampled_from([0.1, 1.0, 14.0, 30.0, 61.0, 250.0, 301.0, 4000.0]),
    ),
)


@given(st.lists(steps, max_size=40))
def test_each_alert_begins_once_may_go_on_and_ends_once(played: list[Step]) -> None:
    server = Server()
    for step in played:
        step(server)
    server.pool(up("a"), up("b"))
    server.wait(2 * QUIET + 60)
    by_key: dict[Key, list[str]] = {}
    for _, notice in server.notices:
        by_key.setdefault(notice.key, []).append(_phase(notice))
    after = {"firing": {"goes on", "resolved"}, "goes on": {"goes on", "resolved"}, "resolved": {"firing"}}
    for phases in by_key.values():
        assert phases[0] == "firing"
        assert all(later in after[earlier] for earlier, later in pairwise(phases))
        assert phases[-1] == "resolved"
    assert (len(server.watch), server.watch.due) == (0, math.inf)


@given(st.lists(steps, max_size=40), st.sampled_from(CODES))
def test_an_error_that_pages_is_told_at_once_unless_it_is_told_already(played: list[Step], code: str) -> None:
    server = Server()
    for step in played:
        step(server)
    server.error(code, endpoint="a")
    told = [notice for _, notice in server.notices if notice.key == Key("gw-1", code, "backend:a")]
    if CATALOGUE[code].alert is Alert.PAGE:
        assert told[-1].phase is FIRING
    assert not any(notice.key.code == "ALERT_001" for _, notice in server.notices)


@given(st.lists(steps, max_size=40))
def test_nobody_is_told_of_one_thing_more_often_than_his_patience_allows(played: list[Step]) -> None:
    server = Server()
    for step in played:
        step(server)
    for key in {notice.key for _, notice in server.notices}:
        told = [(at, _phase(notice)) for at, notice in server.notices if notice.key == key]
        digests = [later - earlier for (earlier, one), (later, other) in pairwise(told) if one == other == "goes on"]
        assert all(gap >= DIGESTS[1] - DIGESTS[0] for gap in digests)
        begun = [at for at, phase in told if phase == "firing"]
        assert all(third - first >= QUIET for first, third in zip(begun, begun[2:], strict=False))


@given(st.lists(steps, max_size=25))
def test_looking_more_often_than_it_is_due_changes_nothing(played: list[Step]) -> None:
    class Restless(Server):
        def wait(self, seconds: float) -> None:
            for _ in range(4):
                super().wait(seconds / 4)
                self._told(self.watch.tick(self.now))

    calm, restless = Server(), Restless()
    for step in played:
        step(calm)
        step(restless)
    assert [told[1:] for told in restless.told] == [told[1:] for told in calm.told]
