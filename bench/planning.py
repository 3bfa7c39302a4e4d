"""How many servers so many sessions take, and what happens when a part of them is lost. Pure: no clock, no I/O.

The storm is simulated client by client. Each notices, draws its pauses as the real client does, comes to the node that
its id hashes to among those that are left, and takes its place in two queues: of the node, which takes up so many
connections in a second, and of the journal, which hands one session over after the other. Who meets a full node is
tried at others by the balancer, as by the file that is shipped, and then told when to come again, by the server's own
rule. Who waits for longer than the real client does gives up and begins anew, and what was done in vain was done all
the same: so storms feed themselves.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from enum import IntEnum, auto

import msgspec

from actors.speech.audience import RENEW_SECONDS
from actors.speech.journal.journal import BUSY_RETRY, MOST_WAITING
from transport.client.backoff import full_jitter
from transport.client.core import MARGIN_SECONDS, READY_SECONDS
from transport.client.dialling import OPEN_SECONDS
from transport.limits.returns import ReturnTimes

NODES_TRIED = 4  # in one attempt: the first, and as many retries as deploy/haproxy/haproxy.cfg has
KBITS = 2 * 16 * 16  # of 16-bit samples at 16 kHz in a second, from the client and on to Riva


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a node carries and what a database takes.

    Attributes:
        cores: of a node.
        places: sessions at the same time that it admits for each of them.
        fill: part of the places that is to be taken when a zone is missing; the rest is for a hash's unevenness.
        resumes: sessions that come back in a second for which a core has time.
        session_mib: memory of a session, its audio included; core_mib: of a core's process without any.
        finals: of a session in a second.
        writes: operations that a database commits in a second; claims: sessions that it hands over.
        spare: part of a database's writes that is left free for storms and its own work.
    """

    cores: int
    places: int
    fill: float
    resumes: float
    session_mib: float
    core_mib: float
    finals: float
    writes: float
    claims: float
    spare: float


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions take; the nodes suffice if any one zone is missing. Each database has a part of the sessions."""

    sessions: int
    nodes: int
    cores: int
    node_gib: float
    riva_streams: int
    gbits: float
    writes: float
    databases: int


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """How those come back who were on the zone that was lost. Times are seconds since the loss.

    Attributes:
        clients: how many they are; back: how many had their session again.
        half, most, all: when half of these, 99 % and all were back.
        peak: most attempts in a second, at all nodes together.
        attempts: in all; gave_up: of these, how many ended because a queue was too long.
        refused: attempts that were answered with a time to come again.
        words: lost, because a client keeps only so much audio, or did not come back in time.
    """

    clients: int
    back: int
    half: float
    most: float
    all: float
    peak: int
    attempts: int
    gave_up: int
    refused: int
    words: float


class Away(msgspec.Struct, frozen=True, kw_only=True):
    """What clients do while they are away.

    Attributes:
        noticed: seconds after which they know of the loss, from and to, evenly spread.
        keep: seconds of audio that they keep; window: … that their sessions are kept.
        words: that somebody says in a second.
    """

    noticed: tuple[float, float]
    keep: float = 60.0
    window: float = 60.0
    words: float = 2.5


def needs(sessions: int, zones: int, costs: Costs) -> Needs:
    """What so many sessions take, if any of the zones may be lost; with one zone, none may."""
    left = max(1, zones - 1)
    nodes = zones * math.ceil(sessions / (left * costs.fill * costs.places * costs.cores))
    writes = sessions * (costs.finals + 1 / RENEW_SECONDS)
    return Needs(
        sessions=sessions,
        nodes=nodes,
        cores=nodes * costs.cores,
        node_gib=costs.cores * (costs.core_mib + costs.places * costs.session_mib) / 1024,
        riva_streams=sessions,
        gbits=sessions * KBITS / 1e6,
        writes=writes,
        databases=math.ceil(writes / (costs.writes * (1 - costs.spare))),
    )


def storm(sessions: int, zones: int, costs: Costs, away: Away, seed: int) -> Storm:
    """What happens when one of several zones is lost with everybody on it."""
    need = needs(sessions, zones, costs)
    return _Simulation(
        clients=sessions // zones,
        settled=sessions - sessions // zones,
        nodes=need.nodes - need.nodes // zones,
        databases=need.databases,
        costs=costs,
        away=away,
        chance=random.Random(seed),
    ).run()


class _Step(IntEnum):
    DIAL = auto()  # the client begins an attempt
    ASK = auto()  # its connection is there, and its server asks the journal
    READY = auto()  # its session is there


class _Simulation:
    def __init__(
        self,
        *,
        clients: int,
        settled: int,
        nodes: int,
        databases: int,
        costs: Costs,
        away: Away,
        chance: random.Random,
    ) -> None:
        self._places = costs.places * costs.cores
        self._resumes = costs.resumes * costs.cores
        self._claims = costs.claims
        self._away = away
        self._chance = chance.random
        self._give_up_after = away.window + MARGIN_SECONDS
        self._events: list[tuple[float, int, _Step, int]] = []  # time, order, step, client
        self._order = 0
        self._attempt = [0] * clients
        self._noticed = [chance.uniform(*away.noticed) for _ in range(clients)]
        self._node = [chance.randrange(nodes) for _ in range(clients)]
        self._at = list(self._node)  # where its connection is
        self._dialled = [0.0] * clients
        self._tried = [0] * clients  # nodes, in this attempt
        self._returns = [ReturnTimes(chance.random) for _ in range(nodes)]
        self._taken = [0] * nodes  # places
        for _ in range(settled):
            self._taken[chance.randrange(nodes)] += 1
        self._loop_free = [0.0] * nodes  # when each event loop has taken up all who wait
        self._journal_free = [0.0] * databases
        self._back: list[float] = []
        self._lost = 0.0  # seconds of audio
        self._in_second: Counter[int] = Counter()
        self._gave_up = self._refused = 0

    def run(self) -> Storm:
        for client, noticed in enumerate(self._noticed):
            self._again(client, noticed)
        steps = {_Step.DIAL: self._dial, _Step.ASK: self._ask, _Step.READY: self._ready}
        while self._events:
            at, _, step, client = heapq.heappop(self._events)
            steps[step](client, at)
        back = sorted(self._back)
        self._lost += (len(self._attempt) - len(back)) * self._give_up_after
        return Storm(
            clients=len(self._attempt),
            back=len(back),
            half=_part(back, 0.5),
            most=_part(back, 0.99),
            all=_part(back, 1.0),
            peak=max(self._in_second.values(), default=0),
            attempts=self._in_second.total(),
            gave_up=self._gave_up,
            refused=self._refused,
            words=self._lost * self._away.words,
        )

    # ---- an attempt

    def _dial(self, client: int, at: float) -> None:
        self._in_second[int(at)] += 1
        self._dialled[client], self._tried[client] = at, 0
        self._visit(client, self._node[client], at)

    def _visit(self, client: int, node: int, at: float) -> None:
        self._at[client] = node
        self._tried[client] += 1
        open_at = self._loop_free[node] = max(at, self._loop_free[node]) + 1 / self._resumes
        if open_at - self._dialled[client] > OPEN_SECONDS:
            self._gives_up(client, self._dialled[client] + OPEN_SECONDS)
        else:
            self._later(open_at, _Step.ASK, client)

    def _ask(self, client: int, at: float) -> None:
        node, database = self._at[client], client % len(self._journal_free)
        if self._taken[node] >= self._places:
            self._full(client, node, at)
            return
        waits = (self._journal_free[database] - at) * self._claims * len(self._journal_free) / len(self._taken)
        if waits > MOST_WAITING:
            self._refuse(client, at, BUSY_RETRY)
            return
        ready_at = self._journal_free[database] = max(at, self._journal_free[database]) + 1 / self._claims
        if ready_at - at > READY_SECONDS:
            self._gives_up(client, at + READY_SECONDS)
        else:
            self._taken[node] += 1
            self._later(ready_at, _Step.READY, client)

    def _full(self, client: int, node: int, at: float) -> None:
        if self._tried[client] < min(NODES_TRIED, len(self._taken)):
            others = len(self._taken) - 1
            self._visit(client, (node + 1 + int(self._chance() * others)) % len(self._taken), at)
        else:
            self._refuse(client, at, self._returns[node].next(at))

    def _ready(self, client: int, at: float) -> None:
        self._back.append(at)
        self._lost += max(0.0, at - self._away.keep)

    # ---- the next one

    def _refuse(self, client: int, at: float, retry_after: float) -> None:
        self._refused += 1
        self._again(client, at, retry_after)

    def _gives_up(self, client: int, at: float) -> None:
        self._gave_up += 1
        self._again(client, at)

    def _again(self, client: int, at: float, retry_after: float = 0.0) -> None:
        """As `ClientCore` has it."""
        if at - self._noticed[client] < self._give_up_after:
            pause = max(retry_after, full_jitter(self._attempt[client], self._chance))
            self._attempt[client] += 1
            self._later(at + pause, _Step.DIAL, client)

    def _later(self, at: float, step: _Step, client: int) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, step, client))


def _part(ordered: list[float], part: float) -> float:
    """Until when such a part of them was back; 0 if nobody was."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0
