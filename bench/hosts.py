"""Several hosts as operators have them: two servers, a load balancer before them, a PostgreSQL behind them.

Each is a host of a `Network`, with real programs in it: `voxtree serve`, HAProxy or nginx with the file shipped in
`deploy/`, PostgreSQL. The Riva and the clients are with us. Needs what `Network` and `Postgres` need, and the balancer.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bench.faults.players import Voxtree, backend
from bench.faults.stage import Stage, Unplayable
from bench.network import Network, NoNetwork
from bench.postgres import NoPostgres, running
from bench.riva import Plan, RivaProcess
from bench.rounds import ROOT

SERVERS = {"a": 11, "b": 12}  # as in the shipped files
SERVING, ADMIN = 8600, 8601
TOKEN = "what operators would keep secret"  # of the admin ports
PATIENCE = 20.0  # seconds for a server to be taken back by the balancer: its start, two checks, and a busy machine
_DOCUMENTED = re.compile(r"192\.0\.2\.(?=1[12]\b)")  # the shipped files' addresses: RFC 5737's, for documentation


class HAProxy:
    """HAProxy with `deploy/haproxy/haproxy.cfg`, but for addresses and what only root may."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._network = network
        self._socket = folder / "haproxy.sock"
        self._file = folder / "haproxy.cfg"
        text = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
        text = _DOCUMENTED.sub(f"{network.subnet}.", text)
        text = _replaced(text, "/run/haproxy/admin.sock", str(self._socket))
        text = _replaced(text, "maxconn 50000", "maxconn 2000")  # without a word, it needs four files for each
        self._file.write_text(text)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """It runs while the body does."""
        async with _program(self._network, "haproxy", "-db", "-f", str(self._file)):
            yield

    async def state(self, server: str) -> str:
        """How it sees a server: `UP`, `NOLB` (nobody new), `DOWN`, or a word more while it makes sure."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return "starting"
        writer.write(b"show stat\n")
        rows = [line.split(",") for line in (await reader.read()).decode().splitlines() if line]
        writer.close()
        names = rows[0]
        found = (dict(zip(names, row, strict=False)) for row in rows[1:])
        return next((row["status"] for row in found if row["svname"] == server), "starting")


class Nginx:
    """nginx with `deploy/nginx/voxtree.conf`, but for addresses."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._network = network
        self._file = folder / "nginx.conf"
        site = _DOCUMENTED.sub(f"{network.subnet}.", (ROOT / "deploy" / "nginx" / "voxtree.conf").read_text())
        (folder / "voxtree.conf").write_text(site)
        self._file.write_text(
            f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
            f"events {{ worker_connections 1000; }}\n"
            f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;"
            f" include {folder}/voxtree.conf; }}\n"
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """It runs while the body does."""
        async with _program(self._network, "nginx", "-c", str(self._file), "-e", "stderr"):
            yield

    async def state(self, server: str) -> str:
        """It looks at no server before it has a client for it: `UP` or `DOWN`, as it would find it then."""
        try:
            _, writer = await asyncio.open_connection(self._network.address(server), SERVING)
        except OSError:
            return "DOWN"
        writer.close()
        return "UP"


Balancer = HAProxy | Nginx


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
                raise Unplayable(f"the balancer sees {server} as {state} after {PATIENCE:g} s, not as {states[0]}")
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
    try:
        async with AsyncExitStack() as stack:
            yield await _built(stage, stack, make, settings or {})
    except (NoNetwork, NoPostgres) as lack:
        raise Unplayable(str(lack)) from lack


async def _built(stage: Stage, stack: AsyncExitStack, make: type[Balancer], settings: Mapping[str, object]) -> Hosts:
    stage.tell("building a network")
    network = await stack.enter_async_context(Network(balancer=10, database=20, **SERVERS))
    database = running(host=network.address("database"), inside=network.inside("database"))
    postgres = await asyncio.to_thread(stack.enter_context, database)
    riva = await stack.enter_async_context(RivaProcess(Plan(), host=network.ours))
    secret = stage.folder / "token"
    secret.write_text(TOKEN)
    common = {
        "server.host": "0.0.0.0",
        "server.port": SERVING,
        "server.trusted_proxies": [network.address("balancer")],
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
    url = f"ws://{network.address('balancer')}/transcribe"
    built = Hosts(network, url, voxtrees, balancer)
    for server in SERVERS:
        await built.until(server, "UP")
    return built


@asynccontextmanager
async def _program(network: Network, *command: str) -> AsyncGenerator[Process, None]:
    """A program at the balancer's host, in the foreground."""
    if shutil.which(command[0]) is None:
        raise Unplayable(f"needs {command[0]} (Debian: apt-get install {command[0]})")
    inside: Sequence[str] = network.inside("balancer")
    process = await asyncio.create_subprocess_exec(*inside, *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    try:
        await asyncio.wait([said], timeout=0.2)  # a file that is wrong ends it at once
        if said.done():
            raise Unplayable(f"{command[0]} did not start: {said.result().decode(errors='replace').strip()}")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await said


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"the shipped file has no {old!r}"
    return text.replace(old, new)
