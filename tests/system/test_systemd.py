"""What a real server tells a service manager, over the real socket; and the unit, by systemd's own check."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.docs.examples import ROOT
from tests.system.test_command_line import VOXTREE
from transport.systemd import Notifier

pytestmark = pytest.mark.anyio

UNIT = ROOT / "deploy" / "systemd" / "voxtree.service"
NOWHERE = ("--set", "backends.0.name=riva", "--set", "backends.0.address=127.0.0.1:1")


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    async def told(self, first: str) -> list[str]:
        """The lines of the next message that begins with this one."""
        loop = asyncio.get_running_loop()
        while True:
            lines = (await loop.sock_recv(self.socket, 4096)).decode().split("\n")
            if lines[0] == first:
                return lines


@pytest.fixture(params=["file", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "file" else f"@voxtree-test-{os.getpid()}"


@pytest.mark.slow
async def test_a_server_tells_that_it_is_ready_lives_reloads_and_stops(address: str, tmp_path: Path) -> None:
    manager = Manager(address)
    environment = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    environment.pop("WATCHDOG_PID", None)
    server = await asyncio.create_subprocess_exec(
        *VOXTREE, "serve", "--port", "0", "--set", "admin.port=0",
        "--set", f"journal.path={tmp_path / 'j.db'}", "--set", "server.shutdown_timeout=2", *NOWHERE,
        env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            status = (await manager.told("READY=1"))[1]
            assert status.startswith("STATUS=listening on ws://127.0.0.1:")
            await manager.told("WATCHDOG=1")
            await manager.told("WATCHDOG=1")
            server.send_signal(signal.SIGHUP)
            assert (await manager.told("RELOADING=1"))[1].removeprefix("MONOTONIC_USEC=").isdecimal()
            await manager.told("READY=1")
            async with connect(status.rpartition(" ")[2]) as client:  # whose words no backend will give
                await client.send(bytes(32_000))
                await client.recv()
                server.terminate()
                stopping = await manager.told("STOPPING=1")
                assert stopping[2] == "EXTEND_TIMEOUT_USEC=12000000"
                await manager.told("WATCHDOG=1")  # it lives while it stops
                await manager.told("WATCHDOG=1")
                assert await server.wait() == 0
    finally:
        if server.returncode is None:
            server.kill()
        manager.socket.close()


async def test_a_server_that_stops_gives_signs_of_life_until_it_has_stopped(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    try:
        with Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}) as notifier:
            async with asyncio.timeout(60):
                notifier.ready("")
                notifier.stopping(1.0)
                await manager.told("STOPPING=1")
                await manager.told("WATCHDOG=1")
                await manager.told("WATCHDOG=1")
        assert notifier._next_sign is not None
        assert notifier._next_sign.cancelled()
    finally:
        manager.socket.close()


async def test_a_manager_that_is_busy_holds_nobody_up_and_is_told_everything_later(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    statuses = [["READY=1", f"STATUS={number}"] for number in range(50)]  # its socket holds some ten
    try:
        with Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}) as notifier:
            async with asyncio.timeout(60):
                for _, status in statuses:
                    notifier.ready(status.removeprefix("STATUS="))
                assert [await manager.told("READY=1") for _ in statuses] == statuses
                await manager.told("WATCHDOG=1")
    finally:
        manager.socket.close()


def test_without_a_manager_nobody_is_told() -> None:
    with Notifier({}) as notifier:
        notifier.ready("")
        notifier.stopping(1.0)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "15000000"}, 15.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "15000000"}, 0.0),
    ],
)
async def test_signs_of_life_are_given_to_whoever_wants_them_of_this_process(
    environ: dict[str, str], seconds: float
) -> None:
    assert Notifier(environ).watchdog == seconds


async def test_a_manager_that_is_gone_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": "/nowhere/notify"}).ready("")
    assert [record.getMessage() for record in caplog.records] == ["systemd cannot be told: No such file or directory"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_right(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/voxtree/bin/voxtree", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert [line for line in checked.stderr.splitlines() if UNIT.name in line] == []
    assert checked.returncode == 0
