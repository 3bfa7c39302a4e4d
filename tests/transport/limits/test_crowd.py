"""Who has to make way among the connections that have begun nothing."""

from __future__ import annotations

import errno
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.limits import Crowd
from transport.limits.crowd import GRACE, Descriptors

STEP = st.tuples(st.sampled_from(["come", "leave"]), st.sampled_from(["", "a", "b"]), st.booleans(), st.floats(0, 2))


def test_the_oldest_goes_when_there_is_one_too_many() -> None:
    crowd = Crowd[int](most=2)
    assert [crowd.arrived(one, "a", float(one)) for one in (1, 2, 3, 4)] == [None, None, 1, 2]
    assert len(crowd) == 2


def test_an_address_pushes_out_its_own() -> None:
    crowd = Crowd[int](most=10, most_each=2)
    assert [crowd.arrived(one, "a", 10.0 * one) for one in (1, 2)] == [None, None]
    assert [crowd.arrived(one, "b", 10.0 * one) for one in (3, 4, 5)] == [None, None, 3]
    assert crowd.arrived(6, "", 60.0) is None


def test_a_crowd_that_comes_at_once_is_let_in() -> None:
    crowd = Crowd[int](most=2, most_each=1)
    assert [crowd.arrived(one, "a", one * GRACE / 100) for one in range(99)] == [None] * 99
    assert crowd.arrived(99, "a", GRACE) == 0


def test_without_file_descriptors_somebody_goes_however_new() -> None:
    crowd = Crowd[int]()
    assert crowd.arrived(1, "a", 0.0, is_full=True) == 1
    assert crowd.arrived(2, "a", 0.0) is None
    assert crowd.arrived(3, "a", 0.0, is_full=True) == 2


def test_who_has_begun_a_session_is_out_of_it() -> None:
    crowd = Crowd[int](most=1)
    crowd.arrived(1, "a", 0.0)
    crowd.left(1)
    crowd.left(1)
    assert crowd.arrived(2, "a", 10.0) is None


@given(st.lists(STEP, max_size=80))
def test_it_holds_no_more_than_it_may_of_those_who_had_their_time(
    steps: list[tuple[str, str, bool, float]],
) -> None:
    crowd, now, since = Crowd[int](most=4, most_each=2), 0.0, {}
    for number, (step, address, is_full, later) in enumerate(steps):
        now += later
        if step == "come":
            since[number] = now
            if (gone := crowd.arrived(number, address, now, is_full=is_full)) is not None:
                assert is_full or now - since[gone] >= GRACE
                del since[gone]
        elif since:
            left = next(iter(since))
            del since[left]
            crowd.left(left)
        assert len(crowd) == len(since)
        assert sum(now - each >= GRACE for each in since.values()) <= 4 or len(since) > 4


@pytest.mark.parametrize(("limit", "first"), [(256, 240), (1024, 960), (20_000, 19_744)])
def test_a_part_of_the_file_descriptors_is_kept(limit: int, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert [Descriptors(lambda: count).are_scarce() for count in (first - 1, first)] == [False, True]  # noqa: B023


def test_descriptors_run_out_between_two_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 256))
    counts = iter([238, 230])
    descriptors = Descriptors(lambda: next(counts))
    assert [descriptors.are_scarce() for _ in range(6)] == [False, False, True, True, True, False]


def test_who_comes_after_a_crowd_that_has_gone_finds_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 256))
    descriptors = Descriptors(lambda: 240)
    assert descriptors.are_scarce()
    for _ in range(3):
        descriptors.left()
    assert [descriptors.are_scarce() for _ in range(3)] == [False, False, True]


def test_a_system_that_has_none_left_to_count_with_has_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 256))

    def fail() -> int:
        raise OSError(errno.EMFILE, "too many open files")

    assert Descriptors(fail).are_scarce()
