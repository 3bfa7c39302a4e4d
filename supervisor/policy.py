"""What to do about an error, by its code: the table a supervisor asks when a child ends abnormally."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from supervisor.errors import InvalidSpec


class Directive(Enum):
    """What an error leads to. Restarts of every kind count in the supervisor's intensity window."""

    CONTINUE = "continue"  # reported and survived; where the child has ended all the same, as a normal exit
    RESTART = "restart"  # as the restart type says, at once: OTP's behaviour
    BACKOFF = "backoff"  # the same after a growing, jittered pause
    RATE_LIMIT = "rate_limit"  # the same after the pause the error names (`retry_after`), else the backoff's
    STOP = "stop"  # not restarted, whatever the restart type
    ESCALATE = "escalate"  # the supervisor itself ends, abnormally, with this error


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that grow from `initial` by `factor` up to `maximum`, with full jitter.

    The nth pause is uniform in (0, min(maximum, initial * factor**n)], so that a crowd that failed together does
    not come back together. The count begins anew once a child has lived for `reset_after` seconds; its first `at_once`
    restarts have no pause.
    """

    initial: float = 0.2
    factor: float = 2.0
    maximum: float = 5.0
    reset_after: float = 30.0
    at_once: int = 0

    def __post_init__(self) -> None:
        if not (
            self.initial > 0
            and self.factor >= 1
            and self.maximum >= self.initial
            and self.reset_after >= 0
            and self.at_once >= 0
        ):
            raise InvalidSpec("invalid_backoff", f"a backoff grows from above 0 to its maximum: {self!r}")

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """The pause before restart number `attempt` (from 0); `random` gives numbers in [0, 1)."""
        return self.bound(attempt) * (1.0 - random())

    def bound(self, attempt: int) -> float:
        """The longest pause that `delay` can give for this attempt."""
        if attempt < self.at_once:
            return 0.0
        try:
            return min(self.maximum, self.initial * self.factor ** (attempt - self.at_once))
        except OverflowError:  # thousands of attempts: far beyond any maximum but infinity
            return self.maximum


class Gate(Protocol):
    """What a policy needs of a breaker: see `supervisor.breaker.Breaker`."""

    name: str
    proven_after: float

    def ask(self, who: object, now: float) -> float: ...

    def is_probe(self, who: object) -> bool: ...

    def failed(self, who: object, now: float) -> float | None: ...

    def proven(self, who: object) -> bool: ...

    def release(self, who: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """A directive, and the pauses it makes; without a backoff BACKOFF and RATE_LIMIT use the default one.

    With a `breaker`, errors of this kind count there, and the restarts they lead to wait until it lets them try.
    """

    directive: Directive
    backoff: Backoff | None = None
    breaker: Gate | None = None

    def __post_init__(self) -> None:
        waits = self.directive in (Directive.BACKOFF, Directive.RATE_LIMIT)
        if self.backoff is None and waits:
            object.__setattr__(self, "backoff", Backoff())
        elif self.backoff is not None and not waits:
            raise InvalidSpec("bad_combination", f"{self.directive.name} makes no pause: it takes no backoff")
        if self.breaker is not None and not (waits or self.directive is Directive.RESTART):
            raise InvalidSpec("bad_combination", f"{self.directive.name} restarts nothing: it takes no breaker")

    def delay(self, error: BaseException | None, attempt: int, random: Callable[[], float]) -> float:
        """Seconds to wait before the restart that `error` leads to."""
        if self.backoff is None:
            return 0.0
        hint = _said(error, "retry_after")
        if self.directive is Directive.RATE_LIMIT and isinstance(hint, int | float) and math.isfinite(hint):
            return max(0.0, float(hint))
        return self.backoff.delay(attempt, random)


RESTART = Policy(Directive.RESTART)


def _said(error: BaseException | None, attribute: str) -> object:
    """What an error says of itself; nothing, if even that fails: one more error must not hide the first."""
    try:
        return getattr(error, attribute, None)
    except Exception:
        return None


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """Policies by an error's `code` (a text such as `RIVA_003`), then by its family (`RIVA`), then the
    default."""

    policies: Mapping[str, Policy] = field(default_factory=dict[str, Policy])
    default: Policy = RESTART

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", MappingProxyType(dict(self.policies)))

    def lookup(self, error: BaseException | None) -> Policy:
        code = _said(error, "code")
        if not isinstance(code, str):
            return self.default
        found = self.policies.get(code) or self.policies.get(code.partition("_")[0])
        return found or self.default
