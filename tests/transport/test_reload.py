"""New settings for a running server: the backends are used, the rest is named, and what is wrong changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.transport.riva_server import RivaServer
from transport.app import App, serving
from transport.client import Client, Done, SessionFailed
from transport.layers import SettingsError
from transport.logs import configure
from transport.reload import needs_restart, reload
from transport.riva import Endpoint
from transport.settings import Cache, Embedded, Log, Server, Session, Settings, load

pytestmark = pytest.mark.anyio

A, B = Endpoint(name="a", address="127.0.0.1:1"), Endpoint(name="b", address="127.0.0.1:2")


def lines(caplog: pytest.LogCaptureFixture, logger: str = "voxtree.settings") -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == logger]


def backends(app: App) -> list[str]:
    return [state.name for state in app.pool.snapshot().backends]


async def test_backends_are_exchanged_while_a_session_speaks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with RivaServer() as old, RivaServer() as new:
        before = Settings(backends=(old.endpoint(name="old"),))
        wanted = Settings(backends=(new.endpoint(name="new"),))
        async with serving(before, private=True) as app, Client(app.url).session() as session:
            await session.send(bytes(3200))
            await old.busy.wait()
            assert await reload(app, before, lambda: wanted) == wanted
            await session.send(bytes(3200))
            session.stop()
            assert isinstance([event async for event in session][-1], Done)
            assert old.audio() == bytes(6400)
            async with Client(app.url).session() as session:
                await session.send(bytes(3200))
                await new.busy.wait()
    assert lines(caplog) == ["INFO settings reloaded: backends added new; backends removed old"]
    assert [line for line in lines(caplog, "voxtree.backends") if "old" in line] == [
        "INFO backend old works",
        "INFO backend old gets no new streams",
        "INFO backend old has no streams left",
    ]


async def test_settings_that_are_wrong_change_nothing(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    before = Settings(backends=(A, B))
    file = tmp_path / "voxtree.toml"
    file.write_text("[[backends]]\nname = 'a'\nadress = 'c:1'\n\n[server]\nport = -1\n")
    async with serving(before, private=True) as app:
        assert await reload(app, before, lambda: load(file, environ={}).settings) == before
        assert backends(app) == ["a", "b"]
        assert app.registry.get_sample_value("voxtree_config_last_reload_successful") == 0
    (said,) = [line for line in lines(caplog, "voxtree.errors") if "SYS_006" in line]
    assert said.startswith("ERROR settings: SYS_006 SYS_NOT_RELOADED: all goes on as before: ")
    assert "did you mean address?" in said
    assert "port" in said


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (Settings(), "no backends are left, and the embedded recogniser does not run: that needs a restart"),
        (
            Settings(backends=(msgspec.structs.replace(A, tls=True, ca_file="/nowhere/ca.pem"), B)),
            "endpoint 'a': ca_file (/nowhere/ca.pem) cannot be used: No such file or directory",
        ),
    ],
)
async def test_settings_that_only_a_running_server_finds_unusable_change_nothing(
    wanted: Settings, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = Settings(backends=(A, B))
    async with serving(before, private=True) as app:
        assert await reload(app, before, lambda: wanted) == before
        assert backends(app) == ["a", "b"]
    assert [line for line in lines(caplog, "voxtree.errors") if "SYS_006" in line] == [
        f"ERROR settings: SYS_006 SYS_NOT_RELOADED: all goes on as before: {problem}"
    ]


async def test_what_needs_a_restart_is_named_and_stays_named(caplog: pytest.LogCaptureFixture) -> None:
    before = Settings(backends=(A,))
    wanted = Settings(backends=(A, B), server=Server(port=1), cache=Cache(enabled=True))
    async with serving(before, private=True) as app:
        after = await reload(app, before, lambda: wanted)
        assert after == Settings(backends=(A, B))
        await reload(app, after, lambda: wanted)
    named = [
        "WARNING a changed setting needs a restart: server.port",
        "WARNING a changed setting needs a restart: cache.enabled",
    ]
    assert lines(caplog) == named * 2


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        (Settings(backends=(B,)), []),
        (Settings(), ["embedded.enabled"]),  # left open, but now there is no backend
        (Settings(backends=(A,), embedded=Embedded(enabled=True)), ["embedded.enabled"]),
        (Settings(backends=(A,), session=Session(log_seconds=20.0, max_sessions=3)), ["session.log_seconds"]),
        (Settings(backends=(A,), server=Server(origins=("*",))), []),
    ],
)
async def test_changed_settings_are_told_by_their_paths(wanted: Settings, paths: list[str]) -> None:
    assert needs_restart(Settings(backends=(A,)), wanted) == paths


async def test_limits_and_origins_hold_for_whoever_connects_next() -> None:
    before = Settings(backends=(A,), session=Session(max_sessions=1))
    wanted = Settings(
        backends=(A,), server=Server(origins=("https://a.example",)), session=Session(max_sessions=2, idle_timeout=5.0)
    )
    async with serving(before, private=True) as app, Client(app.url).session() as first:
        with pytest.raises(SessionFailed, match="busy"):
            async with Client(app.url).session():
                pass
        with pytest.raises(InvalidStatus):
            await connect(app.url, origin=Origin("https://a.example"))
        assert await reload(app, before, lambda: wanted) == wanted
        async with Client(app.url).session() as second, connect(app.url, origin=Origin("https://a.example")):
            assert (first.id, second.id) != ("", "")
            assert len(app.sessions) == 2


async def test_the_limits_of_a_session_are_those_of_when_it_began() -> None:
    before = Settings(backends=(A,))
    session = Session(idle_timeout=5.0, max_chunk_bytes=640, resume_window=7.0)
    wanted = Settings(backends=(A,), session=session)

    async def limits(url: str) -> tuple[int, int]:
        async with connect(url) as client:
            await client.send('{"event": "start"}')
            told = json.loads(await client.recv())["limits"]
            return told["max_chunk_bytes"], told["idle_timeout_ms"]

    async with serving(before, private=True) as app, Client(app.url).session():
        (first,) = app.sessions.live()
        assert await reload(app, before, lambda: wanted) == wanted
        assert await limits(app.url) == (640, 5000)
        windows = {each.record.window for each in app.sessions.live()}
        assert first.record.window == 60.0
        assert windows == {60.0, 7.0}


@contextmanager
def configured(log: Log) -> Iterator[None]:
    """The root logger as a server has it, and afterwards as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure(log)
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


async def test_the_log_has_its_new_level_and_format_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = Settings(backends=(A,), log=Log(level="warning"))
    wanted = Settings(backends=(A,), log=Log(level="info", format="ecs"))
    with configured(before.log):
        async with serving(before, private=True) as app:
            assert await reload(app, before, lambda: wanted) == wanted
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert ("settings.reloaded", "settings reloaded: log.level; log.format") in [
        (line["event.action"], line["message"]) for line in said
    ]


async def test_a_session_does_not_notice_settings_that_are_wrong() -> None:
    def wrong() -> Settings:
        raise SettingsError("server.port: expected an integer")

    async with RivaServer() as riva:
        settings = Settings(backends=(riva.endpoint(),))
        async with serving(settings, private=True) as app, Client(app.url).session() as session:
            await session.send(bytes(3200))
            await riva.busy.wait()
            assert await reload(app, settings, wrong) is settings
            await session.send(bytes(3200))
            session.stop()
            assert isinstance([event async for event in session][-1], Done)
            assert riva.audio() == bytes(6400)


async def test_a_defect_met_at_a_reload_ends_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def defect() -> Settings:
        raise RuntimeError("a defect")

    settings = Settings(backends=(A,))
    async with serving(settings, private=True) as app:
        assert await reload(app, settings, defect) is settings
        assert app.registry.get_sample_value("voxtree_config_last_reload_successful") == 0
    assert "CRITICAL settings: UNKNOWN UNKNOWN: RuntimeError('a defect')" in lines(caplog, "voxtree.errors")


def test_a_backend_cannot_have_the_embedded_recognisers_name() -> None:
    named = msgspec.structs.replace(A, name="embedded")
    assert Settings(backends=(named,)).backends == (named,)
    with pytest.raises(ValueError, match="the name 'embedded' is the embedded recogniser's"):
        Settings(backends=(named,), embedded=Embedded(enabled=True))


async def test_the_error_of_a_reload_is_one_for_people() -> None:
    async with serving(Settings(backends=(A,)), private=True) as app:
        with pytest.raises(SettingsError, match="no backends are left"):
            await app.reload(Settings())
