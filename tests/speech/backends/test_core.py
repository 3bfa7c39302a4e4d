"""The pool's decisions one by one."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from actors.speech.backends.events import (
    AdmissionLowered,
    BackendDown,
    BackendDrained,
    BackendJoined,
    BackendLeft,
    BackendRests,
    BackendUndrained,
    BackendUp,
    BreakerClosed,
    BreakerOpened,
    Health,
    ModelMissing,
    QuotaFreed,
    QuotaSpent,
    SessionMoved,
    Why,
)
from actors.speech.errors import (
    BackendDraining,
    BackendNotReady,
    BackendOutOfMemory,
    BackendOverloaded,
    ConfigRejected,
    ConnectionFailed,
    InferenceFailed,
    ModelNotFound,
    NotAuthorized,
    QuotaExceeded,
    SequenceExpired,
    SpeechError,
    StreamLost,
    WrongEndpoint,
)
from actors.speech.ports import Tier
from supervisor.breaker import BreakerState
from tests.speech.backends.driver import ENGLISH, GERMAN, Driver, backend, primary_and_fallback

CLOSED, OPEN, HALF_OPEN = BreakerState


def gone(name: str) -> SpeechError:
    return ConnectionFailed("refused", endpoint=name)


def primary_is_gone(name: str) -> SpeechError | None:
    return gone(name) if name == "primary" else None


def sessions(count: int) -> list[str]:
    return [f"s{number}" for number in range(count)]


def kill(driver: Driver, name: str, error: type[SpeechError] = StreamLost) -> list[str]:
    """End all streams there at once."""
    killed = [session for session, loan in driver.loans.items() if loan.place.name == name]
    for session in killed:
        driver.end(session, error())
    return killed


# ---- who gets what


def test_the_best_tier_with_room_is_lent_and_the_least_loaded_in_it() -> None:
    driver = Driver(backend("spare", Tier.FALLBACK), backend("first", room=2), backend("second", room=2))
    assert [driver.lease(session) for session in sessions(5)] == ["first", "second", "first", "second", "spare"]


def test_load_is_a_share_of_what_an_endpoint_may_carry() -> None:
    driver = Driver(backend("small", room=10), backend("large", room=90))
    got = Counter(driver.lease(session) for session in sessions(50))
    assert got == {"small": 5, "large": 45}


def test_those_who_find_no_room_are_served_in_the_order_they_came() -> None:
    driver = Driver(backend("a", room=1))
    assert [driver.lease(session) for session in "pqrs"] == ["a", None, None, None]
    driver.give_up("q")
    driver.end("p")
    assert (driver.at("r"), driver.at("s")) == ("a", None)


def test_who_waits_for_what_only_a_full_endpoint_has_keeps_nobody_waiting() -> None:
    driver = Driver(backend("both", room=1), backend("english", Tier.FALLBACK, room=1))
    driver.lease("p")
    assert driver.lease("g", GERMAN) == "english"
    driver.end("g", ModelNotFound())
    driver.lease("q")
    assert (driver.at("p"), driver.at("q")) == ("both", "english")
    assert [driver.lease("g", GERMAN), driver.lease("r"), driver.lease("s")] == [None, None, None]
    driver.end("q")
    assert (driver.at("g"), driver.at("r")) == (None, "english")
    driver.end("p")
    assert driver.at("g") == "both"


def test_a_session_stays_where_it_is_when_it_only_wants_a_new_stream() -> None:
    driver = Driver(backend("a"), backend("b"))
    for session in sessions(8):
        driver.lease(session)
    driver.end("s1")
    driver.end("s3")  # b has room, and fewer streams
    for _ in range(3):
        driver.end("s0", SequenceExpired())
        assert driver.lease("s0") == "a"
    driver.end("s0")
    assert driver.lease("s0") == "a"
    assert driver.of(SessionMoved) == []


def test_a_session_that_was_moved_away_a_moment_ago_is_not_moved_back_by_a_new_stream() -> None:
    driver = Driver(*primary_and_fallback())
    driver.speaking("s")
    driver.speaking("other")
    driver.end("other", BackendOverloaded())
    assert driver.should_move("s")
    assert driver.move("s") == "fallback"
    driver.pass_time(6)
    assert driver.lease("new") == "primary"
    assert driver.move("s") == "fallback"
    driver.pass_time(25)
    assert driver.move("s") == "primary"


# ---- models


def test_a_session_whose_model_is_missing_at_one_endpoint_gets_another_one() -> None:
    driver = Driver(*primary_and_fallback())
    assert driver.lease("s", GERMAN) == "primary"
    driver.end("s", ModelNotFound("no streaming model for language 'de-DE'"))
    assert driver.core.can_serve(GERMAN, driver.now)
    assert driver.lease("s", GERMAN) == "fallback"
    assert (driver.lease("t", GERMAN), driver.lease("u", ENGLISH)) == ("fallback", "primary")
    assert driver.state("primary").breaker is CLOSED


def test_operators_are_told_once_of_a_model_that_an_endpoint_lacks() -> None:
    driver = Driver(*primary_and_fallback())
    missing = ModelNotFound("no 'de-DE'", endpoint="primary")
    for session in sessions(3):
        driver.lease(session, GERMAN)
    for session in sessions(3):
        driver.end(session, missing)
    told = ModelMissing(name="primary", language="de-DE", model="", error=missing)
    assert driver.of(ModelMissing) == [told]
    driver.pass_time(310.0)
    driver.lease("later", GERMAN)
    driver.end("later", missing)
    assert driver.of(ModelMissing) == [told, told]


def test_a_model_that_no_endpoint_has_is_refused_at_once_to_who_asks_and_to_who_waits() -> None:
    driver = Driver(backend("a", room=1), backend("b", room=1))
    assert (driver.lease("p", GERMAN), driver.lease("q", GERMAN), driver.lease("r", GERMAN)) == ("a", "b", None)
    driver.end("p", ModelNotFound("none", endpoint="a"))
    assert driver.refused == {}
    driver.end("q", ModelNotFound("none", endpoint="b"))
    assert list(driver.refused) == ["r"]
    driver.lease("s", GERMAN)
    assert list(driver.refused) == ["r", "s"]
    assert not driver.core.can_serve(GERMAN, driver.now)
    assert driver.lease("t", ENGLISH) == "a"


def test_a_session_waits_for_an_endpoint_that_is_down_if_the_others_lack_its_model() -> None:
    driver = Driver(*primary_and_fallback())
    driver.do(driver.core.lost(driver.core.roster.place("primary"), gone("primary"), driver.now))
    assert driver.lease("s", GERMAN) == "fallback"
    driver.end("s", ModelNotFound())
    assert driver.lease("s", GERMAN) is None
    driver.pass_time(1.0)
    assert (driver.at("s"), driver.refused) == ("primary", {})


def test_what_is_missing_is_asked_for_again_after_some_minutes_or_when_the_endpoint_was_away() -> None:
    driver = Driver(backend("a"))
    driver.lease("s", GERMAN)
    driver.end("s", ModelNotFound())
    driver.pass_time(299)
    assert driver.lease("s", GERMAN) is None
    driver.pass_time(1.1)
    assert driver.lease("t", GERMAN) == "a"
    driver.end("t", ModelNotFound())
    driver.pass_time(6, gone)
    driver.pass_time(1)
    assert driver.lease("u", GERMAN) == "a"


def test_an_endpoint_that_only_an_operator_can_mend_is_not_waited_for() -> None:
    driver = Driver(*primary_and_fallback())
    driver.lease("s", GERMAN)
    driver.end("s", NotAuthorized())
    driver.lease("s", GERMAN)
    driver.end("s", ModelNotFound("none"))
    driver.lease("s", GERMAN)
    assert list(driver.refused) == ["s"]


# ---- failures


def test_all_streams_that_are_lost_at_once_are_one_incident() -> None:
    driver = Driver(backend("a", room=1000))
    for session in sessions(1000):
        driver.speaking(session)
    kill(driver, "a")
    assert (driver.state("a").breaker, driver.state("a").health) == (CLOSED, Health.SUSPECT)
    assert list(driver.asked) == ["a"]
    driver.answer("a")
    assert [driver.lease(session) for session in sessions(1000)] == ["a"] * 1000


def test_a_lost_endpoint_is_left_at_once_and_opens_its_breaker_when_it_does_not_answer() -> None:
    driver = Driver(*primary_and_fallback())
    for session in sessions(50):
        driver.speaking(session)
    killed = kill(driver, "primary")
    assert {driver.lease(session) for session in killed} == {"fallback"}
    assert driver.lease("new") == "fallback"
    driver.pass_time(1.0, primary_is_gone)
    assert driver.state("primary").breaker is OPEN
    assert [type(event) for event in driver.events if not isinstance(event, SessionMoved)] == [
        BackendUp,
        BackendUp,
        BackendDown,
        BreakerOpened,
    ]
    assert driver.of(SessionMoved)[0] == SessionMoved(
        session="s0", source="primary", target="fallback", why=Why.FAILOVER
    )


def test_one_question_that_fails_is_no_outage_but_nobody_new_is_sent_there() -> None:
    driver = Driver(*primary_and_fallback())
    driver.speaking("old")
    driver.do(driver.core.stirs(driver.core.roster.place("primary"), driver.now))
    driver.answer("primary", gone("primary"))
    assert (driver.lease("new"), driver.at("old")) == ("fallback", "primary")
    driver.pass_time(0.15)
    assert driver.lease("newer") == "primary"
    assert driver.of(BackendDown) == []


def test_an_endpoint_is_seen_to_be_back_within_a_second() -> None:
    driver = Driver(backend("a"))
    driver.pass_time(300, gone)
    assert (driver.lease("s"), driver.state("a").breaker) == (None, OPEN)
    driver.pass_time(1.0)
    assert (driver.at("s"), driver.state("a").breaker) == ("a", CLOSED)
    assert driver.of(BreakerClosed) == [BreakerClosed(name="a")]
    assert [type(event) for event in driver.events] == [BackendUp, BackendDown, BreakerOpened, BreakerClosed, BackendUp]


def test_nothing_is_lent_before_it_has_answered() -> None:
    driver = Driver(*primary_and_fallback(), asks=False)
    driver.do(driver.core.asking(driver.now, asks=True))
    assert driver.lease("s") is None
    driver.answer("primary")
    assert driver.at("s") == "primary"


def test_at_the_start_a_better_tier_is_waited_for_though_a_worse_one_was_quicker_to_answer() -> None:
    driver = Driver(*primary_and_fallback(), asks=False)
    driver.do(driver.core.asking(driver.now, asks=True))
    driver.answer("fallback")
    assert driver.lease("s") is None
    driver.now += 0.005
    driver.answer("primary")
    assert driver.at("s") == "primary"


def test_a_better_tier_that_says_nothing_at_the_start_is_not_waited_for_long() -> None:
    driver = Driver(*primary_and_fallback(), asks=False)
    driver.do(driver.core.asking(driver.now, asks=True))
    driver.answer("fallback")
    assert driver.lease("s") is None
    driver.now += driver.core.serve_in(driver.now)
    driver.do(driver.core.tick(driver.now))
    assert driver.at("s") == "fallback"
    assert driver.lease("t") == "fallback"


def test_a_better_tier_that_fails_its_first_question_is_not_waited_for() -> None:
    driver = Driver(*primary_and_fallback(), asks=False)
    driver.do(driver.core.asking(driver.now, asks=True))
    driver.answer("fallback")
    driver.answer("primary", gone("primary"))
    assert driver.lease("s") == "fallback"


def test_a_better_tier_that_is_added_later_keeps_nobody_waiting() -> None:
    primary, fallback = primary_and_fallback()
    driver = Driver(fallback)
    driver.pass_time(5.0)
    driver.do(driver.core.reconfigure([primary, fallback], driver.now, leave_by=driver.now))
    assert driver.lease("s") == "fallback"


def test_a_question_that_was_out_when_a_stream_failed_proves_nothing() -> None:
    driver = Driver(*primary_and_fallback())
    driver.speaking("s")
    driver.do(driver.core.stirs(driver.core.roster.place("primary"), driver.now))
    driver.end("s", StreamLost())
    driver.answer("primary")
    assert driver.state("primary").health is Health.SUSPECT
    driver.answer("primary")
    assert driver.state("primary").health is Health.READY


def test_what_befalls_one_stream_in_a_hundred_opens_nothing() -> None:
    driver = Driver(backend("a"))
    for session in sessions(90):
        driver.speaking(session)
    for number in range(20):
        driver.now += 1.0
        driver.speaking(f"unlucky{number}")
        driver.end(f"unlucky{number}", InferenceFailed())
    assert (driver.state("a").breaker, driver.state("a").health) == (CLOSED, Health.READY)


def test_an_endpoint_that_answers_questions_and_fails_streams_has_to_prove_itself_by_a_stream() -> None:
    driver = Driver(backend("a"))
    for number in range(3):
        driver.lease(f"s{number}")
        driver.end(f"s{number}", InferenceFailed())
    assert driver.state("a").breaker is OPEN
    assert [driver.lease(session) for session in "pqr"] == [None, None, None]
    driver.pass_time(0.4)
    assert driver.loans == {}
    driver.pass_time(0.2)
    assert list(driver.loans) == ["p"]  # a single one, whatever questions say
    driver.pass_time(5)
    assert list(driver.loans) == ["p"]
    driver.answered("p")
    assert (list(driver.loans), driver.state("a").breaker) == (["p", "q", "r"], CLOSED)


def test_a_stream_that_tries_and_fails_opens_the_breaker_for_longer() -> None:
    driver = Driver(backend("a"))
    pauses = []
    for number in range(3):
        driver.lease(f"s{number}")
        driver.end(f"s{number}", InferenceFailed())
    for number in range(8):
        began = driver.now
        driver.lease(f"t{number}")
        while not driver.loans:
            driver.pass_time(0.05)
        pauses.append(driver.now - began)
        driver.end(f"t{number}", InferenceFailed())
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30], abs=0.11)


def test_a_stream_that_tries_and_fails_is_heard_though_older_streams_have_just_failed_too() -> None:
    driver = Driver(backend("a"))
    for session in sessions(3):
        driver.lease(session)
    driver.lease("old")
    for number in range(3):
        driver.end(f"s{number}", InferenceFailed())
        driver.now += 11
    driver.lease("t")
    driver.lease("u")
    assert driver.state("a").breaker is HALF_OPEN
    driver.end("old", InferenceFailed())
    driver.end("t", InferenceFailed())
    assert (driver.state("a").breaker, driver.at("u")) == (OPEN, None)


def test_newcomers_avoid_an_endpoint_that_keeps_falling_as_long_as_another_has_room() -> None:
    driver = Driver(backend("primary"), backend("fallback", Tier.FALLBACK, room=1))
    for _ in range(3):
        driver.pass_time(8, primary_is_gone)
        driver.pass_time(8)
    assert driver.state("primary").health is Health.READY
    assert [driver.lease("p"), driver.lease("q")] == ["fallback", "primary"]


def test_who_has_just_failed_does_not_try_an_endpoint_out_if_another_is_there() -> None:
    driver = Driver(*primary_and_fallback())
    for number in range(3):
        driver.lease(f"s{number}")
        driver.end(f"s{number}", InferenceFailed())
    driver.pass_time(1)
    assert driver.state("primary").breaker is OPEN
    assert driver.lease("s0") == "fallback"
    assert driver.lease("new") == "primary"
    assert driver.state("primary").breaker is HALF_OPEN
    assert driver.lease("newer") == "fallback"


@pytest.mark.parametrize("error", [NotAuthorized, WrongEndpoint])
def test_a_fault_of_the_settings_opens_at_once_and_for_long(error: type[SpeechError]) -> None:
    driver = Driver(*primary_and_fallback())
    driver.lease("s")
    driver.end("s", error())
    assert (driver.state("primary").breaker, driver.lease("s")) == (OPEN, "fallback")
    asked = [driver.now]

    def refuse(name: str) -> SpeechError | None:
        if name == "primary":
            asked.append(driver.now)
            return error()
        return None

    driver.do(driver.core.stirs(driver.core.roster.place("primary"), driver.now))  # it connects, and what of it
    driver.pass_time(1000, refuse)
    assert [round(later - sooner) for sooner, later in pairwise(asked)] == [30, 30, 60, 120, 240, 300]


def test_a_reload_asks_at_once_what_a_fault_of_the_settings_held_back() -> None:
    first, second = primary_and_fallback()
    driver = Driver(first, second)
    driver.lease("s")
    driver.end("s", NotAuthorized())
    driver.do(driver.core.reconfigure([first, second], driver.now, leave_by=driver.now))
    driver.answer_all()
    assert driver.lease("new") == "primary"


@pytest.mark.parametrize("error", [ConfigRejected, SequenceExpired])
def test_an_error_that_is_not_the_endpoints_fault_changes_nothing(error: type[SpeechError]) -> None:
    driver = Driver(*primary_and_fallback())
    for _ in range(10):
        assert driver.lease("s") == "primary"
        driver.end("s", error())
    assert driver.state("primary").last_code is None


def test_without_questions_a_failed_endpoint_is_tried_when_no_other_is_free() -> None:
    driver = Driver(*primary_and_fallback(room=1), asks=False)
    driver.lease("s")
    driver.end("s", ConnectionFailed())
    assert (driver.lease("s"), driver.lease("t")) == ("fallback", "primary")


def test_without_questions_one_stream_at_a_time_tries_an_endpoint_whose_breaker_is_open() -> None:
    driver = Driver(backend("a"), asks=False)
    for number in range(3):
        driver.lease(f"s{number}")
        driver.end(f"s{number}", ConnectionFailed())
    assert [driver.lease(session) for session in "pqr"] == [None, None, None]
    driver.pass_time(0.6)
    assert list(driver.loans) == ["p"]
    driver.answered("p")
    assert list(driver.loans) == ["p", "q", "r"]


# ---- retries


def test_all_that_an_endpoint_dropped_may_come_back_once_and_again_when_that_helped() -> None:
    driver = Driver(backend("a", room=100))
    for _ in range(5):
        for session in sessions(100):
            assert driver.speaking(session) == "a"
        driver.now += 20  # another incident
        kill(driver, "a", BackendNotReady)
        driver.answer_all()


def test_retries_that_do_not_help_are_bounded() -> None:
    driver = Driver(backend("a", room=100))
    for session in sessions(100):
        driver.lease(session)
    came_back = []
    for _ in range(4):
        driver.now += 1.0
        kill(driver, "a", BackendDraining)  # of those errors that leave the breaker alone
        driver.pass_time(1)
        for session in sessions(100):
            driver.lease(session)
        driver.answer_all()
        came_back.append(len(driver.loans))
        for session in sessions(100):
            if session not in driver.loans:
                driver.give_up(session)
    assert came_back[0] == 100
    assert all(count < 15 for count in came_back[1:]), came_back


def test_a_retry_elsewhere_costs_nothing() -> None:
    driver = Driver(backend("a", room=10), backend("b", Tier.FALLBACK, room=1000))
    for session in sessions(500):
        driver.lease(session)
    killed = kill(driver, "a")
    assert [driver.lease(session) for session in killed] == ["b"] * 10


# ---- quotas


def test_a_spent_quota_rests_all_endpoints_that_share_it_and_no_other() -> None:
    driver = Driver(backend("a", quota_key="account"), backend("b", quota_key="account"), backend("c", Tier.FALLBACK))
    driver.lease("s")
    driver.end("s", QuotaExceeded())
    assert [driver.lease(session) for session in "stu"] == ["c", "c", "c"]
    assert driver.of(QuotaSpent) == [QuotaSpent(name="a", key="account", seconds=5.0)]


@pytest.mark.parametrize(("hint", "seconds"), [(None, 5.0), (1.5, 1.5), (0.0, 0.1)])
def test_a_quota_rests_as_long_as_its_server_says_or_for_some_seconds(hint: float | None, seconds: float) -> None:
    driver = Driver(backend("a"))
    driver.lease("s")
    driver.end("s", QuotaExceeded(retry_after=hint))
    began = driver.now
    driver.lease("t")
    while not driver.loans:
        driver.pass_time(0.05)
    assert driver.now - began == pytest.approx(seconds, abs=0.06)


def test_a_flood_of_refusals_is_one_and_then_a_single_stream_tries_in_each_pause() -> None:
    driver = Driver(backend("a"))
    for session in sessions(100):
        driver.lease(session)
    kill(driver, "a", QuotaExceeded)
    for session in sessions(100):
        driver.lease(session)
    tried = []
    while driver.now < 1400:
        driver.pass_time(0.05)
        for session in list(driver.loans):
            tried.append(driver.now)
            driver.end(session, QuotaExceeded())
            driver.lease(session)
    gaps = [round(later - sooner) for sooner, later in pairwise(tried)]
    assert gaps == [10, 20, 40, 60, 60, 60, 60, 60]
    assert driver.state("a").breaker is CLOSED


def test_a_quota_is_free_again_once_a_stream_was_answered_or_lasted() -> None:
    for proof in ("answer", "time"):
        driver = Driver(backend("a"))
        driver.lease("s")
        driver.end("s", QuotaExceeded())
        for session in "pqr":
            driver.lease(session)
        driver.pass_time(5.0)
        assert list(driver.loans) == ["p"]
        if proof == "answer":
            driver.answered("p")
        else:
            driver.pass_time(2.0)
        assert list(driver.loans) == ["p", "q", "r"]
        assert driver.of(QuotaFreed) == [QuotaFreed(key="a")]


def test_nothing_is_asked_while_a_quota_rests() -> None:
    driver = Driver(backend("a"))
    driver.lease("s")
    driver.end("s", QuotaExceeded(retry_after=60))
    driver.do(driver.core.stirs(driver.core.roster.place("a"), driver.now))
    driver.do(driver.core.suspect(driver.core.roster.place("a"), driver.now))
    for _ in range(59):
        driver.now += 1
        driver.do(driver.core.tick(driver.now))
        assert driver.asked == {}
    driver.now += 1.1
    driver.do(driver.core.tick(driver.now))
    assert list(driver.asked) == ["a"]
    driver.answer("a", QuotaExceeded(retry_after=60))
    driver.pass_time(50)
    assert driver.state("a").rest_seconds == pytest.approx(10, abs=0.1)


# ---- rests


def test_an_endpoint_out_of_memory_cools_down_and_then_gets_less_and_slowly_more() -> None:
    driver = Driver(backend("a", room=100))
    for session in sessions(80):
        driver.speaking(session)
    kill(driver, "a", BackendOutOfMemory)
    assert (driver.state("a").cap, driver.state("a").rest_seconds) == (60, 30.0)
    assert driver.lease("s0") is None
    driver.pass_time(30.1)
    assert driver.at("s0") == "a"
    assert driver.state("a").cap == 60
    driver.pass_time(300)
    assert driver.state("a").cap == 80
    driver.pass_time(301)
    assert driver.state("a").cap == 100
    assert driver.of(AdmissionLowered) == [AdmissionLowered(name="a", streams=60)]
    assert driver.state("a").breaker is CLOSED


def test_an_overloaded_endpoint_gets_nothing_new_and_is_left_at_the_ends_of_utterances() -> None:
    driver = Driver(backend("a"), backend("b"))
    for session in sessions(10):
        driver.speaking(session)
    driver.end("s0", BackendOverloaded())
    assert driver.at("s2") == "a"
    assert driver.lease("s0") == "b"
    assert driver.of(BackendRests) == [BackendRests(name="a", code="RIVA_014", seconds=5.0)]
    assert driver.should_move("s2")
    assert not driver.should_move("s1")  # at b
    assert driver.move("s2") == "b"
    driver.pass_time(5.1)
    assert driver.lease("new") == "a"


def test_a_connection_closed_in_order_is_replaced_at_once_but_a_server_that_shuts_down_is_left() -> None:
    driver = Driver(backend("a"))
    driver.speaking("s")
    driver.end("s", BackendDraining())
    driver.lease("s")
    driver.pass_time(0.15)
    assert driver.at("s") == "a"
    waits = []
    for _ in range(3):
        driver.end("s", BackendDraining())
        began = driver.now
        driver.lease("s")
        while not driver.loans:
            driver.pass_time(0.05)
        waits.append(driver.now - began)
    assert waits == pytest.approx([0.5, 2.5, 12.5], abs=0.11)


# ---- moving


def recovering() -> Driver:
    """100 sessions on the fallback; the primary has just come back from an outage of a minute."""
    driver = Driver(backend("primary"), backend("fallback", Tier.FALLBACK, room=1000))
    for session in sessions(100):
        driver.speaking(session)
    for session in kill(driver, "primary"):
        driver.speaking(session)
    driver.pass_time(60, primary_is_gone)
    driver.pass_time(1)
    assert driver.state("primary").health is Health.READY
    return driver


def moves_of(driver: Driver, seconds: float) -> list[float]:
    """Ask for all sessions several times a second, move those that should; when each did, from now on."""
    began, moved = driver.now, []
    while driver.now < began + seconds:
        driver.pass_time(0.1)
        for session in sessions(100):
            if driver.should_move(session):
                driver.move(session)
                moved.append(driver.now - began)
    return moved


def test_sessions_return_to_the_better_tier_one_by_one_over_half_a_minute() -> None:
    driver = recovering()
    moved = moves_of(driver, 40)
    assert len(moved) == 100
    assert {driver.at(session) for session in sessions(100)} == {"primary"}
    assert max(Counter(int(at) for at in moved).values()) <= 10
    assert max(moved) > 10
    assert {event.why for event in driver.of(SessionMoved)[100:] if isinstance(event, SessionMoved)} == {Why.RETURN}


def test_a_session_that_is_told_to_move_finds_its_place_kept() -> None:
    driver = recovering()
    assert driver.should_move("s5")
    assert not driver.should_move("s6")  # not yet its turn
    assert driver.should_move("s5")
    driver.end("s5")
    for number in range(200):
        driver.lease(f"new{number}")
    assert driver.lease("s5") == "primary"
    assert driver.most["primary"] == 100


def test_sessions_leave_a_drained_endpoint_one_by_one() -> None:
    driver = Driver(backend("a"), backend("b", Tier.FALLBACK))
    for session in sessions(100):
        driver.speaking(session)
    driver.do(driver.core.drain("a", driver.now, leave_by=driver.now + 60))
    moved = moves_of(driver, 35)
    assert len(moved) == 100
    assert max(Counter(int(at) for at in moved).values()) <= 10


def test_only_one_at_a_time_is_told_to_try_an_endpoint_that_must_prove_itself() -> None:
    driver = Driver(*primary_and_fallback())
    for number in range(3):
        driver.lease(f"s{number}")
        driver.end(f"s{number}", InferenceFailed())
        driver.speaking(f"s{number}")
    driver.pass_time(100)
    assert driver.state("primary").breaker is OPEN
    assert driver.should_move("s0")
    driver.pass_time(5)
    assert not driver.should_move("s1")
    assert driver.move("s0") == "primary"
    assert driver.state("primary").breaker is CLOSED


def test_a_place_that_was_kept_is_free_again_when_its_session_went_elsewhere() -> None:
    driver = Driver(backend("primary", room=1), backend("fallback", Tier.FALLBACK))
    driver.speaking("s0")
    driver.speaking("s1")
    driver.pass_time(31)
    driver.end("s0")
    assert driver.should_move("s1")
    driver.do(driver.core.drain("primary", driver.now, leave_by=float("inf")))
    assert driver.move("s1") == "fallback"
    driver.do(driver.core.undrain("primary", driver.now))
    assert driver.lease("s2") == "primary"


def test_a_kept_place_is_given_away_when_nobody_comes() -> None:
    driver = Driver(backend("primary", room=1), backend("fallback", Tier.FALLBACK))
    driver.speaking("s0")
    driver.speaking("s1")
    driver.pass_time(31)
    driver.end("s0")
    assert driver.should_move("s1")
    assert driver.lease("s2") == "fallback"
    driver.pass_time(15.1)
    assert driver.lease("s3") == "primary"


def test_nobody_returns_to_an_endpoint_that_fell_a_moment_ago() -> None:
    driver = Driver(*primary_and_fallback())
    for session in sessions(10):
        driver.speaking(session)
    for session in kill(driver, "primary"):
        driver.speaking(session)
    driver.answer_all()
    driver.pass_time(28)
    assert not any(driver.should_move(session) for session in sessions(10))
    driver.pass_time(5)
    assert driver.should_move("s0")


def test_newcomers_are_sent_by_the_ramp_to_what_has_just_come_back_while_others_have_room() -> None:
    driver = recovering()
    driver.pass_time(5)
    got = Counter(driver.lease(f"new{number}") for number in range(50))
    assert 15 <= got["primary"] <= 20  # of 100 in 30 s, for as long as it has been back
    full = Driver(backend("a", room=50))
    full.pass_time(5, gone)
    full.pass_time(1.0)
    assert [full.lease(session) for session in sessions(50)] == ["a"] * 50  # nobody else could


def test_a_session_that_moved_stays_for_half_a_minute() -> None:
    driver = recovering()
    driver.should_move("s0")
    driver.move("s0")
    driver.end("s0", StreamLost())
    assert driver.speaking("s0") == "fallback"
    driver.answer_all()
    driver.pass_time(29)
    assert not driver.should_move("s0")


# ---- orders


def test_a_drained_endpoint_gets_nothing_new_and_its_streams_move_or_are_recalled() -> None:
    driver = Driver(backend("a"), backend("b"))
    for session in sessions(6):
        driver.speaking(session)
    driver.do(driver.core.drain("a", driver.now, leave_by=driver.now + 30))
    assert (driver.lease("new"), driver.core.capacity(driver.now)) == ("b", 100)
    assert driver.should_move("s0")
    assert driver.move("s0") == "b"
    driver.pass_time(29.9)
    assert driver.recalled == []
    driver.pass_time(0.2)
    assert sorted(driver.recalled) == ["s2", "s4"]
    driver.end("s2", BackendDraining())
    assert (driver.lease("s2"), driver.state("a").last_code) == ("b", None)
    assert driver.of(SessionMoved)[-1] == SessionMoved(session="s2", source="a", target="b", why=Why.RELIEF)
    driver.do(driver.core.undrain("a", driver.now))
    driver.pass_time(1)
    assert driver.lease("newer") == "a"
    assert driver.of(BackendDrained) == [BackendDrained(name="a", leaving=False)]
    assert driver.of(BackendUndrained) == [BackendUndrained(name="a")]


def test_an_unknown_name_is_an_error() -> None:
    driver = Driver(backend("a"))
    with pytest.raises(KeyError):
        driver.core.drain("b", driver.now, leave_by=0.0)


def test_endpoints_come_and_go_while_sessions_speak() -> None:
    old, kept = backend("old"), backend("kept", Tier.FALLBACK)
    driver = Driver(old, kept)
    driver.speaking("s")
    new = backend("new")
    driver.do(driver.core.reconfigure([new, kept], driver.now, leave_by=driver.now + 30))
    assert (driver.at("s"), driver.lease("t")) == ("old", "kept")
    driver.answer_all()
    assert driver.lease("u") == "new"
    assert driver.should_move("s")
    assert driver.move("s") == "new"
    assert [state.name for state in driver.core.state(driver.now).backends] == ["new", "kept"]
    assert [event for event in driver.events if not isinstance(event, SessionMoved | BackendUp)] == [
        BackendDrained(name="old", leaving=True),
        BackendJoined(name="new"),
        BackendLeft(name="old"),
    ]


def test_an_endpoint_under_new_settings_shares_its_room_with_the_streams_it_has_under_the_old() -> None:
    driver = Driver(backend("a", room=4), backend("b", Tier.FALLBACK))
    for session in sessions(3):
        driver.speaking(session)
    kept = driver.core.roster.place("b").backend
    driver.do(driver.core.reconfigure([backend("a", room=4), kept], driver.now, leave_by=driver.now + 30))
    driver.answer_all()
    assert [driver.lease(session) for session in "pq"] == ["a", "b"]
    driver.end("s0")
    assert driver.lease("r") == "a"


def test_an_endpoint_that_is_configured_again_before_its_streams_ended_goes_on() -> None:
    first, second = backend("a"), backend("b")
    driver = Driver(first, second)
    driver.speaking("s")
    driver.do(driver.core.reconfigure([second], driver.now, leave_by=driver.now + 30))
    driver.do(driver.core.reconfigure([first, second], driver.now, leave_by=driver.now + 30))
    driver.answer_all()
    driver.pass_time(40)
    assert (driver.recalled, driver.lease("t"), driver.lease("u")) == ([], "b", "a")


@pytest.mark.parametrize("names", [[], ["a", "b", "a"]])
def test_a_pool_without_backends_or_with_two_of_a_name_is_refused_and_nothing_changes(names: list[str]) -> None:
    wrong = [backend(name) for name in names]
    with pytest.raises(ValueError, match=r"at least one backend|2 backends are named 'a'"):
        Driver(*wrong)
    driver = Driver(backend("z"))
    with pytest.raises(ValueError, match=r"at least one backend|2 backends are named 'a'"):
        driver.core.reconfigure(wrong, driver.now, leave_by=driver.now)
    assert driver.lease("s") == "z"


# ---- seen from outside


def test_capacity_is_that_of_what_works_or_did_a_moment_ago() -> None:
    driver = Driver(backend("a", room=10), backend("b", room=5), backend("c", Tier.FALLBACK, room=7))
    assert driver.core.capacity(driver.now) == 22
    driver.pass_time(9, lambda name: gone(name) if name == "a" else None)
    assert driver.core.capacity(driver.now) == 22
    driver.pass_time(9, lambda name: gone(name) if name == "a" else None)
    assert driver.core.capacity(driver.now) == 12
    driver.pass_time(1)
    assert driver.core.capacity(driver.now) == 22


def test_the_state_says_how_everything_stands() -> None:
    driver = Driver(*primary_and_fallback())
    driver.speaking("s")
    driver.pass_time(20, primary_is_gone)
    driver.lease("t")
    primary, fallback = driver.core.state(driver.now).backends
    assert (primary.name, primary.health, primary.breaker, primary.streams) == ("primary", Health.SUSPECT, OPEN, 1)
    assert primary.last_code == "RIVA_001"
    assert primary.last_code_seconds is not None
    assert primary.last_code_seconds < 2
    assert (fallback.streams, fallback.cap, fallback.max_streams, fallback.last_code) == (1, 100, 100, None)
    assert driver.core.state(driver.now).waiting == 0
    assert driver.core.roster.is_degraded(fallback_backend := driver.core.roster.place("fallback").backend)
    assert fallback_backend.name == "fallback"
