"""`voxtree listen` with a microphone that plays the project's recording."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.system.speaking import PCM, RATE
from transport.cli.listen import loudness
from transport.cli.main import main
from transport.cli.microphone import QUEUE_BLOCKS, Microphone
from transport.cli.recording import SENTENCES

MICROPHONE = {"name": "Fake Microphone", "max_input_channels": 1, "default_samplerate": 48000.0}
SPEAKER = {"name": "Fake Speaker", "max_input_channels": 0, "default_samplerate": 48000.0}


class PortAudioError(Exception):
    """As the module's own."""


class FakeSound:
    """What `voxtree listen` uses of the module `sounddevice`; its streams play what they are given, from a thread.

    Attributes:
        opened: the settings of the last stream.
    """

    PortAudioError = PortAudioError

    def __init__(
        self,
        pcm: bytes = b"",
        then: Callable[[], None] = lambda: None,
        *,
        devices: tuple[dict[str, Any], ...] = (SPEAKER, MICROPHONE),
        rates: tuple[int, ...] = (RATE,),
        pace: float = 0.02,
    ) -> None:
        self.pcm, self.then, self.devices, self.rates, self.pace = pcm, then, devices, rates, pace
        self.opened: dict[str, Any] = {}

    def query_devices(self) -> tuple[dict[str, Any], ...]:
        return self.devices

    def check_input_settings(self, *, device: int | str | None, samplerate: int, **_: Any) -> None:
        if isinstance(device, str) and device not in MICROPHONE["name"]:  # type: ignore[operator]
            raise ValueError(f"No input device matching {device!r}")
        if samplerate not in self.rates:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def RawInputStream(self, **settings: Any) -> FakeStream:
        self.opened = settings
        return FakeStream(self, **settings)


class FakeStream:
    def __init__(
        self, sound: FakeSound, *, blocksize: int, callback: Any, finished_callback: Any, **settings: Any
    ) -> None:
        self._sound, self._size, self._callback, self._finished = sound, 2 * blocksize, callback, finished_callback
        self._thread = threading.Thread(target=self._play)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._thread.join()

    def _play(self) -> None:
        for start in range(0, len(self._sound.pcm), self._size):
            time.sleep(self._sound.pace)
            block = self._sound.pcm[start : start + self._size]
            self._callback(memoryview(block), len(block) // 2, None, None)
        self._sound.then()
        self._finished()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.5)  # people do not pull the plug at the same time


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeSound], FakeSound]:
    def install(sound: FakeSound) -> FakeSound:
        monkeypatch.setitem(sys.modules, "sounddevice", sound)  # type: ignore[arg-type]
        monkeypatch.setattr("logging.disable", lambda level: None)
        return sound

    return install


Install = Callable[[FakeSound], FakeSound]


@pytest.mark.slow
def test_what_is_said_is_printed_and_an_interrupt_waits_for_the_last_words(
    installed: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = installed(FakeSound(PCM, interrupt))
    assert main(["listen", "--device", "Microphone"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == list(SENTENCES)
    assert err == "voxtree: listening; Ctrl-C stops\n"
    asked = {name: sound.opened[name] for name in ("device", "channels", "dtype", "samplerate")}
    assert asked == {"device": "Microphone", "channels": 1, "dtype": "int16", "samplerate": RATE}


@pytest.mark.slow
def test_on_a_terminal_there_is_a_meter_and_interims_become_finals(
    installed: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(FakeSound(PCM[: 2 * 3 * RATE], interrupt, pace=0.1))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["listen"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == SENTENCES[0]
    lines = err.split("\r\x1b[2K")
    assert any("█" in line and line.endswith("░  Every session.") for line in lines), lines


@pytest.mark.slow
def test_a_microphone_that_is_unplugged_ends_it_with_the_words_so_far(
    installed: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(FakeSound(PCM[: 2 * 3 * RATE]))
    assert main(["listen"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == SENTENCES[0]
    assert err.splitlines()[-1] == "voxtree: the microphone has stopped: was it unplugged?"


def test_devices_are_listed(installed: Install, capsys: pytest.CaptureFixture[str]) -> None:
    installed(FakeSound())
    assert main(["listen", "--list"]) == 0
    assert capsys.readouterr().out == "  1  Fake Microphone  (1 in, 48000 Hz)\n"


@pytest.mark.parametrize(
    ("sound", "arguments", "sentence"),
    [
        (FakeSound(devices=(SPEAKER,)), [], "this machine has no microphone (PortAudio finds no audio input)"),
        (
            FakeSound(),
            ["--device", "Studio"],
            "No input device matching 'Studio'; `voxtree listen --list` shows what there is",
        ),
        (
            FakeSound(rates=()),
            ["--device", "1"],
            "the device 1 cannot be used: Invalid sample rate [PaErrorCode -9997]",
        ),
    ],
)
def test_a_microphone_that_is_not_there_gets_one_sentence(
    sound: FakeSound, arguments: list[str], sentence: str, installed: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(sound)
    assert main(["listen", *arguments]) == 2
    assert capsys.readouterr() == ("", f"voxtree: {sentence}\n")


def test_a_package_that_is_not_there_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["listen"]) == 2
    said = "voxtree: `voxtree listen` needs the package sounddevice: pip install 'voxtree[microphone]'\n"
    assert capsys.readouterr() == ("", said)


def test_on_this_machine_it_lists_devices_or_says_what_is_missing() -> None:
    command = [sys.executable, "-m", "transport.cli.main", "listen", "--list"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if run.returncode:
        assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
        assert "PortAudio" in run.stderr
    else:
        assert run.stdout


@pytest.mark.anyio
async def test_the_devices_own_rate_is_taken_when_it_has_no_other() -> None:
    assert Microphone(FakeSound(rates=(44_100,))).sample_rate == 44_100


@pytest.mark.anyio
async def test_a_program_that_is_held_up_loses_the_oldest_blocks_and_counts_them() -> None:
    microphone = Microphone(FakeSound(bytes(2 * 1600 * (QUEUE_BLOCKS + 3)), pace=0.0))
    stop = asyncio.Event()
    async with microphone:
        time.sleep(0.5)  # noqa: ASYNC251  the loop stands still
        await asyncio.sleep(0)
        stop.set()
        assert len([block async for block in microphone.blocks(stop)]) == QUEUE_BLOCKS
    assert microphone.dropped == 3


@pytest.mark.parametrize(
    ("pcm", "expected"),
    [(b"", 0.0), (bytes(100), 0.0), (b"\x00\x80" * 50, 1.0), (b"\x00\x08" * 50, 0.6), (b"\x01\x00" * 50, 0.0)],
)
def test_loudness_is_in_decibels(pcm: bytes, expected: float) -> None:
    assert loudness(pcm) == pytest.approx(expected, abs=0.01)
