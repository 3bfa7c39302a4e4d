"""Servers without I/O: real rules, real journal operations, and a queue wherever the real ones wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from actors.speech.audio_log import SAMPLE_BYTES, AudioGone, Cursor
from actors.speech.client import Client
from actors.speech.errors import GoingAway, ResumeFailed, SessionInUse, SpeechError, UnexpectedError
from actors.speech.journal import port
from actors.speech.journal.body import Bodies, TextPolicy, pack_config
from actors.speech.keeping import Keeping, digest
from actors.speech.messages import (
    Ack,
    Acknowledge,
    Attach,
    Audio,
    ClientGone,
    Deposed,
    Drain,
    Finalize,
    Heard,
    Problem,
    Resume,
    SessionEvent,
    SessionMessage,
    Stop,
    StreamDrained,
    StreamOpened,
)
from actors.speech.ports import Recognised, RecognitionConfig, Tier, Word
from actors.speech.record import Origin, SessionRecord
from actors.speech.session import SessionActor, ready
from actors.speech.session_commands import Command, Say
from actors.speech.sessions import _done, _origin

STEP = 400  # samples: whatever is cut is cut at a multiple of it
WORD = 4000  # samples of one word, half of them silence
LOG_SECONDS = 60.0
WINDOW = 60.0


def speech(first: int, words: int) -> bytes:
    """Words that say their number: word n is n + 1 in the second and third quarter of its place."""
    quarter = WORD // 4
    said = bytearray()
    for number in range(first, first + words):
        said += bytes(2 * quarter) + (number + 1).to_bytes(2, "little") * (2 * quarter) + bytes(2 * quarter)
    return bytes(said)


def now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that need not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    return None


class Crash(Exception):
    """Of a session's actor."""


class Journal:
    """The queue of one server before the store that all share."""

    durability = port.Durability.DISK

    def __init__(self) -> None:
        self.waiting: deque[tuple[port.Operation, Callable[[port.Outcome], None]]] = deque()

    def submit(self, operation: port.Operation, then: Callable[[port.Outcome], None]) -> None:
        self.waiting.append((operation, then))


class Stream:
    """A recogniser that reads words off the audio. A word is whole when silence follows it, or the end."""

    def __init__(self, number: int, cursor: Cursor) -> None:
        self.number = number
        self.cursor = cursor
        self.words: list[Word] = []
        self._value = 0
        self._start = 0

    def hear(self, steps: int) -> None:
        """Raises: AudioGone."""
        position = self.cursor.position
        pcm = self.cursor.read(steps * STEP)
        for at in range(0, len(pcm), STEP * SAMPLE_BYTES):
            self._value_at(position + at // SAMPLE_BYTES, int.from_bytes(pcm[at : at + 2], "little"))

    def finish(self) -> None:
        self._value_at(self.cursor.position, 0)

    @property
    def speaking(self) -> bool:
        return bool(self._value or self.words)

    def _value_at(self, position: int, value: int) -> None:
        if value != self._value:
            if self._value:
                self.words.append(Word(str(self._value - 1), self._start, position))
            self._value, self._start = value, position


class PureActor(SessionActor):
    """The real one, with queues for what its runtime does."""

    def __init__(self, hosted: Hosted) -> None:
        super().__init__(hosted.record, hosted.server.keeping)
        self._hosted = hosted
        self._left: int | None = None  # commands until it crashes

    def run(self, message: SessionMessage | None, time: float, crash_after: int | None = None) -> None:
        """Apply a message (None: begin), and carry out at most so many commands."""
        self._left = crash_after
        if message is None:
            self._begin(time)
        else:
            self._now = lambda: time
            self.receive(message)

    def _do(self, command: Command) -> None:
        if self._left is not None:
            if self._left == 0:
                raise Crash
            self._left -= 1
        if isinstance(command, Say) and isinstance(command.event, Ack):
            self._hosted.server.world.check_durable(command.event)
        super()._do(command)

    def after(self, seconds: float, message: Any) -> Any:
        self._hosted.timers.append((self._hosted.server.world.now + seconds, message))

    def stop(self) -> None:
        self._hosted.over = True

    def _tell(self, message: SessionMessage) -> None:
        self._hosted.tell(message)

    @property
    def incarnation(self) -> Any:  # only errors are reported to it
        return self

    def report(self, error: Exception) -> None:
        pass


class Hosted:
    """A session on one server: its record, mailbox and recogniser."""

    def __init__(self, server: Server, record: SessionRecord) -> None:
        self.server = server
        self.record = record
        self.control: deque[SessionMessage] = deque()
        self.ordinary: deque[SessionMessage] = deque()
        self.timers: list[tuple[float, SessionMessage]] = []
        self.stream: Stream | None = None
        self.opening: int | None = None  # the number of the stream that asks where to begin
        self.over = False
        self.actor: PureActor
        self._restart()

    def tell(self, message: SessionMessage) -> None:
        if not self.over:
            self.control.append(message)

    def send(self, message: SessionMessage) -> None:
        if not self.over:
            self.ordinary.append(message)

    def left(self, number: int) -> None:
        if self.record.clients.pop(number, None) is not None:
            self.tell(ClientGone(number))

    def give_up(self) -> None:
        self.tell(Deposed(self.record.epoch))

    def step(self, *, lost: bool = False, crash_after: int | None = None) -> None:
        """Take one message; `lost`: crash with it in hand; `crash_after`: … when so many commands were carried out."""
        if self.over or not (self.control or self.ordinary):
            return
        message = (self.control or self.ordinary).popleft()
        try:
            if lost:
                self.record.in_hand = message
                raise Crash
            self.actor.run(message, self.server.world.now, crash_after)
            if isinstance(message, StreamOpened) and message.number == self.opening and not self.over:
                self.opening = None
                self.stream = Stream(message.number, Cursor(self.record.log, self.record.timeline.confirmed))
        except Crash:
            self._restart()
        if self.over:
            self._ended()

    def tick(self) -> None:
        time = self.server.world.now
        due = [message for when, message in self.timers if when <= time]
        self.timers = [timer for timer in self.timers if timer[0] > time]
        for message in due:
            self.tell(message)

    # ---- the recogniser

    def open_stream(self) -> None:
        if self.stream is None and self.opening is None and not self.over:
            self.opening = self.server.world.next_number()
            self.send(StreamOpened(self.opening, Tier.PRIMARY, False))

    def hear(self, steps: int) -> None:
        if self.stream is None:
            return
        try:
            self.stream.hear(steps)
        except AudioGone:
            self._drain_stream()
            return
        if self.stream.cursor.at_end:
            self._drain_stream()
        self.stream and self.stream.cursor.take_mark()

    def say(self, *, final: bool) -> None:
        stream = self.stream
        if stream is None:
            return
        position, words = stream.cursor.position, tuple(stream.words)
        text = " ".join(word.text for word in words)
        if words and final:
            stream.words.clear()
            result = Recognised(is_final=True, text=text, words=words, processed=position)
        elif words or not stream.speaking:
            result = Recognised(is_final=False, text=text, processed=position)
        else:
            return
        self.send(Heard(stream.number, result, position))

    def lose_stream(self) -> None:
        self.stream = None

    def _drain_stream(self) -> None:
        assert self.stream is not None
        self.stream.finish()
        if self.stream.words:
            self.say(final=True)
        self.send(StreamDrained(self.stream.number, self.stream.cursor.position))
        self.stream = None

    # ---- lives

    def _restart(self) -> None:
        self.timers.clear()
        self.stream, self.opening = None, None
        self.actor = PureActor(self)
        self.actor.run(None, self.server.world.now)
        if self.over:
            self._ended()

    def _ended(self) -> None:
        self.server.sessions.pop(self.record.session_id, None)
        for number, client in self.record.clients.items():
            if number == self.record.client:
                client.outbox.put(Problem(code=UnexpectedError.entry.code, fatal=True))
            else:
                client.refuse()


class Link:
    """What a connection has of its session."""

    def __init__(
        self, hosted: Hosted | None, keeping: Keeping, record: SessionRecord, number: int, client: Client
    ) -> None:
        assert client.ready is not None
        self.hosted = hosted
        self.client = client
        self.number = number
        self._keeping = keeping
        self._record = record
        self._epoch = client.ready.epoch
        self._sent = client.ready.position

    def audio(self, pcm: bytes) -> None:
        start, self._sent = self._sent, self._sent + len(pcm) // SAMPLE_BYTES
        self._send(Audio(pcm, start))

    def finalize(self) -> None:
        self._send(Finalize())

    def stop(self) -> None:
        self._send(Stop())

    def acknowledge(self, seq: int) -> None:
        self._tell(Acknowledge(seq))

    def drain(self) -> None:
        self._tell(Drain(1.0))

    def confirmed(self) -> None:
        self._keeping.confirm(self._record.session_id, self._epoch)

    def delivered(self) -> None:
        self._keeping.forget(self._record.session_id, self._record.epoch)

    def disconnected(self) -> None:
        if self.hosted is not None:
            self.hosted.left(self.number)

    def next_event(self) -> SessionEvent | None:
        if not self.client.outbox._events:
            return None
        return now(self.client.outbox.next_event())  # type: ignore[no-any-return]

    def _send(self, message: SessionMessage) -> None:
        if not self.client.deposed and self.hosted is not None:
            self.hosted.send(message)

    def _tell(self, message: SessionMessage) -> None:
        if not self.client.deposed and self.hosted is not None:
            self.hosted.tell(message)


Opening = Generator[None, None, Link]


class Server:
    """One process: its journal's queue, its sessions, and how clients get them (as `Sessions` does, with `yield`)."""

    def __init__(self, world: Any, name: str, text: TextPolicy) -> None:
        self.world = world
        self.name = name
        self.journal = Journal()
        self.keeping = Keeping(self.journal, Bodies(text))  # type: ignore[arg-type]
        self.sessions: dict[str, Hosted] = {}
        self.draining = False
        self._turn: deque[object] = deque()

    def open(self, session_id: str, config: RecognitionConfig) -> Opening:
        yield from self._my_turn()
        try:
            left = self.sessions.get(session_id)
            if left is not None and left.record.client is not None:
                raise SessionInUse
            token = self.world.new_token()
            opening = port.Open(session_id, pack_config(config), digest(token))
            outcome = yield from self._perform(opening, session_id)
            if not isinstance(outcome, port.Opened):
                raise SessionInUse
            if left is not None:
                left.give_up()
                while not left.over:
                    yield
            return self._start(session_id, config, Origin(epoch=outcome.epoch), token, None)
        finally:
            self._turn.popleft()

    def resume(self, session_id: str, resume: Resume) -> Opening:
        yield from self._my_turn()
        try:
            if self.draining:
                raise GoingAway
            hosted = self.sessions.get(session_id)
            if hosted is not None:
                link = yield from self._take_over(hosted, resume)
                if link is not None:
                    return link
            return (yield from self._claim(session_id, resume))
        finally:
            self._turn.popleft()

    def _my_turn(self) -> Generator[None, None, None]:
        me = object()
        self._turn.append(me)
        try:
            while self._turn[0] is not me:
                yield
        except BaseException:
            self._turn.remove(me)
            raise

    def _perform(self, operation: port.Operation, session_id: str) -> Generator[None, None, port.Outcome]:
        outcomes: list[port.Outcome] = []
        waits = True

        def then(outcome: port.Outcome) -> None:
            if waits:
                outcomes.append(outcome)
            else:
                self.keeping._give_up(session_id, outcome)

        self.journal.submit(operation, then)
        try:
            while not outcomes:
                yield
        except BaseException:
            waits = False
            for outcome in outcomes:
                self.keeping._give_up(session_id, outcome)
            self.journal.waiting = deque(each for each in self.journal.waiting if each[1] is not then)
            raise
        return outcomes[0]

    def _take_over(self, hosted: Hosted, resume: Resume) -> Generator[None, None, Link | None]:
        number, client = self.world.next_number(), Client(self.world.new_token())
        hosted.record.clients[number] = client
        try:
            if not hosted.over:
                hosted.send(Attach(number, resume, client.token))
                while not client._answered.is_set:
                    yield
                if client.refusal is not None:
                    raise client.refusal
                if client.ready is not None:
                    return Link(hosted, self.keeping, hosted.record, number, client)
        except BaseException:
            hosted.left(number)
            raise
        hosted.left(number)
        return None

    def _claim(self, session_id: str, resume: Resume) -> Opening:
        token = self.world.new_token()
        claim = port.Claim(
            session_id, digest(resume.token), digest(token), resume.seq, rewind=not self.keeping.keeps_words
        )
        claimed = yield from self._perform(claim, session_id)
        if not isinstance(claimed, port.Claimed):
            raise ResumeFailed
        hosted = self.sessions.get(session_id)
        if hosted is not None:
            hosted.give_up()
            while not hosted.over:
                yield
        try:
            config, origin = self.keeping.config(claimed), _origin(claimed, resume)
            missed: list[SessionEvent] = list(self.keeping.events(session_id, claimed.entries))
            if claimed.position is None:
                return self._start(session_id, config, origin, token, missed)
            record = self._record(session_id, config, origin)
            client = Client(token)
            client.welcome(ready(record, token, origin.audio, self.keeping, resumed=True), missed)
            client.outbox.put(_done(claimed))
            return Link(None, self.keeping, record, 0, client)
        except SpeechError:
            self.keeping.leave(session_id, claimed.epoch)
            raise

    def _start(
        self, session_id: str, config: RecognitionConfig, origin: Origin, token: str, missed: list[SessionEvent] | None
    ) -> Link:
        record = self._record(session_id, config, origin)
        number, client = self.world.next_number(), Client(token)
        record.client = number
        record.clients[number] = client
        client.welcome(ready(record, token, origin.audio, self.keeping, resumed=missed is not None), missed or ())
        if missed is not None:
            client.outbox.put(Ack(durable=origin.end, received=origin.audio, seq=origin.seq))
        hosted = self.sessions[session_id] = Hosted(self, record)
        return Link(hosted, self.keeping, record, number, client)

    def _record(self, session_id: str, config: RecognitionConfig, origin: Origin) -> SessionRecord:
        return SessionRecord(
            session_id, config, LOG_SECONDS, origin=origin, window=WINDOW, keeps_words=self.keeping.keeps_words
        )
