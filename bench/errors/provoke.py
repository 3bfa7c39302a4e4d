"""How each error of the catalogue is made to happen."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

import anyio
import msgspec
from websockets.exceptions import ConnectionClosed

from actors.speech.injection import OPPORTUNITIES
from bench.errors.scene import RATE, Scene
from bench.riva import Plan
from bench.riva.faults import At, Status
from supervisor.spec import Child, Intensity, Restart
from supervisor.tree import Supervisor
from transport.auth.keys import new_key
from transport.journal.keys import make_key
from transport.reload import reload
from transport.riva.channel import Endpoint
from transport.settings import (
    Admin,
    Alerts,
    AlertSink,
    Auth,
    Inject,
    Journal,
    Limits,
    Server,
    Session,
    Settings,
    SettingsError,
)

NOWHERE = Endpoint(name="riva", address="127.0.0.1:1")
READY = '"ready"'  # in what a client is told first
SMALL = 16 * 2**20  # bytes of a disk
LIMIT = 0.8  # seconds for an error that is retried for ever


class Unplayable(Exception):
    """This machine has not what is needed. The message says what."""


# ---- injected


async def injected(scene: Scene, code: str) -> None:
    """As `voxtree serve --inject CODE:1` does it; for ever, so the client gives up."""
    settings = Settings(backends=(await scene.riva(),), inject=Inject(rates={code: 1.0}))
    async with scene.serving(settings):
        with anyio.move_on_after(LIMIT):
            await scene.talk(1.0, limit=LIMIT)
        await asyncio.sleep(0.2)  # the server learns that its client has gone


async def words_of_a_backend(scene: Scene) -> None:
    """A backend's own words hold all that no client may read."""
    text = "rpc error: key nvapi-CANARY0123456789abcdef at 10.1.2.3:50051 /opt/canary/model for account 'canary-nca'"
    plan = Plan(faults=(Status(code="UNKNOWN", text=text, at=At(position=0.5), times=2),))
    async with scene.serving(Settings(backends=(await scene.riva(plan),))):
        await scene.talk(2.0)


# ---- clients


async def silent(scene: Scene) -> None:
    settings = Settings(backends=(await scene.riva(),), session=Session(idle_timeout=0.5))
    async with scene.serving(settings), scene.client() as client:
        assert client is not None
        await scene.hear(client)


async def foreign_page(scene: Scene) -> None:
    usual = await scene.usual()
    async with scene.serving(usual), scene.client(origin="https://elsewhere.example") as client:
        assert client is None


async def stranger(scene: Scene) -> None:
    """Nobody knows its key."""
    keys = scene.folder / "keys"
    keys.write_text(new_key("somebody")[1])
    settings = Settings(backends=(NOWHERE,), auth=Auth(mode="keys", keys_file=str(keys)))
    async with scene.serving(settings), scene.client() as client:
        assert client is None


async def told_to_go(scene: Scene) -> None:
    usual = await scene.usual()
    async with scene.serving(usual), scene.client() as client, anyio.create_task_group() as tasks:
        assert client is not None
        await scene.speak(client, 0.5)
        tasks.start_soon(scene.app.tree.stop)
        await scene.hear(client)


async def reads_nothing(scene: Scene) -> None:
    """Pongs fill every buffer on the way to a client who asks for them and reads none."""
    usual = await scene.usual()
    async with scene.serving(usual), scene.client(max_queue=1, max_size=None) as client:
        assert client is not None
        await scene.speak(client, 0.1)
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(45.0):
                while True:
                    await client.send('{"event": "ping"}')
        await scene.hear(client, seconds=5.0)


async def resumes_nothing(scene: Scene) -> None:
    async with scene.serving(await scene.usual()), scene.client() as client:
        assert client is not None
        await client.send('{"event": "start", "resume": {"token": "canary-token", "seq": 0}}')
        await scene.hear(client)


async def twice(scene: Scene) -> None:
    usual = await scene.usual()
    async with scene.serving(usual), scene.client() as one, scene.client() as other:
        assert one is not None
        assert other is not None
        await scene.speak(one, 0.2)
        await scene.hear(one, until=[READY])
        await scene.speak(other, 0.2)
        await scene.hear(other)


async def greedy(scene: Scene) -> None:
    """One address wants more sessions than it may have."""
    limited = msgspec.structs.replace(await scene.usual(), limits=Limits(sessions_per_address=1))
    async with scene.serving(limited), scene.client("s1") as one:
        assert one is not None
        await scene.speak(one, 0.2)
        await scene.hear(one, until=[READY])
        async with scene.client("s2") as other:
            assert other is None


async def taken_over(scene: Scene) -> None:
    usual = await scene.usual()
    async with scene.serving(usual), scene.client() as one, scene.client() as other:
        assert one is not None
        assert other is not None
        await one.send('{"event": "start"}')
        token = msgspec.json.decode(await one.recv())["resume_token"]  # not kept among what was told: a secret
        resume = {"event": "start", "resume": {"token": token, "seq": 0}}
        await other.send(msgspec.json.encode(resume).decode())
        await other.recv()
        await scene.hear(one)


async def kept_too_little(scene: Scene) -> None:
    async with scene.serving(await scene.usual()):
        async with scene.client() as one:
            assert one is not None
            await one.send('{"event": "start"}')
            token = msgspec.json.decode(await one.recv())["resume_token"]
        async with scene.client() as other:
            assert other is not None
            resume = {"token": token, "seq": 0, "oldest": RATE}
            await other.send(msgspec.json.encode({"event": "start", "resume": resume}).decode())
            await other.recv()
            await scene.speak(other, 0.5)
            await other.send('{"event": "stop"}')
            await scene.hear(other)


# ---- backends


async def no_backend(scene: Scene) -> None:
    async with scene.serving(Settings(backends=(NOWHERE,), session=Session(max_sessions=1))), scene.client() as client:
        assert client is not None
        await scene.speak(client, 0.5)
        await scene.hear(client, until=["RIVA_013"])


async def audio_lost(scene: Scene, *, spool: str | None = None) -> None:
    """Live speech that nobody recognises, for longer than is held."""
    session = Session(max_sessions=1, log_seconds=20.0, spool_seconds=0.0 if spool is None else 1.0, spool_dir=spool)
    async with scene.serving(Settings(backends=(NOWHERE,), session=session)), scene.client() as client:
        assert client is not None
        hearing = asyncio.create_task(scene.hear(client, seconds=60.0, until=['"gap"']))
        await scene.speak(client, 23.0)
        hearing.cancel()
        await asyncio.wait([hearing])


async def spool_fails(scene: Scene) -> None:
    folder = scene.folder / "spool"
    folder.mkdir()
    removing = asyncio.get_running_loop().call_later(5.0, folder.rmdir)
    try:
        await audio_lost(scene, spool=str(folder))
    finally:
        removing.cancel()


# ---- the journal


def _kept(scene: Scene, backend: Endpoint, folder: Path, **journal: str) -> Settings:
    kept = Journal(store="sqlite", path=str(folder / "journal.db"), **journal)  # type: ignore[arg-type]
    return Settings(backends=(backend,), server=Server(port=0), admin=Admin(port=0), journal=kept)


async def journal_locked(scene: Scene) -> None:
    settings = _kept(scene, await scene.riva(), scene.folder)
    async with scene.serving(settings, private=False), scene.client() as client:
        assert client is not None
        await scene.speak(client, 0.2)
        await scene.hear(client, until=[READY])
        with closing(sqlite3.connect(scene.folder / "journal.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await _say_all(scene, client, until=["JOURNAL_001"])
            await scene.until_logged("JOURNAL_001")
            other.execute("ROLLBACK")
        await scene.hear(client)


async def journal_full(scene: Scene) -> None:
    disk = scene.folder / "disk"
    disk.mkdir()
    if os.geteuid() or await _run("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(disk)):
        raise Unplayable("needs root, to mount a small disk")
    try:
        settings = _kept(scene, await scene.riva(), disk)
        async with scene.serving(settings, private=False), scene.client() as client:
            assert client is not None
            await scene.speak(client, 0.2)
            await scene.hear(client, until=[READY])
            with (disk / "rubbish").open("wb", buffering=0) as rubbish, suppress(OSError):
                while True:
                    rubbish.write(bytes(4096))
            await _say_all(scene, client, until=["JOURNAL_"])
            await scene.until_logged("JOURNAL_002")
            (disk / "rubbish").unlink()
            await scene.hear(client)
    finally:
        await _run("umount", "--lazy", str(disk))


async def journal_damaged(scene: Scene) -> None:
    """Words that another key had encrypted."""
    backend = await scene.riva()
    for name in ("one", "other"):
        make_key(scene.folder / name)
    token = ""
    for name in ("one", "other"):
        settings = _kept(scene, backend, scene.folder, text="encrypted", key_file=str(scene.folder / name))
        async with scene.serving(settings, private=False), scene.client() as client:
            assert client is not None
            if not token:
                await client.send('{"event": "start"}')
                token = msgspec.json.decode(await client.recv())["resume_token"]
                await scene.speak(client, 2.0, pace=None)
                await client.send('{"event": "finalize"}')
                await scene.hear(client, until=['"is_final":true'])
            else:
                resume = {"event": "start", "resume": {"token": token, "seq": 0}}
                await client.send(msgspec.json.encode(resume).decode())
                await scene.hear(client)


async def _say_all(scene: Scene, client: object, *, until: list[str]) -> None:
    await scene.speak(client, 1.0, pace=None)  # type: ignore[arg-type]
    await client.send('{"event": "stop"}')  # type: ignore[attr-defined]
    await scene.hear(client, until=until)  # type: ignore[arg-type]


async def _run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()


# ---- the server itself


async def defects(scene: Scene) -> None:
    """Every message crashes the session's actor, until its restarts are used up."""
    await injected(scene, "UNKNOWN")


async def no_more_files(scene: Scene) -> None:
    async with scene.serving(await scene.usual()):

        async def opens() -> None:
            raise OSError(24, "Too many open files")

        with suppress(Exception):
            await scene.app.tree.start_child(Child("opens files", opens, restart=Restart.TEMPORARY))
        await asyncio.sleep(0.1)


async def part_gives_up(scene: Scene) -> None:
    async def crash() -> None:
        raise ValueError("a part that crashes whenever it is started")

    part = Supervisor.child("part", [Child("crashes", crash)], intensity=Intensity(2, 10.0), restart=Restart.TEMPORARY)
    async with scene.serving(await scene.usual()):
        await scene.app.tree.start_child(part)
        await asyncio.sleep(0.3)


async def does_not_stop(scene: Scene) -> None:
    over = asyncio.Event()

    async def stays() -> None:
        while not over.is_set():
            with anyio.CancelScope(shield=True):
                await over.wait()

    async with scene.serving(await scene.usual()):
        child = Child("stays", stays, restart=Restart.TEMPORARY, shutdown=0.1)
        await scene.app.tree.start_child(child)
        await asyncio.sleep(0.1)  # it is under way
        await scene.app.tree.terminate_child("stays")
        over.set()


async def stands_still(scene: Scene) -> None:
    async with scene.serving(await scene.usual()):
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().call_soon(time.sleep, 1.5)
        await asyncio.sleep(0.5)


async def not_reloaded(scene: Scene) -> None:
    def load() -> Settings:
        raise SettingsError("server.port: expected an integer")

    settings = Settings(backends=(await scene.riva(),))
    async with scene.serving(settings) as app:
        assert await reload(app, settings, load) is settings


async def worker_lost(scene: Scene) -> None:
    """Its process is killed."""
    settings = Settings(
        backends=(await scene.riva(),),
        server=Server(port=0),
        admin=Admin(port=0),
        journal=Journal(path=str(scene.folder / "journal.db")),
    )
    async with scene.workers(settings, 1) as fleet:
        process = fleet.workers[0].serving
        assert process is not None
        process.kill()
        await scene.until_logged("SYS_007")


async def alert_not_delivered(scene: Scene) -> None:
    """Its sink refuses whatever it is sent."""
    sink = AlertSink(name="refuses", type="webhook", url=f"{scene.sink.url}/", min_severity="info")
    scene.sink.status = 400
    settings = Settings(backends=(NOWHERE,), alerts=Alerts(sinks=(sink,)))
    async with scene.serving(settings):
        await scene.until_logged("ALERT_001")


# ---- all of them

Provocation = Callable[[Scene], Awaitable[None]]
_PROVOKED: Mapping[str, Provocation] = {
    "CONN_002": silent,
    "CONN_004": foreign_page,
    "CONN_006": told_to_go,
    "CONN_007": reads_nothing,
    "CONN_008": resumes_nothing,
    "CONN_009": twice,
    "CONN_010": taken_over,
    "CONN_011": stranger,
    "CONN_012": greedy,
    "RIVA_013": no_backend,
    "RIVA_099": words_of_a_backend,
    "AUDIO_004": audio_lost,
    "AUDIO_006": spool_fails,
    "AUDIO_007": kept_too_little,
    "JOURNAL_001": journal_locked,
    "JOURNAL_002": journal_full,
    "JOURNAL_003": journal_damaged,
    "SYS_001": defects,
    "SYS_002": no_more_files,
    "SYS_003": part_gives_up,
    "SYS_004": does_not_stop,
    "SYS_005": stands_still,
    "SYS_006": not_reloaded,
    "SYS_007": worker_lost,
    "ALERT_001": alert_not_delivered,
}
PROVOCATIONS: Mapping[str, Provocation] = MappingProxyType(
    {code: partial(injected, code=code) for code in OPPORTUNITIES} | dict(_PROVOKED)
)
