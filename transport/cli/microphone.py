"""A microphone, through the package `sounddevice` and the library PortAudio: the one place that knows them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from transport.expected import ExpectedError

RATE = 16_000  # Hz; what recognisers want
BLOCK_SECONDS = 0.1
QUEUE_BLOCKS = 50  # five seconds, should this program be held up


class NoMicrophone(ExpectedError):
    """There is no audio input to listen to. Its text says what is missing, and how to come by it."""


class MicrophoneLost(ExpectedError):
    """The microphone stopped, or was unplugged."""

    exit_code = 1


class SoundDevice(Protocol):
    """What is used of the module `sounddevice`."""

    PortAudioError: type[Exception]
    RawInputStream: Callable[..., Any]

    def query_devices(self) -> Sequence[Mapping[str, Any]]: ...

    def check_input_settings(self, **settings: Any) -> None: ...


def load() -> SoundDevice:
    """The module.

    Raises:
        NoMicrophone: the package or its library is not installed.
    """
    try:
        module: Any = importlib.import_module("sounddevice")
    except ModuleNotFoundError as error:
        raise NoMicrophone(
            "`voxtree listen` needs the package sounddevice: pip install 'voxtree[microphone]'"
        ) from error
    except OSError as error:
        raise NoMicrophone(
            f"`voxtree listen` needs PortAudio ({error}): apt-get install libportaudio2, brew install portaudio"
        ) from error
    found: SoundDevice = module
    return found


def inputs(sound: SoundDevice) -> list[str]:
    """A line for each device that can record: its number and its name."""
    return [
        f"{number:3}  {device['name']}  ({device['max_input_channels']} in, {device['default_samplerate']:.0f} Hz)"
        for number, device in enumerate(_devices(sound))
        if device["max_input_channels"]
    ]


class Microphone:
    """One microphone; records while its context is entered. Mono PCM16.

    Args:
        sound: the module.
        device: its number, or part of its name; None: the system's default.

    Attributes:
        sample_rate: Hz.
        dropped: blocks that came while this program was held up for too long.

    Raises:
        NoMicrophone: there is none, or not this one.
    """

    def __init__(self, sound: SoundDevice, device: int | str | None = None) -> None:
        if not inputs(sound):
            raise NoMicrophone("this machine has no microphone (PortAudio finds no audio input)")
        self._sound = sound
        self._device = device
        self._blocks: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_BLOCKS)
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.dropped = 0
        self.sample_rate = self._rate()

    async def __aenter__(self) -> Self:
        block = round(BLOCK_SECONDS * self.sample_rate)
        try:
            self._stream = self._sound.RawInputStream(
                blocksize=block, callback=self._on_block, finished_callback=self._on_finished, **self._settings()
            )
            self._stream.start()
        except self._sound.PortAudioError as error:
            raise self._refused(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    async def blocks(self, stop: asyncio.Event) -> AsyncIterator[bytes]:
        """What is heard, a tenth of a second at a time, until `stop` is set.

        Raises:
            MicrophoneLost: it went away before.
        """
        ends = [asyncio.ensure_future(event.wait()) for event in (stop, self._over)]
        try:
            while not any(end.done() for end in ends):
                block = asyncio.ensure_future(self._blocks.get())
                await asyncio.wait([block, *ends], return_when=asyncio.FIRST_COMPLETED)
                if block.done():
                    yield block.result()
                block.cancel()
        finally:
            for end in ends:
                end.cancel()
        while not self._blocks.empty():
            yield self._blocks.get_nowait()
        if not stop.is_set():
            raise MicrophoneLost("the microphone has stopped: was it unplugged?")

    # ---- PortAudio's thread

    def _on_block(self, data: Any, frames: int, time: Any, status: Any) -> None:
        self._loop.call_soon_threadsafe(self._put, bytes(data))

    def _on_finished(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)

    # ---- and ours

    def _put(self, block: bytes) -> None:
        if self._blocks.full():
            self._blocks.get_nowait()
            self.dropped += 1
        self._blocks.put_nowait(block)

    def _rate(self) -> int:
        """The rate wanted, or else the device's own."""
        self.sample_rate = RATE
        try:
            self._sound.check_input_settings(**self._settings())
        except ValueError as error:  # there is no such device, or more than one of that name
            raise NoMicrophone(f"{error}; `voxtree listen --list` shows what there is") from error
        except self._sound.PortAudioError:
            return self._own_rate()
        return RATE

    def _own_rate(self) -> int:
        for rate in (48_000, 44_100, 32_000, 8_000):
            self.sample_rate = rate
            try:
                self._sound.check_input_settings(**self._settings())
            except self._sound.PortAudioError as error:
                refusal = error
            else:
                return rate
        raise self._refused(refusal)

    def _settings(self) -> dict[str, Any]:
        return {"device": self._device, "channels": 1, "dtype": "int16", "samplerate": self.sample_rate}

    def _refused(self, error: Exception) -> NoMicrophone:
        which = "the microphone" if self._device is None else f"the device {self._device!r}"
        return NoMicrophone(f"{which} cannot be used: {error}")


def _devices(sound: SoundDevice) -> Sequence[Mapping[str, Any]]:
    try:
        return sound.query_devices()
    except sound.PortAudioError as error:
        raise NoMicrophone(f"the audio devices cannot be listed: {error}") from error
