"""A network of hosts on one machine: each a network namespace on a bridge, where cables are pulled and pairs parted.

Needs root and `ip` (Debian's iproute2). It touches nothing but what it makes: the namespaces, and one interface of this
process's own namespace, by which it takes part. All of it is gone afterwards.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from typing import Self

from transport.expected import ExpectedError

RANGE = "198.18"  # /16, of which each run takes a part: for benchmarks (RFC 2544), so hardly anybody's real network
NOBODY = "02:00:00:00:00:01"  # an Ethernet address that no host has


class NoNetwork(ExpectedError):
    """There can be no such network here. The message says why."""


class Network:
    """Hosts by name, each with one address; made on entering, gone on leaving.

    Args:
        hosts: the last byte of each one's address.

    Attributes:
        subnet: the first three bytes of all addresses.
        ours: the address of this process.
    """

    def __init__(self, **hosts: int) -> None:
        self._hosts = hosts
        self._prefix = f"voxtree{os.getpid()}"
        self.subnet = f"{RANGE}.{os.getpid() % 256}"
        self.ours = f"{self.subnet}.1"
        self._switch = f"{self._prefix}-switch"
        self._made: list[Sequence[str]] = []  # what undoes it

    async def __aenter__(self) -> Self:
        await _require_means(self.subnet)
        try:
            await self._make()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for undo in reversed(self._made):
            await _ip(*undo)
        self._made.clear()

    def address(self, host: str) -> str:
        """Of a host."""
        return f"{self.subnet}.{self._hosts[host]}"

    def inside(self, host: str) -> Sequence[str]:
        """What is put before a command so that it runs at a host, as a process of the same id."""
        return ("nsenter", f"--net=/run/netns/{self._namespace(host)}", "--")

    # ---- faults

    async def unplug(self, host: str) -> None:
        """Nothing passes its cable any more, either way. Nobody is told: no connection is reset."""
        await _ip("-n", self._switch, "link", "set", "dev", host, "down")

    async def plug(self, host: str) -> None:
        """Put its cable in again."""
        await _ip("-n", self._switch, "link", "set", "dev", host, "up")

    async def part(self, one: str, other: str) -> None:
        """What these two send to each other is lost; both reach everybody else."""
        for here, there in ((one, other), (other, one)):
            await self._neighbour(here, "replace", there, "lladdr", NOBODY, "nud", "permanent")

    async def join(self, one: str, other: str) -> None:
        """They reach each other again."""
        for here, there in ((one, other), (other, one)):
            await self._neighbour(here, "del", there)

    # ---- making it

    async def _make(self) -> None:
        await self._namespace_called(self._switch)
        await _ip("-n", self._switch, "link", "add", "name", "bridge", "type", "bridge")
        await _ip("-n", self._switch, "link", "set", "bridge", "up")
        await self._cable("ours", self._prefix, str(os.getpid()))
        self._made.append(("link", "del", self._prefix))  # the kernel would take its time
        await _ip("addr", "add", f"{self.ours}/24", "dev", self._prefix)
        await _ip("link", "set", self._prefix, "up")
        for host in self._hosts:
            namespace = self._namespace(host)
            await self._namespace_called(namespace)
            await self._cable(host, "eth0", namespace)
            await _ip("-n", namespace, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            await _ip("-n", namespace, "link", "set", "eth0", "up")
            await _ip("-n", namespace, "link", "set", "lo", "up")

    async def _namespace_called(self, name: str) -> None:
        await _ip("netns", "add", name)
        self._made.append(("netns", "del", name))

    async def _cable(self, port: str, interface: str, namespace: str) -> None:
        """From a port of the switch to an interface of a namespace, given by name or by a process in it."""
        ends = ("name", port, "type", "veth", "peer", "name", interface, "netns", namespace)
        await _ip("-n", self._switch, "link", "add", *ends)
        await _ip("-n", self._switch, "link", "set", "dev", port, "master", "bridge", "up")

    async def _neighbour(self, host: str, action: str, other: str, *what: str) -> None:
        await _ip("-n", self._namespace(host), "neigh", action, self.address(other), "dev", "eth0", *what)

    def _namespace(self, host: str) -> str:
        return f"{self._prefix}-{host}"


async def _require_means(subnet: str) -> None:
    if os.geteuid() != 0:
        raise NoNetwork("needs root, to make network namespaces")
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            raise NoNetwork(f"needs `{program}` (Debian: apt-get install iproute2 util-linux)")
    if await _ip("route", "show", "to", "root", f"{subnet}.0/24"):
        raise NoNetwork(f"{subnet}.0/24 is in use on this machine, by a real network or by another run")


async def _ip(*words: str) -> str:
    """Run `ip`, and return what it says."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("ip", *words, stdout=pipe, stderr=pipe)
    said, complaint = (text.decode(errors="replace") for text in await process.communicate())
    if process.returncode:
        raise NoNetwork(f"`ip {' '.join(words)}` failed: {' '.join(complaint.split())}")
    return said
