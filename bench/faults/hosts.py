"""Several hosts as operators have them: two servers, a load balancer before them, a PostgreSQL behind them.

Each is a host of a `Network`, with real programs in it: `voxtree serve`, HAProxy or nginx with the file shipped in
`deploy/`, PostgreSQL. The Riva and the clients are with us. Needs what `Network` and `Postgres` need, and the balancer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.request import Request, urlopen

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bench.balancers import HOST, SERVERS, SERVING, Balancer, HAProxy, NoBalancer
from bench.faults.players import Voxtree, backend
from bench.faults.stage import Stage, Unplayable
from bench.network import Network, NoNetwork
from bench.postgres import NoPostgres, running
from bench.riva import Plan, RivaProcess
from transport.expected import ExpectedError

ADMIN = 8601  # in the shipped files, too
TOKEN = "what operators would keep secret"  # of the admin ports
PATIENCE = 20.0  # seconds for a server to be taken back by the balancer: its start, two checks, and a busy machine


class NotSeen(ExpectedError):
    """A balancer does not come to see a server as it should. The message says how it does."""


class Hosts(msgspec.Struct, frozen=True):
    """What is there.

    Attributes:
        url: where clients connect, at the balancer.
        voxtrees: the servers by the names of their hosts.
    """

    network: Network
    url: str
    voxtrees: Mapping[str, Voxtree]
    balancer: Balancer

    def url_of(self, server: str) -> str:
        """Where clients connect who go past the balancer."""
        return f"ws://{self.network.address(server)}:{SERVING}/transcribe"

    async def metric(self, server: str, name: str) -> float:
        """One of a server's metrics that has no labels, now."""
        request = Request(
            f"http://{self.network.address(server)}:{ADMIN}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        text = await asyncio.to_thread(lambda: urlopen(request, timeout=PATIENCE).read().decode())
        families = text_string_to_metric_families(text)
        return next(sample.value for family in families for sample in family.samples if sample.name == name)

    async def until(self, server: str, *states: str) -> None:
        """Wait until the balancer sees a server so."""
        since = time.monotonic()
        while (state := await self.balancer.state(server)) not in states:
            if time.monotonic() - since > PATIENCE:
                raise NotSeen(f"the balancer sees {server} as {state} after {PATIENCE:g} s, not as {states[0]}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def hosts(
    stage: Stage, make: type[Balancer] = HAProxy, settings: Mapping[str, object] | None = None
) -> AsyncGenerator[Hosts, None]:
    """Two servers behind a balancer, while the body runs.

    Args:
        settings: further ones of the servers, by path.

    Raises:
        Unplayable: this machine has not what it takes.
    """
    async with AsyncExitStack() as stack:
        try:
            built = await _built(stage, stack, make, settings or {})
        except (NoNetwork, NoPostgres, NoBalancer) as lack:
            raise Unplayable(str(lack)) from lack
        yield built


async def _built(stage: Stage, stack: AsyncExitStack, make: type[Balancer], settings: Mapping[str, object]) -> Hosts:
    stage.tell("building a network")
    network = await stack.enter_async_context(Network(**{HOST: 10}, database=20, **SERVERS))
    database = running(host=network.address("database"), inside=network.inside("database"))
    postgres = await asyncio.to_thread(stack.enter_context, database)
    riva = await stack.enter_async_context(RivaProcess(Plan(), host=network.ours))
    secret = stage.folder / "token"
    secret.write_text(TOKEN)
    common = {
        "server.host": "0.0.0.0",
        "server.port": SERVING,
        "server.trusted_proxies": [network.address(HOST)],
        "admin.host": "0.0.0.0",
        "admin.port": ADMIN,
        "admin.token_file": str(secret),
        "auth.allow_public": True,  # to these hosts only
        "journal.store": "postgres",
        "journal.dsn": postgres.dsn_from_afar("postgres"),
        **settings,
    }
    recogniser = backend("primary", riva.port, address=riva.address)
    started = await asyncio.gather(
        *(stage.voxtree(recogniser, settings=common, inside=network.inside(server)) for server in SERVERS)
    )
    voxtrees = dict(zip(SERVERS, started, strict=True))
    balancer = make(network, stage.folder)
    await stack.enter_async_context(balancer.running())
    url = f"ws://{network.address(HOST)}/transcribe"
    built = Hosts(network, url, voxtrees, balancer)
    for server in SERVERS:
        await built.until(server, "UP")
    return built
