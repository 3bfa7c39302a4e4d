"""The files that browsers are given, and how."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from asyncio import to_thread
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.transport.web.stage import house
from transport.settings import Server
from transport.web import site
from transport.web.__main__ import CLIENT, renewed

pytestmark = pytest.mark.anyio
FOLDER = CLIENT.parent
MOST_BYTES = 25 * 1024  # of the client, as it travels
TSC = shutil.which("tsc")
CHECKS = ("--allowJs", "--checkJs", "--strict", "--noEmit", "--target", "es2022", "--module", "esnext")
MORE_CHECKS = ("--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Got(NamedTuple):
    status: int
    headers: Message
    body: bytes


def get(url: str, **headers: str) -> Got:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return Got(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Got(error.code, error.headers, error.read())


async def test_each_file_is_served_as_what_it_is() -> None:
    async with house() as (_, proxy):
        base = f"http://127.0.0.1:{proxy.port}"
        for path, file in site().items():
            got = await to_thread(get, base + path)
            assert (got.status, got.body) == (200, file.body)
            assert got.headers["Content-Type"] == file.headers["Content-Type"]
            assert got.headers["X-Content-Type-Options"] == "nosniff"
            again = await to_thread(get, base + path, **{"If-None-Match": got.headers["ETag"]})
            assert (again.status, again.body) == (304, b"")
        page = await to_thread(get, f"{base}/")
        assert "script-src 'self' blob:;" in page.headers["Content-Security-Policy"]
        assert page.headers["Access-Control-Allow-Origin"] is None
        assert (await to_thread(get, f"{base}/client.js")).headers["Access-Control-Allow-Origin"] == "*"
        assert (await to_thread(get, f"{base}/client.js?v=1")).status == 200
        assert (await to_thread(get, f"{base}/__init__.py")).status == 404


async def test_a_server_without_the_page_has_none_of_it() -> None:
    async with house(server=Server(page=False)) as (_, proxy):
        for path in site():
            status = 426 if path == "/" else 404  # where vosk's clients find their WebSocket
            assert (await to_thread(get, f"http://127.0.0.1:{proxy.port}{path}")).status == status


def test_the_clients_table_is_the_catalogue() -> None:
    client = CLIENT.read_text()
    assert client == renewed(client), "python -m transport.web writes it anew"


def test_the_client_is_small() -> None:
    assert len(gzip.compress(CLIENT.read_bytes(), 9)) <= MOST_BYTES


def test_the_package_names_what_there_is() -> None:
    package = json.loads((FOLDER / "package.json").read_text())
    assert all((FOLDER / name).is_file() for name in package["files"])
    assert package["exports"]["."] == {"types": "./client.d.ts", "default": "./client.js"}


@pytest.mark.slow
@pytest.mark.skipif(TSC is None, reason="TypeScript is not installed (npm install --global typescript)")
def test_the_types_are_those_of_the_module(tmp_path: Path) -> None:
    assert TSC is not None
    (tmp_path / "made").mkdir()
    shutil.copy(CLIENT, tmp_path / "made" / "client.js")
    shutil.copy(FOLDER / "client.d.ts", tmp_path / "client.d.ts")
    (tmp_path / "uses.ts").write_text(
        """import { VoxtreeError, VoxtreeSession, decodeAudio, type Final } from "./client";
        import * as declared from "./client";
        import * as made from "./made/client.js";
        export const same: typeof declared = made;
        export async function listen(url: string, show: (final: Final) => void): Promise<string> {
            const session = new VoxtreeSession({ url, getToken: async ({ refresh }) => (refresh ? "b" : "a") });
            const off: () => void = session.on("final", show);
            session.on("level", (level) => level.toFixed(1));
            session.on("problem", (problem) => problem?.action satisfies string | undefined);
            try {
                await session.start({ microphone: false });
                await session.send(await decodeAudio(new ArrayBuffer(0)));
            } catch (error) {
                if (error instanceof VoxtreeError && error.action === "fix_config") return error.message;
            }
            off();
            return session.state;
        }
        // @ts-expect-error there is no such event
        new VoxtreeSession({ url: "" }).on("word", () => {});
        """
    )
    done = subprocess.run(
        [TSC, *CHECKS, *MORE_CHECKS, str(tmp_path / "uses.ts")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == ""
