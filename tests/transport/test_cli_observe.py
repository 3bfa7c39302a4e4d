"""`voxtree observe` and `voxtree tree`: of real servers, and of states of any size."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from bench.riva import ScriptedRiva
from supervisor.snapshot import render
from tests.transport.admin.servers import backend, riva_and_server, speaker, until
from tests.transport.admin.states import session, state
from tests.transport.admin.test_access import TOKEN
from transport.admin.state import Check
from transport.app import App, serving
from transport.cli import main as cli
from transport.cli.admin_port import Seen
from transport.cli.observe import CLEAR_BELOW, ENTER, LEAVE, shown
from transport.cli.tree import snapshot
from transport.settings import Admin, Settings

WELL = Seen(0.1, state(2))


def text(seen: Seen, lines: int = 100, width: int = 200) -> str:
    return "\n".join(shown(seen, lines, width))


async def run(app: App, *arguments: str) -> int:
    assert app.admin is not None
    return await asyncio.to_thread(cli.main, [*arguments, "--url", app.admin.url])


# ---- real servers


@pytest.mark.anyio
async def test_a_running_server_is_shown_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    async with riva_and_server() as app, speaker(app, "call-1"):
        await until(app, lambda seen: "call-1" in seen["sessions"])
        assert await run(app, "observe") == 0
        said = capsys.readouterr().out
        assert ": ready\n" in said
        assert "1 of 50 sessions" in said
        assert "call-1   streaming  connected" in said
        assert "riva-a   primary  ready  1/50     closed" in said
        assert await run(app, "observe", "--json") == 0
        seen = json.loads(capsys.readouterr().out)
        assert seen["state"]["sessions"]["call-1"]["state"] == "streaming"


@pytest.mark.anyio
async def test_the_tree_of_a_running_server_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    async with riva_and_server() as app, speaker(app, "call-1"):
        await until(app, lambda seen: "call-1" in seen["sessions"])
        assert await run(app, "tree") == 0
        said = capsys.readouterr().out
        assert said.rstrip("\n") == app.tree.render()
        assert "session:call-1  running  rest_for_one  0/20 restarts in 10 s\n" in said
        assert await run(app, "tree", "--json") == 0
        assert json.loads(capsys.readouterr().out)["path"] == ["voxtree"]


@pytest.mark.anyio
async def test_a_token_is_asked_for_and_a_login_link_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    async with ScriptedRiva() as riva:
        settings = Settings(backends=(backend("riva-a", riva),), admin=Admin(token_file=str(file)))
        async with serving(settings, private=True) as app:
            assert app.admin is not None
            assert await run(app, "observe") == 1
            assert "asks for its token: --set admin.token_file=FILE" in capsys.readouterr().err
            assert await run(app, "observe", "--set", f"admin.token_file={file}") == 0
            capsys.readouterr()
            assert await run(app, "observe", "--login", "--set", f"admin.token_file={file}") == 0
            assert capsys.readouterr().out.startswith(f"{app.admin.url}/login?key=")


@pytest.mark.anyio
async def test_in_a_terminal_it_is_refreshed_until_ctrl_c_which_leaves_the_screen_as_it_was() -> None:
    async with riva_and_server() as app:
        assert app.admin is not None
        seen, code = await asyncio.to_thread(in_terminal, app.admin.url)
    assert seen.startswith(ENTER)
    assert seen.count("voxtree ") >= 2
    assert seen.endswith(LEAVE)
    assert code == cli.INTERRUPTED


def in_terminal(url: str) -> tuple[str, int]:
    """What `voxtree observe` writes until it was refreshed once and interrupted, and its exit code."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "transport.cli.main", "observe", "--url", url]
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    seen = b""
    try:
        while seen.count(CLEAR_BELOW.encode()) < 2:
            seen += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # how a terminal says that nobody is at its other end any more
            while part := os.read(ours, 65536):
                seen += part
        return seen.decode(), process.wait()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


# ---- nobody answers


@pytest.mark.parametrize("command", ["observe", "tree"])
def test_it_says_so_when_no_server_answers(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert cli.main([command, "--set", f"admin.port={port}"]) == 1
    assert capsys.readouterr().err == (
        f"voxtree: no server answers at http://127.0.0.1:{port}: connection refused\n"
        "voxtree: `voxtree serve` starts one; --url names another (its `console` line says which)\n"
    )


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://127.0.0.1", "file:///etc/hostname", "ws://127.0.0.1:8600/transcribe"]
)
def test_an_address_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["observe", "--url", url]) == 2
    assert capsys.readouterr().err == f"voxtree: --url takes http://HOST:PORT, the admin port's address, not {url!r}\n"


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://127.0.0.1:99999999"])
def test_an_address_that_leads_nowhere_is_no_server(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["observe", "--url", url]) == 1
    assert capsys.readouterr().err.startswith("voxtree: no server answers at http:")


# ---- what is shown


def test_the_head_says_how_it_is() -> None:
    assert shown(WELL, 100)[:2] == [
        "voxtree 1.0 on gw-1, up 1 h 1 min: ready",
        "2 of 100 sessions · 1 without client · loop lag 1.0 ms, at most 6 in the last minute",
    ]
    checks = {"backends": Check(well=False, text="0 of 2 work", vital=False)}
    assert "degraded (backends: 0 of 2 work)" in text(Seen(0.1, state(checks=checks)))
    checks["journal"] = Check(well=False, text="cannot be written")
    assert "NOT READY (backends: 0 of 2 work, journal: cannot be written)" in text(Seen(0.1, state(checks=checks)))
    assert "THE EVENT LOOP STANDS STILL since 7 s" in text(Seen(7.2, state()))


def test_backends_and_errors_are_tables() -> None:
    said = text(WELL)
    assert "BACKEND  tier      state  streams  breaker                last error\n" in said
    assert "riva-b   fallback  down   0/300    open, streams in 12 s  RIVA_005 4 s ago\n" in said
    assert "RIVA_005  ERROR        41  4 s ago  Look at the backend's log." in said


def test_sessions_in_trouble_come_first_and_what_has_no_room_is_counted() -> None:
    lines = shown(Seen(0.1, state(1000)), 30)
    assert len(lines) <= 31
    (head,) = [index for index, line in enumerate(lines) if line.startswith("SESSION")]
    assert "delayed" in lines[head + 1]
    assert lines[-1].startswith("… 9")


def test_nothing_that_a_backend_says_moves_the_cursor() -> None:
    errors = {"RIVA_005": msgspec.structs.replace(state().errors["RIVA_005"], remedy="\x1b[2J\nfoo")}
    assert "\\x1b[2J\\nfoo" in text(Seen(0.1, state(errors=errors)))


def test_lines_are_no_longer_than_the_terminal_is_wide() -> None:
    assert max(map(len, shown(Seen(0.1, state(50)), 40, 60))) == 60


def test_a_tree_can_be_made_of_a_state_again() -> None:
    lines = render(snapshot(state(2))).splitlines()
    assert lines == [
        "voxtree  running  one_for_one  0/10 restarts in 10 s",
        "├─ journal  running",
        "├─ backends  running  one_for_one  0/10 restarts in 10 s",
        "│  └─ questions  running  #2  last: crashed, OSError('no')",
        "├─ sessions  running  dynamic  0/1 restarts in 5 s",
        "│  ├─ session:call-0000  running  rest_for_one  0/20 restarts in 10 s",
        "│  │  ├─ session  running",
        "│  │  └─ recogniser  running",
        "│  └─ session:call-0001  running  rest_for_one  0/20 restarts in 10 s",
        "│     ├─ session  running",
        f"│     └─ recogniser  running  #2  last: {session(1).parts['recogniser'].last_exit}",
        "└─ front door  running",
    ]
