"""The fault matrix: which faults there are, and how fast they must be got over. A case is a function of its stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from bench.balancers import Nginx
from bench.faults.rows import (
    alerts,
    backends,
    clients,
    environment,
    hosts,
    inside,
    load,
    reconnects,
    restarts,
    settings,
    statuses,
    store,
    workers,
)
from bench.faults.stage import Stage
from bench.riva.faults import EmptyFinals, OverlapFinals, ReorderFinals, RepeatFinals, UtteranceTimes


class Case(msgspec.Struct, frozen=True):
    """One line of the matrix.

    Attributes:
        name: the number of its row, and a letter if the row has several.
        play: acts it out.
        recovery, detection: seconds that 99 % of the sessions may take.
        allows_gaps: words may be lost if the client is told, and only then.
    """

    name: str
    fault: str
    play: Callable[[Stage], Awaitable[None]]
    recovery: float | None = None
    detection: float | None = None
    allows_gaps: bool = False

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
    Case("11a", "client's network away for 1 s", partial(reconnects.away, seconds=1.0)),
    Case("11b", "client's network away for 10 s", partial(reconnects.away, seconds=10.0)),
    Case("11c", "client's network away for 40 s", partial(reconnects.away, seconds=40.0)),
    Case("12a", "client away for longer than it keeps audio", reconnects.away_too_long, allows_gaps=True),
    Case("12b", "client away for longer than its session is kept", reconnects.forgotten),
    Case("13a", "crash between committing words and sending them", inside.commit_crashes),
    Case("13b", "server dies between committing words and sending", restarts.dies_having_committed),
    Case("14a", "connection cut before `ready` arrives", partial(reconnects.cut_at_ready, arrives=False)),
    Case("14b", "connection cut when `ready` has arrived", partial(reconnects.cut_at_ready, arrives=True)),
    Case("15a", "another client resumes a session in use", partial(reconnects.twins, cut=False)),
    Case("15b", "two clients resume the same session at once", partial(reconnects.twins, cut=True)),
    Case("16a", "client reads 1 KB/s", clients.slow_readers),
    Case("16b", "client reads nothing any more", clients.non_readers),
    Case("17", "session actors crash after 1 % of messages", inside.actor_crashes),
    Case("18", "restart storm: actors crash at every message", inside.storm),
    Case("19", "worker hangs (SIGSTOP)", workers.stopped),
    Case("20a", "server killed (SIGKILL), started again at once", restarts.killed),
    Case("20b", "worker killed (SIGKILL)", workers.killed),
    Case("21a", "server told to stop (SIGTERM), started again", restarts.stopped),
    Case("21b", "workers replaced one after the other (SIGUSR2)", workers.replaced),
    Case("22a", "host lost: its cable is pulled", hosts.lost, recovery=hosts.LOST),
    Case("22b", "both hosts restarted, one after the other", hosts.restarted),
    Case("22c", "the same, behind nginx", partial(hosts.restarted, balancer=Nginx)),
    Case("22d", "host cut off from the journal and deposed", hosts.deposed),
    Case("22e", "host cut off from its clients only", hosts.unreachable),
    Case("22f", "host lost, and nginx notices nothing", partial(hosts.lost, balancer=Nginx), recovery=hosts.LOST),
    Case("23a", "journal locked by another process for 5 s", store.locked),
    Case("23b", "journal cannot be written for 5 s", store.failing),
    Case("23c", "journal's disk full for 5 s", store.full),
    Case("25", "event loop blocked for 2 s", inside.blocked),
    Case("26", "three times as many clients as there is room for", load.overload),
    Case("27a", "2,000 attackers: slow, silent, huge, garbled", load.attacked),
    Case("27b", "the same, with few file descriptors", partial(load.attacked, few_descriptors=True)),
    Case("28a", "clock steps an hour ahead, then two back", environment.clock_steps),
    Case("28b", "backend's name does not resolve", environment.no_such_name),
    Case("28c", "backend's certificate has expired", environment.expired_certificate),
    Case("29", "alert sinks dead and silent", alerts.deaf_sinks, recovery=1.5),
    Case("30a", "settings reloaded from files that cannot be used", settings.reloaded),
    Case("30b", "certificate replaced while clients speak", settings.renewed),
)
