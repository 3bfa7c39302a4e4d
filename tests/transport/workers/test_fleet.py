"""A parent with real workers: they serve on one port, are replaced when they end, and are told what operators want."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from bench.certificates import self_signed
from transport.admin.orders import CloseSession, DrainBackend, OrderFailed, ReplaceWorkers, RestartPart
from transport.auth.keys import new_key
from transport.listener import CannotListen
from transport.riva.channel import Endpoint
from transport.settings import Admin, Auth, Dialects, Journal, Limits, Log, Server, Settings, SettingsError, Tls
from transport.starting import CannotStart
from transport.workers.clerk import FleetClerk
from transport.workers.fleet import Fleet, serving
from transport.workers.process import WorkerProcess
from transport.workers.pulse import BEAT_SECONDS
from transport.workers.wire import Usage
from transport.workers.worker import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NOWHERE = Endpoint(name="nowhere", address="127.0.0.1:1", max_streams=7)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def settings(folder: Path, **facts: Any) -> Settings:
    return Settings(
        **{
            "backends": (NOWHERE,),
            "server": Server(port=0, shutdown_timeout=0.5, workers=2),
            "journal": Journal(path=str(folder / "journal.db")),
            "admin": Admin(port=0, actions=True),
            **facts,
        }
    )


@asynccontextmanager
async def running(wanted: Settings) -> AsyncGenerator[Fleet, None]:
    async with asyncio.timeout(60), serving(wanted, 2) as fleet:
        yield fleet


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  (of processes nobody tells us)
            await asyncio.sleep(0.02)


def serves(fleet: Fleet, number: int) -> WorkerProcess:
    process = fleet.workers[number].serving
    assert process is not None
    return process


async def test_a_worker_that_is_killed_is_replaced_with_the_settings_of_now_and_what_it_counted_is_kept(
    tmp_path: Path,
) -> None:
    before = settings(tmp_path)
    after = msgspec.structs.replace(before, backends=(NOWHERE, Endpoint(name="second", address="127.0.0.1:2")))

    def unusable() -> Settings:
        raise SettingsError("server.port: expected an integer")

    async with running(before) as fleet:
        first = serves(fleet, 0)
        await fleet.reload(unusable)
        assert fleet.settings.backends == before.backends
        await fleet.reload(lambda: after)
        await refused(fleet, 4)
        assert (await counted(fleet))['voxtree_handshake_rejected_total{reason="path"}'] == 4
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: fleet.workers[0].serving not in (None, first))
        then = await counted(fleet)
        assert then['voxtree_handshake_rejected_total{reason="path"}'] == 4
        assert then['voxtree_worker_restarts_total{reason="died"}'] == 1
        assert then['transcription_errors_total{error_code="SYS_007",severity="ERROR"}'] == 1
        assert then["voxtree_workers"] == 2
        assert serves(fleet, 0).pid != first.pid
        state = await fleet._survey.take({}, ())
        assert set(state.backends) == {"nowhere@0", "second@0", "nowhere@1", "second@1"}
        processes = [serves(fleet, number).pid for number in range(2)]
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_one_that_gives_no_sign_of_life_is_ended_and_replaced(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as fleet:
        first = serves(fleet, 1)
        os.kill(first.pid, signal.SIGSTOP)
        await until(lambda: fleet.workers[1].serving not in (None, first))
        assert (first.wedged, first.error and str(first.error)) == (
            True,
            f"SYS_007 SYS_WORKER_LOST: worker 1, pid {first.pid}: it gave no sign of life and was ended",
        )
        assert (await counted(fleet))['voxtree_worker_restarts_total{reason="wedged"}'] == 1


async def test_operators_reach_every_worker(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as fleet:
        state = await fleet._survey.take(fleet._survey.checks(), ())
        assert {number: row.state for number, row in state.workers.items()} == {"0": "serving", "1": "serving"}
        assert set(state.backends) == {"nowhere@0", "nowhere@1"}
        assert [state.backends[name].most for name in ("nowhere@0", "nowhere@1")] == [4, 3]
        assert state.tree["voxtree/workers/worker:1/journal"].state == "running"
        clerk = FleetClerk(lambda: fleet.tree, fleet.workers, fleet.roll)
        assert await clerk.carry_out(DrainBackend(backend="nowhere@1")) == (
            "backend nowhere gets no new streams, at worker 1"
        )
        assert (await clerk.carry_out(DrainBackend(backend="nowhere"))).endswith("at all workers")
        done = await clerk.carry_out(RestartPart(path="voxtree/workers/worker:0/backends/questions"))
        assert done == "voxtree/backends/questions was restarted"
        for order, complaint in [
            (CloseSession(session="nobody"), "there is no session nobody here"),
            (RestartPart(path="voxtree/workers/worker:7"), "there is no worker 7"),
            (RestartPart(path="voxtree/admin/port"), "voxtree/admin/port cannot be restarted from here"),
            (DrainBackend(backend="unknown@0"), "there is no backend unknown"),
        ]:
            with pytest.raises(OrderFailed, match=complaint):
                await clerk.carry_out(order)
        before = [serves(fleet, number).pid for number in range(2)]
        assert await clerk.carry_out(ReplaceWorkers()) == "the workers were replaced"
        assert not set(before) & {serves(fleet, number).pid for number in range(2)}


async def test_clients_are_spread_evenly_also_after_one_worker_lost_its_own(tmp_path: Path) -> None:
    counting = settings(tmp_path, limits=Limits(sessions_per_address=100))
    async with running(counting) as fleet, AsyncExitStack() as clients:

        def held() -> list[int]:
            return [sum(count for _, _, count in used(worker)) for worker in fleet.workers]

        async def come(first: int, count: int) -> None:
            for number in range(first, first + count):
                await clients.enter_async_context(connect(f"{fleet.url}/s-{number}", compression=None))

        await come(0, 20)
        await until(lambda: sum(held()) == 20)
        assert max(held()) <= 11
        first = serves(fleet, 0)
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: fleet.workers[0].serving not in (None, first))
        here, there = held()
        assert here == 0
        await come(20, there - 1)
        await until(lambda: sum(held()) == 2 * there - 1)
        assert held()[0] >= there - 2


async def test_replaced_workers_use_other_settings_at_the_same_addresses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = settings(tmp_path)
    async with running(before) as fleet:
        port = fleet.settings.server.port
        for wanted, said in [(0, []), (port + 1, ["server.port"])]:
            caplog.clear()
            moved = Server(port=wanted, shutdown_timeout=0.7, workers=2)
            await fleet.roll(lambda moved=moved: msgspec.structs.replace(before, server=moved))
            assert (fleet.settings.server.port, fleet.settings.server.shutdown_timeout) == (port, 0.7)
            assert [record.args[0] for record in caplog.records if "address" in record.msg and record.args] == said
        async with connect(f"{fleet.url}/s-1", compression=None):
            pass


async def test_keys_and_encryption_hold_at_every_worker_and_every_port(tmp_path: Path) -> None:
    cert, key = self_signed("workers")
    ours, line = new_key("ann")
    for name, held in {"cert": cert, "key": key, "keys": line.encode()}.items():
        (tmp_path / name).write_bytes(held)
    wanted = settings(
        tmp_path,
        tls=Tls(cert_file=str(tmp_path / "cert"), key_file=str(tmp_path / "key")),
        auth=Auth(mode="keys", keys_file=str(tmp_path / "keys")),
        dialects=Dialects(enabled=("vosk",), vosk_port=0),
        limits=Limits(sessions_per_user=100),
    )
    trusting = ssl.create_default_context(cadata=cert.decode())
    trusting.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    async with running(wanted) as fleet, AsyncExitStack() as clients:
        assert fleet.url.startswith("wss://")
        vosk = f"wss://127.0.0.1:{fleet.other_doors()['vosk'].port}/"
        for number in range(6):
            for url in (f"{fleet.url}/s-{number}", vosk):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(url, ssl=trusting, compression=None)
                assert refused.value.response.status_code == 401
                client = connect(
                    url, ssl=trusting, compression=None, additional_headers={"Authorization": f"Bearer {ours}"}
                )
                await clients.enter_async_context(client)
        await until(lambda: sum(count for each in fleet.workers for _, _, count in used(each)) == 12)
        assert {name for each in fleet.workers for _, name, _ in used(each)} == {"ann"}
        assert all(used(each) for each in fleet.workers)


async def test_clients_wait_for_a_worker_to_start_and_are_refused_when_the_server_stops(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as fleet:
        before = [serves(fleet, number) for number in range(2)]
        for process in before:
            os.kill(process.pid, signal.SIGKILL)
        for process in before:
            await process.ended.wait()
        async with connect(f"{fleet.url}/s-1", compression=None):  # nobody could have accepted it until now
            fleet.retire()
            with pytest.raises(ConnectionRefusedError):
                await connect(f"{fleet.url}/s-2", compression=None)


async def test_the_limit_of_an_addresss_sessions_holds_for_all_workers_together(tmp_path: Path) -> None:
    wanted = settings(tmp_path, limits=Limits(sessions_per_address=2))
    async with running(wanted) as fleet, AsyncExitStack() as clients:
        refused: list[int] = []
        for number in range(8):  # whoever accepts them
            try:
                await clients.enter_async_context(connect(f"{fleet.url}/s-{number}", compression=None))
            except InvalidStatus as no:
                refused.append(no.response.status_code)
            held = number + 1 - len(refused)
            await until(lambda held=held: sum(count for each in fleet.workers for _, _, count in used(each)) == held)
            await asyncio.sleep(2 * BEAT_SECONDS)  # until the others have been told
        assert refused == [429] * 6


def used(worker: Worker) -> Usage:
    return worker.serving.usage if worker.serving is not None else ()


async def test_a_port_that_is_taken_even_by_one_who_shares_it_is_refused(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            async with running(settings(tmp_path, server=Server(port=port, workers=2))):
                pass


async def test_what_keeps_a_worker_from_starting_is_said_in_its_own_words(tmp_path: Path) -> None:
    journal = Journal(path=str(tmp_path / "is" / "a-file" / "journal.db"))
    (tmp_path / "is").write_text("not a folder")
    with pytest.raises(CannotStart, match=r"a-file: not a directory"):
        async with running(settings(tmp_path, journal=journal)):
            pass


async def test_workers_end_with_a_parent_that_is_killed_and_say_which_they_are(tmp_path: Path) -> None:
    config = tmp_path / "settings.json"
    config.write_bytes(msgspec.json.encode(settings(tmp_path, log=Log(format="json"))))
    program = (
        "import asyncio, msgspec, pathlib, sys; from transport.settings import Settings;"
        "from transport.cli.serve import serve; from transport.logs import configure\n"
        f"s = msgspec.json.decode(pathlib.Path({str(config)!r}).read_bytes(), type=Settings, strict=False)\n"
        "configure(s.log); asyncio.run(serve(s, lambda: s))"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=-1, stderr=-1)
    assert parent.stdout is not None
    assert parent.stderr is not None
    async with asyncio.timeout(60):
        while b"try this" not in (line := await parent.stdout.readline()):
            assert line, (await parent.stderr.read()).decode()
        parent.kill()
        said = await parent.stderr.read()  # which ends when the last worker has
        logged = [msgspec.json.decode(line) for line in said.splitlines()]
        await parent.wait()
    orphaned = [line["worker"] for line in logged if line["event"] == "worker.orphaned"]
    assert sorted(orphaned) == [0, 1]


async def counted(fleet: Fleet) -> dict[str, float]:
    """The merged metrics, those of workers added up."""
    assert fleet.admin is not None
    text = await asyncio.to_thread(generate_latest, fleet.admin._registry)  # type: ignore[arg-type]
    found: dict[str, float] = {}
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            plain = name.replace(',worker="0"', "").replace(',worker="1"', "")
            found[plain] = found.get(plain, 0.0) + float(value)
    return found


async def refused(fleet: Fleet, times: int) -> None:
    """Ask for what is not there, so often that both workers have counted some."""
    host, port = "127.0.0.1", fleet.settings.server.port
    for _ in range(times):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"404" in await reader.readline()
        writer.close()
