"""The process under our supervisor, and its command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import anyio
import grpc
import pytest
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionStub

from actors.speech.errors import ConnectionFailed
from supervisor import Child, Supervisor
from supervisor.reports import ChildRestarting, ChildStarted, Event
from tests.transport.embedded.process import command, running
from tests.transport.embedded.speech import demo_pcm
from transport.cli.recording import SENTENCES
from transport.embedded import EmbeddedRecogniser

pytestmark = pytest.mark.slow


async def recognised(address: str) -> list[str]:
    """What a new client hears of the demo recording there."""
    async with grpc.aio.insecure_channel(address) as channel:
        request = pb.RecognizeRequest(
            config=pb.RecognitionConfig(
                encoding=1, sample_rate_hertz=16_000, language_code="en-US", enable_automatic_punctuation=True
            ),
            audio=demo_pcm(),
        )
        response = await RivaSpeechRecognitionStub(channel).Recognize(request, timeout=60)
    return [result.alternatives[0].transcript for result in response.results]


class Listener:
    """Collects a tree's events and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._new = anyio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._new.set()
        self._new = anyio.Event()

    async def wait_for(self, kind: type[Event], count: int) -> list[Event]:
        """The children's events of that kind, once there are `count`; the tree's own are left out."""
        with anyio.fail_after(60):
            while len(found := [event for event in self.events if isinstance(event, kind) and event.path[1:]]) < count:
                await self._new.wait()
        return found


@pytest.mark.anyio
async def test_a_killed_recogniser_is_restarted_at_the_same_address() -> None:
    recogniser = EmbeddedRecogniser(max_streams=3, threads=1)
    listener = Listener()
    async with Supervisor([Child("embedded", recogniser.run)], on_event=listener) as tree:
        first_pid = recogniser.pid
        assert tree.value("embedded") == recogniser.address
        assert recogniser.ready is not None
        assert (recogniser.ready.max_streams, recogniser.ready.listening) == (3, recogniser.address)
        assert first_pid is not None
        os.kill(first_pid, signal.SIGKILL)
        await listener.wait_for(ChildStarted, 2)
        (restarting,) = await listener.wait_for(ChildRestarting, 1)
        assert isinstance(restarting.error, ConnectionFailed)
        assert restarting.error.detail == "the embedded recogniser ended: killed by SIGKILL"
        assert recogniser.pid not in (None, first_pid)
        assert await recognised(recogniser.address) == list(SENTENCES)
        last_pid = recogniser.pid
    assert recogniser.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(last_pid or 0, 0)


@pytest.mark.anyio
async def test_a_recogniser_that_cannot_start_says_why(tmp_path: Path) -> None:
    recogniser = EmbeddedRecogniser(model_dir=tmp_path)
    with pytest.raises(ConnectionFailed) as caught:
        await recogniser.run(task_status=anyio.TASK_STATUS_IGNORED)
    assert caught.value.detail == "the embedded recogniser ended before it was ready: exit status 3"
    assert caught.value.backend_detail == (
        f"transport.embedded: model file {tmp_path}/encoder_model.ort does not exist"
    )


@pytest.mark.anyio
async def test_a_recogniser_that_is_never_ready_is_ended() -> None:
    recogniser = EmbeddedRecogniser(ready_timeout=0.0)
    with pytest.raises(ConnectionFailed) as caught:
        await recogniser.run(task_status=anyio.TASK_STATUS_IGNORED)
    assert caught.value.detail == "the embedded recogniser was not ready within 0 s"
    assert recogniser.pid is None


def test_it_ends_with_its_parent_on_sigterm_and_never_takes_a_served_socket(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/riva.sock"
    with running("--listen", address, "--threads", "1") as first:
        second = subprocess.run(command("--listen", address), capture_output=True, text=True, check=False, timeout=60)
        assert (second.returncode, second.stderr) == (4, f"transport.embedded: {address}: another process serves it\n")
        first.process.kill()  # leaves its socket behind
        first.process.wait()
    assert (tmp_path / "riva.sock").is_socket()
    with running("--listen", address, "--threads", "1") as third:
        assert third.ready == {"listening": address, "max_streams": 10, "model": "moonshine-tiny-en"}
    assert third.process.returncode == 0  # its stdin was closed, as it is when a parent dies
    with running("--listen", address, "--threads", "1") as fourth:
        fourth.process.terminate()
        assert fourth.process.wait(60) == 0


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        run = subprocess.run(command("--listen", address), capture_output=True, text=True, check=False, timeout=60)
    sentence = f"transport.embedded: cannot listen on {address}: the address is in use, or not one of this host"
    assert (run.returncode, run.stdout, run.stderr.splitlines()[-1]) == (4, "", sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--listen", "nowhere"], "'nowhere' is neither HOST:PORT nor unix:/absolute/path"),
        (["--listen", "host:99999"], "'host:99999' is neither HOST:PORT nor unix:/absolute/path"),
        (["--max-streams", "0"], "'0' is not a number above 0"),
        (["--threads", "two"], "'two' is not a number above 0"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    from transport.embedded.__main__ import main

    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err
