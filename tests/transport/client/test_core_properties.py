"""Whatever a network does to it, a client says every sample and hears every final exactly once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.client.messages import final, ready
from transport.client import Done, Final, Gap
from transport.client.commands import Command, Deliver, Finish
from transport.client.core import ClientCore, State
from transport.client.ring import Ring
from transport.wire.voxtree_v1_schema import (
    AckMessage,
    DoneMessage,
    FinalizeMessage,
    GapMessage,
    ServerMessage,
    StartConfig,
    StartMessage,
    StopMessage,
    TranscriptMessage,
)

RATE = 100  # Hz: a message of audio has 20 samples
KEEP = 3.0  # seconds


class Server:
    """Knows what each client should have said, and loses nothing but what it is told to lose.

    Args:
        timeline: all audio the client will ever have said, filled as it does.
    """

    def __init__(self, timeline: bytearray, frame_bytes: int) -> None:
        self.timeline = timeline
        self.frame_bytes = frame_bytes
        self.received = 0
        self.settled: list[tuple[int, int, bool]] = []  # start, end, whether it is a gap
        self.stopped = False
        self.marks: set[int] = set()  # where the client wanted an utterance to end
        self.out: deque[ServerMessage] = deque()  # on its way to the client
        self._resumed = False

    @property
    def durable(self) -> int:
        return self.settled[-1][1] if self.settled else 0

    def take(self, message: object) -> None:
        """What the client sent arrives."""
        if isinstance(message, StartMessage):
            self._greet(message)
        elif isinstance(message, bytes):
            size = len(message) // self.frame_bytes
            start, end = self.received * self.frame_bytes, (self.received + size) * self.frame_bytes
            assert message == self.timeline[start:end]
            self.received += size
            assert not self.stopped
        elif isinstance(message, FinalizeMessage):
            self.marks.add(self.received)
        elif isinstance(message, StopMessage):
            assert self.received == len(self.timeline) // self.frame_bytes
            self.stopped = True

    def settle(self, samples: int) -> None:
        """Find some words, in the last of the audio that it has."""
        end = min(self.received, self.durable + samples)
        if end > self.durable:
            self._append(end, is_gap=False)

    def ack(self) -> None:
        self.out.append(AckMessage(durable=self.durable, received=self.received, seq=len(self.settled)))

    def repeat(self, number: int) -> None:
        """Say something again that it has said before."""
        if self.settled:
            self._say(max(0, len(self.settled) - 1 - number % 4))

    def omit(self) -> None:
        """Fail to say the next of its finals and gaps."""
        for message in self.out:
            if isinstance(message, TranscriptMessage | GapMessage):
                self.out.remove(message)
                return

    def crash(self) -> None:
        """Another server takes over: it has what was durable."""
        self.received = self.durable
        self.stopped = False
        self.out.clear()

    def finish(self) -> None:
        if self.stopped:
            self.settle(self.received)
            self.out.append(DoneMessage(position=self.received, seq=len(self.settled)))

    def _greet(self, message: StartMessage) -> None:
        resume = message.resume
        self.stopped = False
        self.out.clear()
        if resume is None:
            assert not self._resumed
            self._resumed = True
            self.out.append(ready(credit=0))
            return
        assert resume.oldest is not None
        if resume.oldest > self.received:
            self._append(self.received, is_gap=False)
            self._append(resume.oldest, is_gap=True)
            self.received = resume.oldest
        self.out.append(ready(position=self.received, resumed=True, seq=len(self.settled)))
        for number in range(resume.seq, len(self.settled)):
            self._say(number)

    def _append(self, end: int, *, is_gap: bool) -> None:
        if end > self.durable:
            self.settled.append((self.durable, end, is_gap))
            self._say(len(self.settled) - 1)

    def _say(self, number: int) -> None:
        start, end, is_gap = self.settled[number]
        if is_gap:
            self.out.append(GapMessage(seq=number + 1, start=start, end=end, code="AUDIO_007"))
        else:
            self.out.append(final(number + 1, start, end))


class World:
    """One client and its server, with a network between that does as it is told."""

    def __init__(self, *, live: bool, frame_bytes: int) -> None:
        self.timeline = bytearray()
        self.server = Server(self.timeline, frame_bytes)
        self.frame_bytes = frame_bytes
        self.live = live
        self.now = 0.0
        self.marks: set[int] = set()
        self.heard: list[Final | Gap] = []
        self.done: Done | None = None
        self.core = ClientCore(
            StartConfig(), frame_bytes=frame_bytes, sample_rate=RATE, live=live, keep=KEEP, random=lambda: 0.0
        )
        self.connect()
        self.exchange(1)

    def obey(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Finish):
                assert command.failure is None, command.failure
            elif isinstance(command, Deliver) and isinstance(command.event, Final | Gap):
                self.heard.append(command.event)
            elif isinstance(command, Deliver) and isinstance(command.event, Done):
                self.done = command.event
        if self.core.state is State.CONNECTING:
            self.server.out.clear()

    def connect(self) -> None:
        if self.core.state is State.CONNECTING:
            self.core.connected(self.now)

    def say(self, samples: int) -> None:
        size = samples * self.frame_bytes
        audio = bytes((len(self.timeline) + number) % 251 for number in range(size))
        self.timeline += audio  # before it is taken: the server may compare at once
        taken, commands = self.core.take(audio, self.now)
        del self.timeline[len(self.timeline) - size + taken :]
        self.obey(commands)

    def up(self, messages: int) -> None:
        """Some messages from the client arrive."""
        for _ in range(messages):
            if (message := self.core.next_message(self.now)) is not None:
                self.server.take(message)

    def down(self, messages: int) -> None:
        """Some messages to the client arrive."""
        for _ in range(min(messages, len(self.server.out))):
            if self.server.out:
                self.obey(self.core.received(self.server.out.popleft(), self.now))

    def exchange(self, rounds: int) -> None:
        for _ in range(rounds):
            self.up(50)
            self.server.ack()
            self.down(200)

    def step(self, action: str, number: int) -> None:
        self.now += 0.01
        match action:
            case "talk":  # as when all is well
                self.say(number)
                self.up(20)
                self.server.settle(number)
                self.server.ack()
                self.down(20)
            case "say":
                self.say(number)
            case "up":
                self.up(number % 8)
            case "down":
                self.down(number % 8)
            case "settle":
                self.server.settle(number)
            case "ack":
                self.server.ack()
            case "cut":
                self.obey(self.core.lost("cut", self.now))
            case "crash":
                self.server.crash()
                self.obey(self.core.lost("crash", self.now))
            case "connect":
                self.connect()
            case "repeat":
                self.server.repeat(number)
            case "omit":
                self.server.omit()
            case "finalize":
                self.core.finalize()
                self.marks.add(len(self.timeline) // self.frame_bytes)

    def end(self) -> None:
        """Everything works from now on."""
        self.core.stop()
        for number in range(100):
            self.connect()
            self.exchange(2)
            self.server.settle(150)
            if number == 0:
                self.server.omit()
            self.server.finish()
            if self.core.state is State.OVER:
                return
        raise AssertionError("it does not come to an end")


OFTEN = ("talk", "talk", "say", "up", "down", "settle", "connect", "connect")
SELDOM = ("ack", "cut", "crash", "repeat", "omit", "finalize")
ACTIONS = st.tuples(st.sampled_from([*OFTEN, *SELDOM]), st.integers(1, 120))
STEPS = st.lists(ACTIONS, min_size=10, max_size=80)


def check(world: World) -> None:
    said = len(world.timeline) // world.frame_bytes
    assert [event.seq for event in world.heard] == list(range(1, len(world.heard) + 1))
    ends = [0, *(event.end for event in world.heard)]
    assert [event.start for event in world.heard] == ends[:-1]
    assert ends[-1] == said
    assert world.server.marks <= world.marks
    assert world.done == Done(position=said, seq=len(world.heard))


@settings(max_examples=300)
@given(STEPS, st.sampled_from([1, 2, 4]))
def test_a_recording_is_heard_whole_and_its_finals_come_once_whatever_breaks(
    actions: list[tuple[str, int]], frame_bytes: int
) -> None:
    world = World(live=False, frame_bytes=frame_bytes)
    for action in actions:
        world.step(*action)
    world.end()
    check(world)
    assert not any(isinstance(event, Gap) for event in world.heard)
    assert world.server.marks == world.marks


@settings(max_examples=300)
@given(STEPS, st.sampled_from([1, 2, 4]))
def test_of_live_speech_only_what_is_declared_is_missing(actions: list[tuple[str, int]], frame_bytes: int) -> None:
    world = World(live=True, frame_bytes=frame_bytes)
    for action in actions:
        world.step(*action)
        track = world.core._track
        assert track.end - track.start <= KEEP * RATE
    world.end()
    check(world)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), max_size=50), st.sampled_from([1, 2, 4]))
def test_a_ring_holds_just_what_is_above_the_settled_and_within_its_bound(
    steps: list[tuple[int, int]], frame_bytes: int
) -> None:
    ring, said, settled, dropped = Ring(frame_bytes, 100), bytearray(), 0, 0
    for samples, durable in steps:
        audio = bytes((len(said) + number) % 251 for number in range(samples * frame_bytes))
        said += audio
        ring.append(audio)
        dropped = max(dropped, len(said) // frame_bytes - 100)
        ring.forget(durable)
        settled = max(settled, min(durable, len(said) // frame_bytes))
        assert ring.end == len(said) // frame_bytes
        assert ring.start == max(settled, dropped, 0)
        assert ring.read(ring.start, ring.end) == said[ring.start * frame_bytes :]
