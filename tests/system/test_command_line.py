"""The commands as a user runs them: processes, output, exit codes, signals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.system.speaking import PCM, RATE, SAID, chunks, converse, finals, words
from transport.cli.recording import RECORDING, SENTENCES
from transport.client import Ack, Client, ConnectionLost, GoingAway, SpeechEvent

VOXTREE = [sys.executable, "-m", "transport.cli.main"]
TIMEOUT = 60  # seconds for a command that should take a few; only a hang gets there


def voxtree(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VOXTREE, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT)


@asynccontextmanager
async def server(*arguments: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, str], None]:
    """`voxtree serve` as a process, and its URL."""
    process = await asyncio.create_subprocess_exec(
        *VOXTREE,
        "serve",
        "--port",
        "0",
        "--set",
        "admin.port=0",
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a process group of its own, which a terminal's Ctrl-C would reach as a whole
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        match = re.search(r"ws://\S+", line)
        assert match, (line, await process.stderr.read() if process.stderr else b"")
        yield process, match[0]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def test_the_demo_loses_no_word_although_its_recogniser_is_killed() -> None:
    done = voxtree("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9" in done.stdout
    assert f"All {len(SAID)} words are there, each once" in done.stdout
    assert words(done.stdout.partition("The complete transcript:")[2])[: len(SAID)] == SAID
    assert done.stderr == ""


def test_transcribe_prints_the_words() -> None:
    done = voxtree("transcribe", RECORDING)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == list(SENTENCES)


def test_transcribe_gives_json_with_word_times() -> None:
    document = json.loads(voxtree("transcribe", RECORDING, "--json").stdout)
    assert words(document["text"]) == SAID
    assert document["duration"] == pytest.approx(len(PCM) / 2 / RATE, abs=0.01)
    first = document["segments"][0]
    assert first["words"][0]["text"] == first["text"].split()[0]
    assert 0 <= first["words"][0]["start_ms"] < first["words"][0]["end_ms"]


def test_transcribe_gives_subtitles() -> None:
    cues = voxtree("transcribe", RECORDING, "--srt").stdout.strip().split("\n\n")
    assert len(cues) == len(SENTENCES)
    number, times, text = cues[0].split("\n")
    assert (number, text) == ("1", SENTENCES[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}", times)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such file or directory"),
        (b"", "the file is empty"),
        (b"hello, this is no audio at all", "not a WAV file"),
        (b"\x1aE\xdf\xa3" + bytes(100), "WebM"),
        (RECORDING.read_bytes()[:30], "ends inside its WAV header"),
        (RECORDING.read_bytes()[:44], "holds no audio"),
    ],
)
def test_a_file_that_is_no_speech_gets_one_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "speech.wav"
    if content is not None:
        file.write_bytes(content)
    done = voxtree("transcribe", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"voxtree: {file}: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_cut_short_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "cut.wav"
    file.write_bytes(RECORDING.read_bytes()[: 44 + 2 * 4 * RATE])
    done = voxtree("transcribe", file)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == SENTENCES[0]
    assert "cut short" in done.stderr


def test_a_server_that_is_not_there_gets_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/transcribe"
        done = voxtree("transcribe", RECORDING, "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"voxtree: no voxtree server answers at {url}")
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_gets_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = voxtree("serve", "--port", taken.getsockname()[1], "--set", "admin.port=0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "address already in use" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_gets_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "voxtree.toml"
    config.write_text("[server]\nprot = 9000\n")
    done = voxtree("serve", "--config", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert "server.prot" in done.stderr
    assert "port" in done.stderr
    assert done.stderr.count("\n") == 1


async def test_a_server_that_injects_errors_says_so_before_anything_else_happens() -> None:
    async with server("--inject", "RIVA_005:0.01,AUDIO_003:0.5", "--set", "inject.seed=1") as (process, _):
        assert process.stdout is not None
        lines = [(await process.stdout.readline()).decode() for _ in range(4)]
    assert lines[1].startswith("journal        sqlite: what is kept survives the process; ")
    assert lines[3] == (
        "INJECTED       AUDIO_003 at 0.5 for each message of a client that holds audio,"
        " RIVA_005 at 0.01 for each second of audio that a backend is sent\n"
    )


async def test_a_servers_metrics_have_no_series_about_when_each_counter_began() -> None:
    async with server() as (process, _):
        assert process.stdout is not None
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        address = lines[2].split()[1].removesuffix("/console") + "/metrics"
        with await asyncio.to_thread(urlopen, address, timeout=TIMEOUT) as answer:
            text = answer.read().decode()
    assert 'transcription_errors_total{error_code="SYS_003",severity="CRITICAL"} 0.0' in text
    assert "_created" not in text


async def test_a_server_says_where_its_console_is() -> None:
    async with server() as (process, _):
        assert process.stdout is not None
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        name, address = lines[2].split()
        assert name == "console"
        observed = await asyncio.to_thread(voxtree, "observe", "--json", "--url", address.removesuffix("/console"))
    assert json.loads(observed.stdout)["state"]["about"]["pid"] == process.pid


def test_an_error_that_cannot_be_injected_gets_one_sentence() -> None:
    done = voxtree("serve", "--inject", "RIVA_013:0.5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("voxtree: --inject: inject: 'RIVA_013' cannot be injected; allowed are CONN_001, ")
    assert done.stderr.count("\n") == 1


async def test_a_server_whose_output_nobody_reads_any_more_stops_all_the_same() -> None:
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *VOXTREE,
        "serve",
        "--port",
        "0",
        "--set",
        "admin.port=0",
        stdout=subprocess.PIPE,
        stderr=write,
        start_new_session=True,
    )
    os.close(write)
    try:
        assert process.stdout is not None
        while b"try this" not in await process.stdout.readline():
            assert process.returncode is None
        os.close(read)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_a_signal_lets_a_session_have_its_last_words(number: signal.Signals) -> None:
    async with server() as (process, url), Client(url, give_up_after=0.5).session(sample_rate=RATE) as session:
        heard: list[SpeechEvent] = []
        for chunk in chunks(PCM[: 2 * 4 * RATE]):
            await session.send(chunk)

        async def listen() -> None:
            signalled = False
            async for event in session:
                heard.append(event)
                if isinstance(event, Ack) and event.received == 4 * RATE and not signalled:
                    signalled = True
                    os.killpg(process.pid, number)

        with pytest.raises(ConnectionLost):  # there is no next server
            await listen()
        assert any(isinstance(event, GoingAway) for event in heard)
        assert words(*finals(heard))[: len(words(SENTENCES[0]))] == words(SENTENCES[0])
        async with asyncio.timeout(TIMEOUT):
            assert await process.wait() == 0


async def test_a_hangup_reads_the_settings_again_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "voxtree.toml"
    a, b = (f"[[backends]]\nname = '{name}'\naddress = '127.0.0.1:1'\n" for name in "ab")
    config.write_text(a)
    async with server("--config", str(config)) as (process, _):
        for text, answer in (
            ("[[backends]", "SYS_006 SYS_NOT_RELOADED: all goes on as before: "),
            (b, "settings reloaded: backends added b; backends removed a"),
            (b + "[log]\nlevel = 'debug'\n[cache]\nttl = 1\n", "a changed setting needs a restart: cache.ttl"),
        ):
            config.write_text(text)
            process.send_signal(signal.SIGHUP)
            await said(process, answer)
        process.terminate()
        async with asyncio.timeout(TIMEOUT):
            assert await process.wait() == 0


async def said(process: asyncio.subprocess.Process, text: str) -> None:
    """Wait until the process has logged something."""
    assert process.stderr is not None
    async with asyncio.timeout(TIMEOUT):
        while text not in (line := (await process.stderr.readline()).decode()):
            assert line, "the process ended"


async def test_a_killed_server_leaves_no_recogniser_behind() -> None:
    async with server() as (process, url):
        await converse(url)
        (child,) = children(process.pid)
        process.kill()
        await process.wait()
        for _ in range(600):
            if not alive(child):
                return
            await asyncio.sleep(0.02)
    raise AssertionError("the recogniser process outlived its server by 12 s")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
