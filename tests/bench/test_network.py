"""Hosts on a network of our own: what passes, what does not, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess

import pytest

from bench.network import Network, NoNetwork

pytestmark = pytest.mark.anyio
needs_root = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and `ip`")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@needs_root
async def test_a_cable_that_is_pulled_lets_nothing_pass_until_it_is_put_in_again() -> None:
    before = told("link"), told("netns")
    async with Network(a=11, b=12) as network:
        server = await asyncio.start_server(lambda _, writer: writer.close(), network.ours, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert await reaches(network, "a", port)
            await network.unplug("a")
            assert not await reaches(network, "a", port, seconds=0.5)
            assert await reaches(network, "b", port)
            await network.plug("a")
            assert await reaches(network, "a", port)
    assert (told("link"), told("netns")) == before


async def test_without_root_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoNetwork, match="needs root"):
        async with Network(a=11):
            pass


async def reaches(network: Network, host: str, port: int, *, seconds: float = 20.0) -> bool:
    """Whether a connection from a host to us comes about in time; by default there is more than enough."""
    dial = f"until (exec 3<>/dev/tcp/{network.ours}/{port}) 2>/dev/null; do :; done"
    process = await asyncio.create_subprocess_exec(*network.inside(host), "timeout", str(seconds), "bash", "-c", dial)
    return await process.wait() == 0


def told(what: str) -> set[str]:
    """The names of interfaces, or namespaces, that this test's process could have made."""
    shown = subprocess.run(["ip", "-brief", what], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in shown.splitlines() if f"voxtree{os.getpid()}" in line}
