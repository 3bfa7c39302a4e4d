"""Which of a plan's faults happen, and when. Pure: events and the time go in, faults come out."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from bench.riva.faults import Action, At, Down, Fault, GoAway, NotReady, Stall, Status
from bench.riva.plan import Plan


class Script:
    """A plan as it is carried out by one server.

    Args:
        started: when the server was; like every time here, seconds of one steady clock.

    Attributes:
        fired: how often each of the plan's faults has happened, in their order.
    """

    def __init__(self, plan: Plan, started: float) -> None:
        self.fired = [0] * len(plan.faults)
        self._plan = plan
        self._started = started
        self._streams = 0
        self._questions = 0
        self._server = [
            Due(self, index, fault, started)
            for index, fault in enumerate(plan.faults)
            if self._is_servers_own(fault) and not isinstance(fault, NotReady)
        ]

    def stream(self, now: float, *, served: int) -> StreamScript:
        """What will happen to the stream that is opened now, while so many others are being served."""
        self._streams += 1
        return StreamScript([
            Due(self, index, fault, now)
            for index, fault in enumerate(self._plan.faults)
            if not self._is_servers_own(fault)
            and fault.moment != "preflight"
            and self._selects(index, fault, self._streams)
            and (fault.over is None or served >= fault.over)
        ])  # fmt: skip

    def question(self, now: float) -> Status | Stall | None:
        """What befalls the question that is asked now."""
        self._questions += 1
        for index, fault in enumerate(self._plan.faults):
            if (
                isinstance(fault, Status | Stall)
                and fault.moment == "preflight"
                and self._selects(index, fault, self._questions)
                and self.fire(index, now)
            ):
                return fault
        return None

    def is_ready(self, now: float) -> bool:
        """Whether there is a model."""
        return not any(isinstance(fault, NotReady) and self._is_on(fault, now) for fault in self._plan.faults)

    def server_faults(self, now: float) -> Sequence[Action]:
        """What happens to the server as a whole at this time."""
        return [due.fault for due in self._server if due.strikes(now)]

    def next_server_fault(self) -> float:
        """When to ask for them; infinite if nothing is to come."""
        return min((due.time for due in self._server), default=math.inf)

    def at(self, seconds: float) -> float:
        """The time so many seconds after the start."""
        return self._started + seconds

    def fire(self, index: int, now: float) -> bool:
        """Whether a fault whose moment has come may happen; it counts as having happened then."""
        fault = self._plan.faults[index]
        if not self._is_on(fault, now) or (fault.times is not None and self.fired[index] >= fault.times):
            return False
        self.fired[index] += 1
        return True

    def _is_on(self, fault: Fault, now: float) -> bool:
        since = now - self.at(fault.since)
        if since < 0 or (fault.until is not None and now >= self.at(fault.until)):
            return False
        return fault.cycle is None or since % (fault.cycle.up + fault.cycle.down) >= fault.cycle.up

    def _selects(self, index: int, fault: Fault, number: int) -> bool:
        if number % fault.every or (fault.streams and number not in fault.streams):
            return False
        return random.Random(f"{self._plan.seed}/{index}/{number}").random() < fault.chance

    def _is_servers_own(self, fault: Action) -> bool:
        return isinstance(fault, NotReady) or (isinstance(fault, GoAway | Down) and fault.moment == "server_time")


class StreamScript:
    """What will happen to one stream."""

    def __init__(self, dues: Iterable[Due]) -> None:
        self._dues = list(dues)

    def strike(self, now: float, *, position: float = 0.0, finals: int = 0, idle: float = 0.0) -> Sequence[Action]:
        """What happens now.

        Args:
            position: seconds of audio that were heard.
            finals: how many were sent.
            idle: seconds without audio that have just ended.
        """
        if not self._dues:
            return ()
        struck = [due for due in self._dues if due.strikes(now, position, finals, idle)]
        self._dues = [due for due in self._dues if not due.is_over]
        return [due.fault for due in struck]

    @property
    def next_time(self) -> float:
        """When to ask though nothing is heard; infinite if never."""
        return min((due.time for due in self._dues), default=math.inf)


class Due:
    """A fault that waits for its moment."""

    def __init__(self, script: Script, index: int, fault: Action, opened: float) -> None:
        self.fault = fault
        self.time = math.inf  # when, if it is a time that it waits for
        self.is_over = False
        self._script = script
        self._index = index
        if isinstance(fault.at, At):
            self._set_time(fault.at, opened)

    def strikes(self, now: float, position: float = 0.0, finals: int = 0, idle: float = 0.0) -> bool:
        """Whether it happens now."""
        if self.is_over or not self._has_come(now, position, finals, idle):
            return False
        repeat = self.fault.at.repeat if isinstance(self.fault.at, At) else None
        if repeat is None:
            self.is_over, self.time = True, math.inf
        else:
            self.time += repeat * (1 + (now - self.time) // repeat)
        return self._script.fire(self._index, now)

    def _has_come(self, now: float, position: float, finals: int, idle: float) -> bool:
        at = self.fault.at
        if isinstance(at, str):
            return True
        if self.time < math.inf:
            return now >= self.time
        return (
            (at.position is not None and position >= at.position)
            or (at.after_final is not None and finals >= at.after_final)
            or (at.idle is not None and idle >= at.idle)
        )

    def _set_time(self, at: At, opened: float) -> None:
        if at.time is not None:
            self.time = opened + at.time
        elif at.server_time is not None:
            self.time = self._script.at(at.server_time)
            if at.repeat is not None and self.time < opened:
                self.time += at.repeat * math.ceil((opened - self.time) / at.repeat)
            self.is_over = self.time < opened
            if self.is_over:
                self.time = math.inf
