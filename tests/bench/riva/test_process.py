"""The scripted Riva as a process: what a user types, and what a bench does to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from bench.riva.plan import read
from bench.riva.process import ROOT, RivaProcess
from bench.riva.words import CodedSpeech
from tests.bench.riva.caller import OK, Caller, eventually

SPEECH = CodedSpeech(words=6, utterance=3, pause=0.5)
PCM = SPEECH.read(0, SPEECH.samples)
pytestmark = pytest.mark.slow


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    line, pipe = [sys.executable, "-m", "bench", "riva", *arguments], subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def listening(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    words, _, port = process.stdout.readline().rpartition(":")
    assert words == "listening on 127.0.0.1"
    return int(port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_at_the_end_what_happened(tmp_path: Path, number: signal.Signals) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[faults]]\naction = "end"\n')
    with command("--port", "0", "--plan", str(plan)) as process:
        assert listening(process) > 0
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    report = json.loads(out)
    assert (process.returncode, err) == (0, "")
    assert (report["opened"], report["faults"]) == (0, [{"action": "end", "times": 0}])


def test_a_report_is_written_on_request(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with command("--port", "0", "--report", str(path)) as process:
        listening(process)
        assert json.loads(path.read_text())["opened"] == 0
        path.unlink()
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None
        assert process.stdout.readline() == "reported\n"
        assert json.loads(path.read_text())["seconds"] > 0


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (None, "{plan}: cannot be read: no such file or directory"),
        ('[[faults]]\naction = "ende"\n', "{plan}: faults[0].action: expected one of status, end, "),
        ("seed = 1", "{report}: cannot be written: no such file or directory"),
    ],
)
def test_what_it_cannot_use_is_one_line(tmp_path: Path, plan: str | None, message: str) -> None:
    path, report = tmp_path / "plan.toml", tmp_path / "none" / "report.json"
    if plan is not None:
        path.write_text(plan)
    with command("--port", "0", "--plan", str(path), "--report", str(report)) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("bench riva: " + message.format(plan=path, report=report))


def test_a_port_that_is_taken_is_one_line() -> None:
    with command("--port", "0") as first:
        port = listening(first)
        with command("--port", str(port)) as second:
            out, err = second.communicate(timeout=30)
    assert (second.returncode, out) == (2, "")
    assert err == f"bench riva: cannot listen on 127.0.0.1:{port}: address already in use\n"


def test_it_ends_with_its_parent() -> None:
    with command("--port", "0", "--exit-with-parent") as process:
        listening(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0


# ---- RivaProcess


async def finals(address: str) -> list[str]:
    async with grpc.aio.insecure_channel(address) as channel, Caller(channel).call() as call:
        await call.say(PCM)
        assert await call.finish() == OK
        return call.finals


@pytest.mark.anyio
async def test_a_process_lives_again_on_its_port_after_a_kill() -> None:
    async with RivaProcess() as riva:
        port, pid = riva.port, riva.pid
        assert await finals(riva.address) == ["w0 w1 w2", "w3 w4 w5"]
        await riva.kill()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        await riva.restart()
        assert (riva.port, riva.pid == pid) == (port, False)
        assert await finals(riva.address) == ["w0 w1 w2", "w3 w4 w5"]
        assert (await riva.report()).opened == 1  # of this life
        report = await riva.terminate()
    assert (report.opened, report.words, report.ended) == (1, 6, {"OK": 1})


@pytest.mark.anyio
async def test_a_suspended_process_says_nothing_until_it_is_resumed() -> None:
    plan = read({"faults": [{"action": "end", "streams": [2]}]})
    async with (
        RivaProcess(plan) as riva,
        grpc.aio.insecure_channel(riva.address) as channel,
        Caller(channel).call() as call,
    ):
        await call.say(PCM[:3200])
        await call.until(1)
        riva.suspend()
        await eventually(lambda: is_stopped(riva.pid))
        await call.say(PCM[3200:])
        assert len(call.responses) == 1
        riva.resume()
        assert await call.finish() == OK
        assert call.finals == ["w0 w1 w2", "w3 w4 w5"]
        assert [fault.action for fault in (await riva.report()).faults] == ["end"]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.anyio
async def test_leaving_ends_a_suspended_process_too() -> None:
    async with RivaProcess() as riva:
        riva.suspend()
        pid = riva.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.anyio
async def test_a_process_that_cannot_start_is_an_error() -> None:
    async with RivaProcess() as riva:
        with pytest.raises(RuntimeError, match="did not start: exit status 2"):
            async with RivaProcess(port=riva.port):
                pass
