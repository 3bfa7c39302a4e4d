"""What the types promise. Checked by `test_typing`; the ignores are errors that the checker must find."""

from __future__ import annotations

from typing import assert_type

import msgspec

from actors import Actor, Down, Message, Ref, Registry, actor_child, handler


class Audio(msgspec.Struct, frozen=True):
    pcm: bytes


class Stop(msgspec.Struct, frozen=True):
    pass


class Transcribe(Message[str], frozen=True):
    pcm: bytes


class Recogniser(Actor[Audio | Transcribe]):
    @handler
    def on_audio(self, message: Audio) -> None:
        self.ref.tell(message)
        self.spawn(self.listen, 1.0)
        self.spawn(self.listen, "soon")  # type: ignore[arg-type]

    @handler
    async def on_transcribe(self, message: Transcribe) -> str:
        return message.pcm.hex()

    async def listen(self, seconds: float) -> None: ...


async def asks(ref: Ref[Audio | Transcribe]) -> None:
    assert_type(await ref.ask(Transcribe(b"")), str)
    await ref.ask(Audio(b""))  # type: ignore[arg-type]


async def tells(ref: Ref[Audio | Transcribe]) -> None:
    ref.tell(Audio(b""), control=True)
    await ref.send(Transcribe(b""))
    ref.tell(Stop())  # type: ignore[arg-type]


def narrows(ref: Ref[Audio | Transcribe]) -> Ref[Audio]:
    """Who takes both takes audio."""
    return ref


def widens(ref: Ref[Audio]) -> Ref[Audio | Transcribe]:
    return ref  # type: ignore[return-value]


def monitors(ref: Ref[Audio], watcher: Ref[Down | Stop], deaf: Ref[Stop]) -> None:
    ref.monitor(watcher)
    ref.monitor(lambda down: print(down.error))
    ref.monitor(deaf)  # type: ignore[arg-type]


def finds(registry: Registry[Audio], ref: Ref[Audio | Transcribe], other: Ref[Stop]) -> None:
    with registry.register("a", ref):
        assert_type(registry.whereis("a"), Ref[Audio] | None)
    registry.register("b", other)  # type: ignore[arg-type]


def starts(ref: Ref[Audio | Transcribe], other: Ref[Stop]) -> None:
    actor_child("a", Recogniser, ref=ref)
    actor_child("a", Recogniser, ref=other)  # type: ignore[arg-type]
