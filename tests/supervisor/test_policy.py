from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidSpec
from supervisor.policy import Backoff, Directive, Policy, PolicyTable


class Coded(Exception):
    def __init__(self, code: str, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after


class Mute(Exception):
    """Fails when it is asked what it is."""

    @property
    def code(self) -> str:
        raise LookupError

    @property
    def retry_after(self) -> float:
        raise LookupError


STOP, ESCALATE = Policy(Directive.STOP), Policy(Directive.ESCALATE)
LIMIT = Policy(Directive.RATE_LIMIT, Backoff(initial=1.0))
TABLE = PolicyTable({"RIVA_003": LIMIT, "RIVA": STOP}, default=ESCALATE)


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (Coded("RIVA_003"), LIMIT),
        (Coded("RIVA_001"), STOP),
        (Coded("AUDIO_001"), ESCALATE),
        (ValueError(), ESCALATE),
        (Mute(), ESCALATE),
        (None, ESCALATE),
    ],
)
def test_a_policy_is_looked_up_by_code_then_family_then_default(error: Exception | None, policy: Policy) -> None:
    assert TABLE.lookup(error) == policy


def test_without_a_table_every_error_restarts_at_once() -> None:
    assert PolicyTable().lookup(ValueError()) == Policy(Directive.RESTART)


@pytest.mark.parametrize(
    ("policy", "retry_after", "delay"),
    [
        (LIMIT, 7.5, 7.5),
        (LIMIT, None, 0.5),
        (LIMIT, -1.0, 0.0),
        (LIMIT, float("inf"), 0.5),
        (Policy(Directive.BACKOFF, Backoff(initial=1.0)), 7.5, 0.5),
        (Policy(Directive.RESTART), 7.5, 0.0),
    ],
)
def test_only_a_rate_limit_honours_the_hint_of_the_error(
    policy: Policy, retry_after: float | None, delay: float
) -> None:
    assert policy.delay(Coded("RIVA_003", retry_after), 0, lambda: 0.5) == delay


def test_backoff_doubles_up_to_its_maximum() -> None:
    backoff = Backoff(initial=0.2, factor=2.0, maximum=5.0)
    assert [backoff.bound(n) for n in (0, 1, 2, 3, 4, 5, 6, 10**6)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_the_first_restarts_may_come_without_a_pause() -> None:
    backoff = Backoff(initial=0.2, factor=2.0, maximum=5.0, at_once=2)
    assert [backoff.delay(n, lambda: 0.0) for n in (0, 1, 2, 3, 4, 10**6)] == [0.0, 0.0, 0.2, 0.4, 0.8, 5.0]


@given(attempt=st.integers(0, 100), random=st.floats(0, 1, exclude_max=True))
def test_full_jitter_lies_above_zero_and_up_to_the_bound(attempt: int, random: float) -> None:
    backoff = Backoff()
    assert 0 < backoff.delay(attempt, lambda: random) <= backoff.bound(attempt)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(initial=0.0),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(at_once=-1),
        lambda: Backoff(initial=2.0, maximum=1.0),
        lambda: Policy(Directive.STOP, Backoff()),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidSpec):
        make()


def test_an_error_that_fails_to_say_when_to_come_back_says_nothing() -> None:
    assert LIMIT.delay(Mute(), 0, lambda: 0.0) == 1.0
