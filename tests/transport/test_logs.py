"""What a server logs: one line an event, with a stable name, in three formats, whatever a text holds."""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeGuard

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from actors.speech.backends.events import PoolEvent
from actors.speech.reports import Ending, SessionEnded, SessionOpened
from bench.riva import CodedSpeech, ScriptedRiva
from supervisor.logs import LEVELS
from supervisor.names import event_name
from tests.docs.examples import ROOT
from transport.app import serving
from transport.logs import _SESSION_TEXTS, EcsFormatter, JsonFormatter, Logging, TextFormatter
from transport.riva.channel import Endpoint
from transport.settings import Settings

pytestmark = pytest.mark.anyio

LOGGING = ("debug", "info", "warning", "error", "critical", "exception", "log")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def record(text: str, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("voxtree.errors", logging.ERROR, __file__, 1, text, None, None)
    vars(made).update(facts)
    return made


ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\n\r\x1b\x85\u2028\u2029\u202e\u2066\x00\ud800"))


@given(ANY_TEXT, ANY_TEXT)
def test_no_text_makes_a_second_line_or_hides_its_end(text: str, session: str) -> None:
    for formatter in (TextFormatter(), JsonFormatter(), EcsFormatter()):
        line = formatter.format(record(text.replace("%", "%%"), session=session, event="error"))
        assert len(line.splitlines()) == 1
        assert line.isprintable()
        if not isinstance(formatter, TextFormatter):
            assert session in json.loads(line).values()


@given(ANY_TEXT)
def test_no_error_looks_like_a_line_of_the_log(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    first, *traceback = TextFormatter().format(made).splitlines()
    assert first.endswith("ERROR    voxtree.errors: failed")
    assert all(line.startswith("    ") and line.isprintable() for line in traceback)
    for formatter in (JsonFormatter(), EcsFormatter()):
        line = formatter.format(made)
        assert len(line.splitlines()) == 1
        assert line.isprintable()


def test_a_line_has_its_event_and_its_fields() -> None:
    made = record("lost", event="error", code="RIVA_005", session="s1")
    line = json.loads(JsonFormatter().format(made))
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "error", "logger": "voxtree.errors", "event": "error", "msg": "lost", "code": "RIVA_005",
        "session": "s1",
    }  # fmt: skip
    assert json.loads(EcsFormatter().format(made)).keys() == {
        "@timestamp", "log.level", "log.logger", "event.action", "message", "error.code", "labels.session",
        "ecs.version",
    }  # fmt: skip
    assert json.loads(JsonFormatter().format(record("of another library")))["event"] == "log"


def test_a_difference_of_two_clocks_is_told_in_microseconds() -> None:
    made = record("ended", event="session.ended", age=16.856000000000222)
    assert TextFormatter().format(made).endswith("ended age=16.856")
    assert json.loads(JsonFormatter().format(made))["age"] == 16.856


def test_a_sessions_life_is_logged_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logs = Logging()
    logs.session(SessionOpened(session="s1", epoch=3))
    logs.session(SessionEnded(session="s1", ending=Ending.COMPLETED, code=None, age=12.34, audio=10.0))
    assert [(each.getMessage(), vars(each)["event"]) for each in caplog.records] == [
        ("session s1 is open", "session.opened"),
        ("session s1 has ended: completed, 12.3 s, 10.0 s of audio", "session.ended"),
    ]


HERE = ("127.0.0.77", 0)  # whose address is in no line


async def speak(dial: Callable[..., connect], url: str) -> list[str]:
    """A client that speaks, is cut off, comes back and stops; what nobody else may know of that."""
    secrets = []
    speech = CodedSpeech(words=8, tag=7)
    async with dial(subprotocols=["voxtree.v1", "bearer.canary"], origin=url) as client:
        await client.send('{"event": "start"}')
        secrets.append(json.loads(await client.recv())["resume_token"])
        for position in range(0, speech.samples, 8000):
            audio = base64.b64encode(speech.read(position, 8000)).decode()
            secrets.append(audio[1000:1040])
            await client.send(json.dumps({"event": "audio", "data": audio}))
        await client.send('{"event": "audio", "data": "canary?"}')
        await client.send('{"event": "finalize"}')
        while "w7t7" not in str(await client.recv()):
            pass
        client.transport.abort()
    async with dial() as client:
        await client.send(json.dumps({"event": "start", "resume": {"token": secrets[0], "seq": 0}}))
        secrets.append(json.loads(await client.recv())["resume_token"])
        await client.send('{"event": "stop"}')
        while '"done"' not in str(await client.recv()):
            pass
    return secrets


async def test_no_line_at_any_level_tells_what_was_said_or_by_whom(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    silent = logging.Logger("the client's own")
    async with ScriptedRiva() as riva:
        settings = Settings(backends=(Endpoint(name="riva", address=riva.address),))
        async with serving(settings, private=True) as app:
            dial = partial(connect, f"{app.url}/s1", local_addr=HERE, logger=silent, compression=None)
            secrets = await speak(dial, app.url.replace("ws:", "http:"))
            host, port = app.url.split("/")[2].split(":")
            reader, writer = await asyncio.open_connection(host, port, local_addr=HERE)
            writer.write(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
            await reader.read()
            writer.close()
    formatters = (TextFormatter(), JsonFormatter(), EcsFormatter())
    log = "\n".join(formatter.format(each) for each in caplog.records for formatter in formatters)
    life = {"session.opened", "session.left", "session.resumed", "session.ended", "websocket.refused", "error"}
    assert life <= {vars(each).get("event") for each in caplog.records}
    assert [secret for secret in (*secrets, HERE[0], "canary") if secret in log] == []
    assert re.findall(r"w\d+t7", log) == []


def test_what_is_held_back_is_said_when_the_process_ends() -> None:
    program = """
import logging
from transport.logs import configure
from transport.settings import Log
configure(Log())
for number in range(4):
    logging.getLogger("voxtree.errors").error("number %d", number, extra={"code": "RIVA_005"})
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    first, last = done.stderr.splitlines()
    assert first.endswith("ERROR    voxtree.errors: number 0 code=RIVA_005")
    assert "voxtree.errors: number 3 [the last of 3 like this in 0 s] code=RIVA_005" in last


def test_the_page_lists_every_event_there_is() -> None:
    tree = {f"tree.{re.sub(r'(?<!^)(?=[A-Z])', '_', kind.__name__).lower()}" for kind in LEVELS}
    backends = {f"backend.{event_name(kind).removeprefix('backend_')}" for kind in PoolEvent.__args__}
    sessions = {f"session.{event_name(kind).removeprefix('session_')}" for kind in _SESSION_TEXTS}
    written = {
        name
        for package in ("actors", "transport", "supervisor")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r'"event"(?:: |\] = )"([a-z_.]+)"', path.read_text(encoding="utf-8"))
    }
    listed = set(re.findall(r"`((?:[a-z_]+\.)?[a-z_]+)`", OPERATIONS.partition("### Events")[2].partition("\n## ")[0]))
    written -= {"event.action"}  # what ECS calls it
    assert tree | backends | sessions | written <= listed


def test_every_line_has_an_event() -> None:
    lacking = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for package in ("actors", "transport", "supervisor")
        for path in (ROOT / package).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _is_line(call) and not any(_has_event(each.value) for each in call.keywords if each.arg == "extra")
    ]
    assert lacking == []


def _is_line(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether it is `logger.warning(…)` or the like."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(logger) | ast.Attribute(attr=logger), attr=method)):
            return logger.endswith(("logger", "_log")) and method in LOGGING
    return False


def _has_event(extra: ast.expr) -> bool:
    """Whether it is a dict with an event; what is put together elsewhere is looked at by what comes of it."""
    return not isinstance(extra, ast.Dict) or any(
        isinstance(k, ast.Constant) and k.value == "event" for k in extra.keys
    )
