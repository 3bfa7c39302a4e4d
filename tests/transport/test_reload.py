"""New settings for a running server: the backends are used, the rest is named, and what is wrong changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from tests.transport.riva_server import RivaServer
from transport.app import App, serving
from transport.client import Client, Done
from transport.layers import SettingsError
from transport.reload import needs_restart, reload
from transport.riva import Endpoint
from transport.settings import Embedded, Log, Server, Session, Settings, load

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
    assert lines(caplog) == ["INFO settings reloaded: backends added new; removed old"]
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
    said = lines(caplog)
    assert len(said) == 3
    assert all(line.startswith("ERROR settings are not reloaded, all goes on as before: ") for line in said)
    assert any("adress" in line and "did you mean address?" in line for line in said)


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
    assert lines(caplog) == [f"ERROR settings are not reloaded, all goes on as before: {problem}"]


async def test_what_needs_a_restart_is_named_and_stays_named(caplog: pytest.LogCaptureFixture) -> None:
    before = Settings(backends=(A,))
    wanted = Settings(backends=(A, B), server=Server(port=1), log=Log(level="debug"))
    async with serving(before, private=True) as app:
        after = await reload(app, before, lambda: wanted)
        assert after == Settings(backends=(A, B))
        await reload(app, after, lambda: wanted)
    named = [
        "WARNING a changed setting needs a restart: server.port",
        "WARNING a changed setting needs a restart: log.level",
    ]
    assert lines(caplog) == named * 2


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        (Settings(backends=(B,)), []),
        (Settings(), ["embedded.enabled"]),  # left open, but now there is no backend
        (Settings(backends=(A,), embedded=Embedded(enabled=True)), ["embedded.enabled"]),
        (Settings(backends=(A,), session=Session(idle_timeout=1.0, max_sessions=3)), None),
    ],
)
async def test_changed_settings_are_told_by_their_paths(wanted: Settings, paths: list[str] | None) -> None:
    expected = paths if paths is not None else ["session.max_sessions", "session.idle_timeout"]
    assert needs_restart(Settings(backends=(A,)), wanted) == expected


def test_a_backend_cannot_have_the_embedded_recognisers_name() -> None:
    named = msgspec.structs.replace(A, name="embedded")
    assert Settings(backends=(named,)).backends == (named,)
    with pytest.raises(ValueError, match="the name 'embedded' is the embedded recogniser's"):
        Settings(backends=(named,), embedded=Embedded(enabled=True))


async def test_the_error_of_a_reload_is_one_for_people() -> None:
    async with serving(Settings(backends=(A,)), private=True) as app:
        with pytest.raises(SettingsError, match="no backends are left"):
            await app.reload(Settings())
