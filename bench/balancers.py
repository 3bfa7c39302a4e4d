"""HAProxy and nginx as they are shipped, in `deploy/`, at a host of a `Network`."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.network import Network
from bench.rounds import ROOT
from transport.expected import ExpectedError

HOST = "balancer"  # of the network
SERVERS = {"a": 11, "b": 12}  # the last bytes of their addresses, as in the shipped files
SERVING = 8600
_DOCUMENTED = re.compile(r"192\.0\.2\.(?=1[12]\b)")  # the shipped files' addresses: RFC 5737's, for documentation


class NoBalancer(ExpectedError):
    """It is not installed, or does not start. The message says which, and why."""


class HAProxy:
    """HAProxy with `deploy/haproxy/haproxy.cfg`, but for addresses, a socket's place, and how much it may serve.

    Attributes:
        file: what it reads.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        self._network = network
        self._socket = folder / "haproxy.sock"
        self.file = folder / "haproxy.cfg"
        text = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
        text = _DOCUMENTED.sub(f"{network.subnet}.", text)
        text = _replaced(text, "/run/haproxy/admin.sock", str(self._socket))
        text = _replaced(text, "maxconn 50000", "maxconn 2000")  # without a word, it needs four files for each
        self.file.write_text(text)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """It runs while the body does."""
        async with _program(self._network, "haproxy", "-db", "-f", str(self.file)):
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
    """nginx with `deploy/nginx/voxtree.conf`, but for addresses.

    Attributes:
        file: what it reads, which includes that.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        self._network = network
        self.file = folder / "nginx.conf"
        site = _DOCUMENTED.sub(f"{network.subnet}.", (ROOT / "deploy" / "nginx" / "voxtree.conf").read_text())
        (folder / "voxtree.conf").write_text(site)
        self.file.write_text(
            f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
            f"events {{ worker_connections 1000; }}\n"
            f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;"
            f" include {folder}/voxtree.conf; }}\n"
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """It runs while the body does."""
        async with _program(self._network, "nginx", "-c", str(self.file), "-e", "stderr"):
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


@asynccontextmanager
async def _program(network: Network, *command: str) -> AsyncGenerator[Process, None]:
    """A program at the balancer's host, in the foreground."""
    if shutil.which(command[0]) is None:
        raise NoBalancer(f"needs {command[0]} (Debian: apt-get install {command[0]})")
    inside = network.inside(HOST)
    process = await asyncio.create_subprocess_exec(*inside, *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    try:
        await asyncio.wait([said], timeout=0.2)  # a file that is wrong ends it at once
        if said.done():
            raise NoBalancer(f"{command[0]} did not start: {said.result().decode(errors='replace').strip()}")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await said


def _replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"the shipped file has no {old!r}"
    return text.replace(old, new)
