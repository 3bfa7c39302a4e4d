"""How to start, restart and stop a child; how a supervisor treats its children. Frozen data, checked when
made."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType
from typing import Final

from supervisor.errors import InvalidSpec


class Restart(Enum):
    """Which exits of a child lead to a new incarnation."""

    PERMANENT = "permanent"  # every one
    TRANSIENT = "transient"  # only abnormal ones; after others the spec stays, for restart_child
    TEMPORARY = "temporary"  # none; the spec goes with the child


class Strategy(Enum):
    """Which children are restarted together when one fails."""

    ONE_FOR_ONE = "one_for_one"  # only that one
    REST_FOR_ONE = "rest_for_one"  # that one and all started after it
    ONE_FOR_ALL = "one_for_all"  # all
    DYNAMIC = "simple_one_for_one"  # only that one; children come and go by start_child, in no order


class AutoShutdown(Enum):
    """Whether a supervisor ends when its significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class BrutalKill(Enum):
    """The type of `BRUTAL_KILL`: the child is cancelled without being asked first."""

    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL: Final = BrutalKill.BRUTAL_KILL
INFINITY: Final = math.inf


@dataclass(frozen=True, slots=True)
class Intensity:
    """The restart budget: at most `restarts` in any `seconds`, both edges inside. One more, and it gives up.

    The defaults are OTP's. OTP counts whole seconds, so its window is up to one second longer than this one.
    """

    restarts: int = 1
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if not isinstance(self.restarts, int) or self.restarts < 0:
            raise InvalidSpec("invalid_intensity", f"restarts must be 0 or more, not {self.restarts!r}")
        if not isinstance(self.seconds, int | float) or not self.seconds > 0:
            raise InvalidSpec("invalid_period", f"seconds must be above 0, not {self.seconds!r}")


@dataclass(frozen=True, slots=True)
class Child:
    """One child of a supervisor.

    Args:
        id: unique among its siblings.
        start: an async callable, the child's whole life. If it has a parameter `task_status`, it gets its
            `Incarnation` there and has started once it calls `task_status.started(value)`; without one it has
            started at once. Returning is a normal exit; `Shutdown` an orderly one; `Ignore`, raised
            before it has started, says there is nothing to do; every other exception is an abnormal exit.
        restart: which exits lead to a new incarnation.
        shutdown: seconds between asking the child to stop and cancelling it; `INFINITY` never cancels,
            `BRUTAL_KILL` cancels without asking.
        significant: its end counts for the supervisor's `auto_shutdown`.
        budget: how often this child alone may be restarted. Beyond it, it is not restarted again (`BudgetSpent`)
            and its siblings go on without it, where its supervisor's `intensity` would end them all. Each restart
            counts in both, so the supervisor's must be the wider one.

    Raises:
        InvalidSpec: with what is wrong in one line.
    """

    id: str
    start: Callable[..., Awaitable[object]]
    restart: Restart = field(default=Restart.PERMANENT, kw_only=True)
    shutdown: float | BrutalKill = field(default=5.0, kw_only=True)  # OTP's default for a worker
    significant: bool = field(default=False, kw_only=True)
    budget: Intensity | None = field(default=None, kw_only=True)
    takes_status: bool = field(init=False, repr=False, compare=False)

    @property
    def supervises(self) -> bool:
        """Whether this child is a supervisor (made by `Supervisor.child`)."""
        return bool(getattr(self.start, "supervises", False))

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "takes_status", _takes_status(self.start))

    def _check(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InvalidSpec("missing_id", f"a child's id must be a text that is not empty, not {self.id!r}")
        if not callable(self.start):
            raise InvalidSpec("missing_start", f"start of child {self.id!r} must be an async callable")
        if not isinstance(self.restart, Restart):
            raise InvalidSpec("invalid_restart_type", f"restart of {self.id!r} is no Restart: {self.restart!r}")
        if not _is_shutdown(self.shutdown):
            raise InvalidSpec(
                "invalid_shutdown",
                f"shutdown of {self.id!r} must be seconds, INFINITY or BRUTAL_KILL, not {self.shutdown!r}",
            )
        if not isinstance(self.significant, bool):
            raise InvalidSpec("invalid_significant", f"significant of {self.id!r} must be a bool")
        if self.budget is not None and (not isinstance(self.budget, Intensity) or self.restart is Restart.TEMPORARY):
            raise InvalidSpec("invalid_intensity", f"budget of {self.id!r} is an Intensity, and not for temporary ones")
        if self.significant and self.restart is Restart.PERMANENT:
            raise InvalidSpec("bad_combination", f"{self.id!r} is permanent, so it cannot be significant")


def _is_shutdown(value: object) -> bool:
    if isinstance(value, BrutalKill):
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _takes_status(start: Callable[..., Awaitable[object]]) -> bool:
    code = getattr(start, "__code__", None) or getattr(getattr(start, "__func__", None), "__code__", None)
    if isinstance(code, CodeType) and not hasattr(start, "__wrapped__"):  # a plain function or method: 50 times faster
        return "task_status" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    try:
        parameters = inspect.signature(start).parameters
    except (TypeError, ValueError):  # a callable written in C that does not say what it takes
        return False
    return "task_status" in parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one supervisor treats its children; the pure part of what `Supervisor` is given."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity = field(default_factory=Intensity)
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    max_children: int | None = None
    one_at_a_time: bool = False

    def check(self, children: tuple[Child, ...]) -> None:
        """Raise InvalidSpec if these options and children do not fit together."""
        if not isinstance(self.strategy, Strategy):
            raise InvalidSpec("invalid_strategy", f"strategy is no Strategy: {self.strategy!r}")
        if not isinstance(self.intensity, Intensity):
            raise InvalidSpec("invalid_intensity", f"intensity is no Intensity: {self.intensity!r}")
        if not isinstance(self.auto_shutdown, AutoShutdown):
            raise InvalidSpec("invalid_auto_shutdown", f"no AutoShutdown: {self.auto_shutdown!r}")
        dynamic = self.strategy is Strategy.DYNAMIC
        if dynamic and children:
            raise InvalidSpec("bad_start_spec", "a dynamic supervisor begins empty: use start_child")
        if self.max_children is not None and not (dynamic and self.max_children >= 0):
            raise InvalidSpec("invalid_max_children", "max_children is for dynamic supervisors, 0 or more")
        if self.one_at_a_time and not dynamic:
            raise InvalidSpec("bad_combination", "one_at_a_time is for dynamic supervisors; others always are")
        seen: set[str] = set()
        for child in children:
            self.check_child(child)
            if child.id in seen:
                raise InvalidSpec("duplicate_child_name", f"two children have the id {child.id!r}")
            seen.add(child.id)

    def check_child(self, child: Child) -> None:
        """Raise InvalidSpec if this child cannot be under these options."""
        if not isinstance(child, Child):
            raise InvalidSpec("invalid_child_spec", f"a Child is wanted, not {child!r}")
        if child.significant and self.auto_shutdown is AutoShutdown.NEVER:
            raise InvalidSpec(
                "bad_combination", f"{child.id!r} is significant, but its supervisor's auto_shutdown is NEVER"
            )
