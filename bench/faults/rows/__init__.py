"""The fault matrix: which faults there are, and how fast they must be got over. A case is a function of its stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from bench.faults.rows import backends, clients, environment, inside, statuses
from bench.faults.stage import Stage
from bench.riva.faults import EmptyFinals, OverlapFinals, ReorderFinals, RepeatFinals, UtteranceTimes


class Case(msgspec.Struct, frozen=True):
    """One line of the matrix.

    Attributes:
        name: the number of its row, and a letter if the row has several.
        play: acts it out.
        recovery, detection: seconds that 99 % of the sessions may take.
    """

    name: str
    fault: str
    play: Callable[[Stage], Awaitable[None]]
    recovery: float | None = None
    detection: float | None = None

    @property
    def row(self) -> str:
        return self.name.rstrip("abcdefgh")


CASES = (
    Case("1", "backend killed (SIGKILL)", backends.killed, recovery=1.5),
    Case("2", "backend hangs (SIGSTOP)", backends.stopped, recovery=3.5),
    Case("3", "all backends die, and return in 20 s", backends.all_gone, recovery=3.0),
    Case("4a", "black hole before the backend", backends.blackholed, detection=2.0),
    Case("4b", "half-open connection to the backend", backends.half_open, detection=3.0),
    Case("5", "GOAWAY every 10 s", backends.goaways),
    Case("6", "each gRPC status at open, mid, after a final", statuses.every_status),
    Case("7", "quota of the backend exhausted", backends.exhausted),
    Case("8", "backend flaps: half of its streams fail", backends.flapping),
    Case("9a", "finals out of order", partial(backends.tampered, fault=ReorderFinals())),
    Case("9b", "finals repeated", partial(backends.tampered, fault=RepeatFinals())),
    Case("9c", "finals that are empty", partial(backends.tampered, fault=EmptyFinals())),
    Case("9d", "finals that overlap", partial(backends.tampered, fault=OverlapFinals(words=2))),
    Case("9e", "word times that restart with each utterance", partial(backends.tampered, fault=UtteranceTimes())),
    Case("10", "backend ten times too slow", backends.slow),
    Case("13", "crash between settling words and sending them", inside.commit_crashes),
    Case("16a", "client reads 1 KB/s", clients.slow_readers),
    Case("16b", "client reads nothing any more", clients.non_readers),
    Case("17", "session actors crash after 1 % of messages", inside.actor_crashes),
    Case("18", "restart storm: actors crash at every message", inside.storm),
    Case("25", "event loop blocked for 2 s", inside.blocked),
    Case("28a", "clock steps an hour ahead, then two back", environment.clock_steps),
    Case("28b", "backend's name does not resolve", environment.no_such_name),
    Case("28c", "backend's certificate has expired", environment.expired_certificate),
)
