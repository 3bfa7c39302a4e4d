"""What the types promise, to mypy (`test_typing`) and pyright (`make types`). The ignores are errors both must find."""

from __future__ import annotations

from enum import Enum
from typing import Generic, TypeVar, assert_type

import msgspec

from actors import (
    Actor,
    DeadLetter,
    DeadLetters,
    Down,
    Mailbox,
    Message,
    Overflow,
    Postpone,
    Ref,
    Registry,
    StateMachine,
    Subscription,
    Timer,
    Topic,
    actor_child,
    entering,
    handler,
    in_state,
    timed_out,
)
from actors.testing import Asked, Probe, Running, running
from supervisor import Child, Restart

T = TypeVar("T")


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
    assert_type(await ref.ask(Transcribe(b""), timeout=1.0), str)
    await ref.ask(Audio(b""))  # type: ignore[arg-type]
    await ref.ask(Transcribe(b""), timeout="soon")  # type: ignore[arg-type]
    number: int = await ref.ask(Transcribe(b""))  # type: ignore[arg-type]
    print(number)


class Labelled(Message[dict[str, T]], Generic[T], frozen=True):
    """A question whose answer depends on what is asked."""

    value: T


class Labeller(Actor[Labelled[int]]):
    @handler
    def on_labelled(self, message: Labelled[int]) -> dict[str, int]:
        return {"value": message.value}


async def asks_a_generic_question(ref: Ref[Labelled[int]]) -> None:
    assert_type(await ref.ask(Labelled(7)), dict[str, int])
    ref.tell(Labelled("seven"))  # type: ignore[arg-type]


async def tells(ref: Ref[Audio | Transcribe]) -> None:
    assert_type(ref.tell(Audio(b""), control=True), None)
    await ref.send(Transcribe(b""))
    ref.tell(Stop())  # type: ignore[arg-type]
    await ref.send(Stop())  # type: ignore[arg-type]


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
    assert_type(actor_child("a", Recogniser, ref=ref, restart=Restart.TRANSIENT), Child)
    actor_child("a", Recogniser, mailbox=Mailbox(10, Overflow.DROP_OLDEST))
    actor_child("a", Recogniser, mailbox=Mailbox(10, "drop"))  # type: ignore[arg-type]
    actor_child("a", Recogniser, ref=other)  # type: ignore[arg-type]


class Clock(Actor[Audio | Stop]):
    @handler(limit=10)
    def on_audio(self, batch: list[Audio]) -> None:
        assert_type(self.after(1.0, Stop()), Timer)
        self.every(1.0, batch[0]).cancel()
        self.after(1.0, Transcribe(b""))  # type: ignore[arg-type]
        self.after("soon", Stop())  # type: ignore[arg-type]

    @handler
    def on_stop(self, message: Stop) -> None: ...

    @handler(limit="10")  # type: ignore[call-overload, untyped-decorator]
    def on_more(self, batch: list[Audio]) -> None: ...


class Line(Enum):
    IDLE = "idle"
    BUSY = "busy"


class Other(Enum):
    IDLE = "idle"


class Phone(StateMachine[Line, Audio | Transcribe], initial=Line.IDLE):
    @in_state(Line.IDLE)
    async def on_transcribe(self, message: Transcribe) -> str:
        assert_type(self.state, Line)
        self.go(Line.BUSY)
        self.go(Other.IDLE)  # type: ignore[arg-type]
        self.go("busy")  # type: ignore[arg-type]
        return ""

    @in_state(Line.BUSY)
    def later(self, message: Transcribe) -> str:
        raise Postpone

    @handler
    def on_audio(self, message: Audio) -> None: ...

    @entering(Line.BUSY)
    async def ring(self) -> None:
        self.state_timeout(1.0)

    @timed_out(Line.BUSY)
    def nobody(self) -> None: ...

    @entering(Line.IDLE)  # type: ignore[type-var]
    def needs_more(self, number: int) -> None: ...

    @in_state("idle")  # type: ignore[arg-type]
    def named(self, message: Audio) -> None: ...


def publishes(wide: Ref[Audio | Stop], narrow: Ref[Audio], other: Ref[Stop]) -> None:
    topic = Topic[Audio]()
    with topic.subscribe(wide) as subscription:
        assert_type(subscription, Subscription[Audio])
        assert_type(topic.publish(Audio(b"")), int)
    topic.subscribe(narrow)
    topic.subscribe(other)  # type: ignore[arg-type]
    topic.publish(Stop())  # type: ignore[arg-type]


def buries(listener: list[DeadLetter]) -> None:
    actor_child("a", Recogniser, dead_letters=DeadLetters(listener.append))
    DeadLetters(print)


async def probes(probe: Probe[Audio | Transcribe]) -> None:
    assert_type(await probe.expect(Audio), Audio)
    asked = await probe.expect_ask(Transcribe)
    assert_type(asked, Asked[str])
    asked.answer("words")
    asked.answer(7)  # type: ignore[arg-type]
    probe.ref.tell(Stop())  # type: ignore[arg-type]


async def runs() -> None:
    async with running(Recogniser) as run:
        assert_type(run, Running[Audio | Transcribe])
        assert_type(await run.ref.ask(Transcribe(b"")), str)
        run.ref.tell(Stop())  # type: ignore[arg-type]
