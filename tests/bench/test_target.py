"""An endpoint is struck only by consent, and what cannot be measured is told so that one knows what to do."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.faults.players import backend
from bench.faults.stage import Stage
from bench.load.ground import server, stand_in
from bench.riva import Plan
from bench.rounds import ROOT
from bench.target import add_arguments
from bench.target.caller import Caller
from bench.target.consent import Consent, consent
from bench.target.outcome import outcome
from bench.target.probe import Unusable, probe, require_scripted
from bench.target.speech import RATE, Script
from transport.expected import ExpectedError


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


URL = "ws://127.0.0.1:1/transcribe"


@pytest.mark.parametrize(
    ("host", "yes", "interactive", "expected"),
    [
        ("speech.example.com", True, False, Consent.GIVEN),
        ("speech.example.com", False, True, Consent.ASK),
        ("speech.example.com", False, False, Consent.REFUSED),
        ("10.0.0.1", False, False, Consent.REFUSED),
        ("127.0.0.1", False, True, Consent.ASK),
        ("127.0.0.2", False, False, Consent.GIVEN),
        ("::1", False, False, Consent.GIVEN),
        ("localhost", False, False, Consent.GIVEN),
        ("localhost.example.com", False, False, Consent.REFUSED),
    ],
)
def test_another_machine_is_no_target_unless_somebody_said_so(
    host: str, yes: bool, interactive: bool, expected: Consent
) -> None:
    assert consent(host, yes=yes, interactive=interactive) is expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--url", "https://host/transcribe"], "expected ws://HOST"),
        (["--url", "wss:///transcribe"], "expected ws://HOST"),
        (["--url", URL, "--sessions", "101"], "expected a number from 1 to 100"),
        (["--url", URL, "--seconds", "0"], "expected a number from 1 to 120"),
        ([], "--url"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    assert complaint in capsys.readouterr().err


def test_clients_say_words_of_their_own_that_count_only_where_they_are_recognised() -> None:
    script = Script(3.0, counted=True)
    one, other = script.next(), script.next()
    assert one.coded is not None
    assert one.pcm != other.pcm
    assert b"".join(one.chunks()) == one.pcm
    assert abs(one.seconds - 3.0) < 1.0
    assert Script(3.0).next().coded is None


def test_a_recording_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "speech.wav").write_bytes(b"not a recording")
    with pytest.raises(ExpectedError, match=r"speech\.wav"):
        Script(3.0, tmp_path / "speech.wav")


def caller(**changes: object) -> Caller:
    """One of a script's clients, which has said all and was told nothing."""
    one = Caller(URL, None, Script(1.0, counted=True).next())
    one.opened, one.position = 0.01, round(one.spoken.seconds * RATE)
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def test_lost_words_fail_and_a_refusal_with_a_time_to_come_back_does_not() -> None:
    refused = {"failure": "CONN_005", "opened": None}
    assert outcome("a burst", [caller(**refused, retry_after=2.0)]).verdict == "holds"
    assert outcome("a burst", [caller(**refused)]).verdict == "FAILS: CONN_005 × 1"
    silent = outcome("undisturbed", [caller()])
    assert silent.verdict == f"FAILS: {silent.sent} words lost"
    assert "holds" in str(outcome("undisturbed", [caller(ledger=None)]))
    assert outcome("undisturbed", [caller(ledger=None, gaps=1)]).verdict == "FAILS: 1 gaps"


# ---- what is not there


@asynccontextmanager
async def answering(*lines: str) -> AsyncGenerator[str, None]:
    """A server that answers every request so; its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write("\r\n".join([*lines, "Content-Length: 0", "Connection: close", "", ""]).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        yield f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/transcribe"


@pytest.mark.parametrize(
    ("lines", "key", "complaint"),
    [
        (["HTTP/1.1 401 Unauthorized"], None, "--key"),
        (["HTTP/1.1 401 Unauthorized"], "vt_wrong", "does not take this key"),
        (["HTTP/1.1 503 Service Unavailable", "Retry-After: 3"], None, "is full.*come back in 3 s"),
        (["HTTP/1.1 404 Not Found"], None, "path end with /transcribe"),
        (["SSH-2.0-OpenSSH_9.2"], None, "does not take WebSockets"),
    ],
)
async def test_whoever_does_not_let_us_in_is_understood(lines: list[str], key: str | None, complaint: str) -> None:
    async with answering(*lines) as url:
        with pytest.raises(Unusable, match=complaint):
            await probe(url, key)


async def test_nobody_there_is_told_from_somebody_else() -> None:
    with pytest.raises(Unusable, match="nobody answers at"):
        await probe(URL, None)

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0) as other:
        url = f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/transcribe"
        with pytest.raises(Unusable, match=r"does not speak voxtree\.v1"):
            await probe(url, None)


@pytest.mark.slow
async def test_a_riva_that_is_not_the_scripted_one_counts_no_words() -> None:
    async with stand_in() as (port, _), server(port, 2) as voxtree:
        await probe(voxtree.url, None)
        with pytest.raises(Unusable, match="is not the scripted one"):
            await require_scripted(f"127.0.0.1:{port}")
    with pytest.raises(Unusable, match="no Riva answers"):
        await require_scripted("127.0.0.1:1")


# ---- what is


@pytest.mark.slow
async def test_an_endpoint_of_ours_is_struck_and_loses_no_word(tmp_path: Path) -> None:
    async with Stage(6, 10, tmp_path, lambda line: None) as stage:
        (riva,) = await stage.rivas(Plan())
        voxtree = await stage.voxtree(backend("primary", riva.port, max_streams=40))
        options = ["--riva", f"127.0.0.1:{riva.port}", "--sessions", "2", "--seconds", "2", "--key", "vt_secret"]
        target = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench", "target", "--url", voxtree.url, *options),
            *("--yes", "--json", str(tmp_path / "it.json")),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        shown, _ = await target.communicate()

    written = (tmp_path / "it.json").read_text()
    outcomes = json.loads(written)["outcomes"]
    assert (target.returncode, [one["lost"] for one in outcomes]) == (0, [0] * 5), shown.decode()
    assert next(one["resumed"] for one in outcomes if one["what"] == "dropped connections") >= 2
    assert all(one["sent"] > 0 for one in outcomes)
    assert "vt_secret" not in written
