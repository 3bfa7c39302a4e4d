"""What each user and address holds: sessions, handshakes and audio, and that idle ones are forgotten."""

from __future__ import annotations

from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from transport.limits import Accounts, Key
from transport.limits.accounts import Allowance, Excess

ANN, HERE = Key("user", "ann"), Key("address", "192.0.2.1")
NOBODY = Key("user", "")


def accounts(
    user: Allowance | None = None, address: Allowance | None = None, *, living: set[str] | None = None
) -> Accounts:
    lives = set[str]() if living is None else living
    made = Accounts(lives.__contains__, lambda: 0.0)
    made.adopt(user or Allowance(), address or Allowance(), 0.0)
    return made


def test_sessions_past_the_limit_are_an_excess_until_one_ends() -> None:
    house = accounts(Allowance(sessions=2))
    with ExitStack() as stack:
        for number in (1, 2):
            assert house.excess([ANN, HERE], f"s{number}", 0.0) is None
            stack.enter_context(house.present([ANN, HERE], f"s{number}", 0.0))
        assert house.excess([ANN, HERE], "s3", 0.0) == Excess(ANN, "sessions")
        assert house.excess([Key("user", "bob"), HERE], "s3", 0.0) is None
        assert house.usage() == {ANN: 2}
    assert house.excess([ANN, HERE], "s3", 0.0) is None


def test_a_session_that_waits_for_its_client_counts_and_its_client_may_come_back() -> None:
    living = {"s1"}
    house = accounts(Allowance(sessions=1), living=living)
    with house.present([ANN], "s1", 0.0):
        pass
    assert house.excess([ANN], "s2", 0.0) == Excess(ANN, "sessions")
    assert house.excess([ANN], "s1", 0.0) is None
    living.clear()
    assert house.excess([ANN], "s2", 0.0) is None


def test_sessions_in_other_processes_count_as_if_they_were_here() -> None:
    one, other = accounts(Allowance(sessions=2)), accounts(Allowance(sessions=2))
    with other.present([ANN], "s1", 0.0), one.present([ANN], "s2", 0.0):
        assert one.excess([ANN], "s3", 0.0) is None
        one.others = other.usage()
        assert one.excess([ANN], "s3", 0.0) == Excess(ANN, "sessions")


def test_handshakes_beyond_the_burst_are_told_how_long_to_wait() -> None:
    house = accounts(address=Allowance(handshakes=2.0, burst=3))
    assert [house.excess([NOBODY, HERE], "", 0.0) for _ in range(4)] == [None] * 3 + [Excess(HERE, "rate", 0.5)]
    assert house.excess([NOBODY, HERE], "", 0.5) is None


def test_audio_is_paced_by_all_sessions_of_an_account_together() -> None:
    house = accounts(Allowance(audio=2.0, credit=10.0))
    with house.present([ANN], "s1", 0.0) as first, house.present([ANN], "s2", 0.0) as second:
        assert first is not None
        assert second is not None
        assert (first.spend(6.0), second.spend(4.0)) == (0.0, 0.0)
        assert (first.spend(1.0), second.spend(1.0)) == (0.5, 1.0)


def test_nobody_is_paced_or_remembered_where_there_is_no_limit() -> None:
    house = accounts()
    assert house.excess([ANN, HERE], "s1", 0.0) is None
    with house.present([ANN, HERE], "s1", 0.0) as pace:
        assert (pace, len(house)) == (None, 0)


def test_limits_that_change_hold_for_who_is_there() -> None:
    house = accounts(Allowance(sessions=1))
    with house.present([ANN], "s1", 0.0):
        house.adopt(Allowance(sessions=2), Allowance(), 1.0)
        assert house.excess([ANN], "s2", 1.0) is None
        house.adopt(Allowance(sessions=1), Allowance(), 2.0)
        assert house.excess([ANN], "s2", 2.0) == Excess(ANN, "sessions")


def test_idle_accounts_are_forgotten_so_memory_is_bounded_by_the_rate() -> None:
    house = accounts(address=Allowance(handshakes=1.0, burst=2, sessions=1))
    with house.present([HERE], "s1", 0.0):
        for number in range(20_000):
            house.excess([Key("address", f"10.{number // 250}.{number % 250}.1")], "", number / 500)
        assert len(house) <= 2 * 1024 + 1
        assert house.usage() == {HERE: 1}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["come", "go", "die"])), max_size=60))
def test_an_account_never_holds_more_than_its_limit(steps: list[tuple[str, str]]) -> None:
    living: set[str] = set()
    house = accounts(Allowance(sessions=2), living=living)
    connected: dict[str, ExitStack] = {}
    for session, step in steps:
        if step == "come" and session not in connected and house.excess([ANN], session, 0.0) is None:
            living.add(session)
            connected[session] = ExitStack()
            connected[session].enter_context(house.present([ANN], session, 0.0))
        elif step == "go" and session in connected:
            connected.pop(session).close()
        elif step == "die" and session not in connected:
            living.discard(session)
        assert house.usage().get(ANN, 0) == len(living) <= 2
