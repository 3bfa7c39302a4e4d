"""Clients, a network that loses what it likes, servers that die, and one store: everything but the I/O is real."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable

import msgspec

from actors.speech.audio_log import SAMPLE_BYTES
from actors.speech.errors import GoingAway, SpeechError
from actors.speech.journal.body import TextPolicy
from actors.speech.journal.ledger import carry_out
from actors.speech.journal.memory import _Dictionaries
from actors.speech.journal.port import Retention
from actors.speech.messages import Ack, Acknowledge, Audio, Done, Finalize, Problem, Ready, Stop
from tests.resume.hosts import WINDOW, WORD, Link, Opening, Server, speech
from transport.audio.formats import AudioFormat
from transport.client import events
from transport.client.core import ClientCore, Connect, Deliver, Finish, HangUp, State
from transport.client.errors import ConnectionLost, ResumeFailed, SessionFailed, TakenOver
from transport.wire.intake import Intake, Open, Refuse, Samples
from transport.wire.port import Failed, Limits, Opened, Reply
from transport.wire.voxtree_v1 import VoxtreeV1
from transport.wire.voxtree_v1_schema import ServerMessage, StartConfig

RATE = 8000
_read = msgspec.json.Decoder(ServerMessage).decode
_write = msgspec.json.Encoder().encode
LIMITS = Limits()
MESSAGE = 1600  # samples a client says at a time


class Connection:
    """One connection, both ends and what is between them."""

    def __init__(self, server: Server, session_id: str) -> None:
        self.server = server
        self.session_id = session_id
        self.up: deque[str | bytes] = deque()
        self.down: deque[str] = deque()
        self.client_open = self.server_open = True
        self.cut = False
        self.heard_done = False
        self.link: Link | None = None
        self._codec = VoxtreeV1()
        self._intake = Intake(self._codec, LIMITS)
        self._opening: Opening | None = None
        self._steps: deque[object] = deque()
        self._unconfirmed = False

    # ---- the client's end

    def client_sends(self, message: str | bytes) -> None:
        if not self.cut:
            self.up.append(message)

    def client_closes(self) -> None:
        self.client_open = False
        self.down.clear()

    # ---- the server's end

    def serve(self) -> None:
        """Read a message, if the last one is dealt with."""
        if not self.server_open:
            return
        self.go_on()
        if self._opening is None and not self._steps and self.up:
            if self._unconfirmed and self.link is not None:
                self._unconfirmed = False
                self.link.confirmed()
            self._steps += self._intake.receive(self.up.popleft())
        self.go_on()

    def go_on(self) -> None:
        """Whatever can be done without another message."""
        while self.server_open:
            if self._opening is not None and not self._go_on_opening():
                return
            if not self._steps:
                return
            self._carry_out(self._steps.popleft())

    def _go_on_opening(self) -> bool:
        assert self._opening is not None
        try:
            self._opening.send(None)
        except StopIteration as stop:
            self.link, self._opening = stop.value, None
            if self.server.draining:
                self.link.drain()
            return True
        except SpeechError as error:
            self._opening = None
            self._refuse(error)
        return False

    def _carry_out(self, step: object) -> None:
        match step:
            case Open(config, _, resume):
                if resume is None:
                    self._opening = self.server.open(self.session_id, config)
                else:
                    self._opening = self.server.resume(self.session_id, resume)
                    self._unconfirmed = True
            case Samples(pcm) if self.link is not None and not self.server.draining:
                self.link.audio(pcm)
            case Acknowledge(seq) if self.link is not None:
                self.link.acknowledge(seq)
            case Finalize() if self.link is not None:
                self.link.finalize()
            case Stop() if self.link is not None:
                self.link.stop()
            case Reply(text):
                self._send(text)
            case Refuse(error, _):
                raise AssertionError(error)
            case _:
                pass

    def write(self) -> None:
        """Send one event."""
        if not self.server_open or self.link is None:
            return
        event = self.link.next_event()
        match event:
            case None:
                return
            case Ready():
                self._write(Opened(event, AudioFormat(sample_rate=RATE), LIMITS))
            case Problem(fatal=True):
                self._write(Failed(event, ""))
                self.server_closes()
            case Done():
                self._write(event)
            case Problem():
                self._write(Failed(event, ""))
            case _:
                self._write(event)

    def _refuse(self, error: SpeechError) -> None:
        self._write(Failed(Problem(code=error.code, detail=error.detail, fatal=True), ""))
        self.server_closes()

    def server_closes(self) -> None:
        """Whoever caused it: it is over for the server."""
        if not self.server_open:
            return
        self.server_open = False
        if self._opening is not None:
            self._opening.close()
            self._opening = None
        if self.link is not None:
            self.link.disconnected()

    def notice(self) -> None:
        """The server learns that the client has gone."""
        if self.server_open and (self.cut or (not self.client_open and not self.up)):
            if self.heard_done and not self.cut and self.link is not None:
                self.link.delivered()
            self.server_closes()

    def _write(self, event: object) -> None:
        for text in self._codec.encode(event):  # type: ignore[arg-type]
            self._send(text)

    def _send(self, text: str) -> None:
        if not self.cut and self.client_open:
            self.down.append(text)


class App:
    """A client and what its application was told."""

    def __init__(self, world: World, session_id: str, words: int, keep: float, *, live: bool) -> None:
        self.world = world
        self.session_id = session_id
        self.audio = speech(0, words)
        self.said = 0
        self.core = ClientCore(
            StartConfig(sample_rate=RATE, word_times=True),
            frame_bytes=SAMPLE_BYTES,
            sample_rate=RATE,
            live=live,
            keep=keep,
            random=lambda: 0.5,
        )
        self.connection: Connection | None = None
        self.connect_at: float | None = None
        self.finished = False
        self.failure: SessionFailed | None = None
        self.settled: list[events.Final | events.Gap] = []
        self.durable = 0
        self.alone_since: float | None = None
        self.longest_alone = 0.0
        self.dropped: list[tuple[int, int]] = []
        self.do(self.core.begin())

    @property
    def over(self) -> bool:
        return self.core.state is State.OVER

    def do(self, commands: Iterable[object]) -> None:
        for command in commands:
            match command:
                case Connect(delay):
                    self._leave()
                    self.connect_at = self.world.now + delay
                case HangUp():
                    self._leave()
                case Deliver(event):
                    self._hear(event)
                case Finish(failure):
                    self.finished, self.failure = True, failure
                    if self.connection is not None:
                        self.connection.heard_done = failure is None
                    self._leave()

    def _leave(self) -> None:
        if self.connection is not None:
            self.connection.client_closes()
            self.connection = None

    def speak(self) -> None:
        if self.core.stopped or self.over:
            return
        piece = self.audio[self.said : self.said + MESSAGE * SAMPLE_BYTES]
        taken, commands = self.core.take(piece, self.world.now)
        self._note_dropped()
        self.said += taken
        self.do(commands)
        if self.said == len(self.audio):
            self.core.stop()

    def connect(self, server: Server) -> None:
        if self.connect_at is None or self.world.now < self.connect_at or self.over:
            return
        self.connect_at = None
        self.connection = Connection(server, self.session_id)
        self.world.connections.append(self.connection)
        self.core.connected(self.world.now)
        self._note_dropped()

    def send(self) -> None:
        if self.connection is not None:
            message = self.core.next_message(self.world.now)
            if message is not None:
                self.connection.client_sends(message if isinstance(message, bytes) else _write(message).decode())

    def receive(self) -> None:
        connection = self.connection
        if connection is None:
            return
        if connection.down:
            self.do(self.core.received(_read(connection.down.popleft()), self.world.now))
        elif connection.cut or not connection.server_open:
            self.connection = None
            connection.client_closes()
            self.do(self.core.lost("closed", self.world.now))

    def tick(self) -> None:
        self.do(self.core.tick(self.world.now))
        if self.core.state is State.OPEN:
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = self.world.now
        if self.alone_since is not None:
            self.longest_alone = max(self.longest_alone, self.world.now - self.alone_since)

    def _hear(self, event: object) -> None:
        match event:
            case events.Final() | events.Gap():
                before = self.settled[-1] if self.settled else None
                assert event.seq == (before.seq + 1 if before else 1)
                assert event.start == (before.end if before else 0)
                assert event.end >= event.start
                self.world.check_number(event)
                if isinstance(event, events.Gap):
                    self.world.check_gap(self, event)
                self.settled.append(event)
            case events.Ack(durable=durable):
                assert durable >= 0
                self.durable = max(self.durable, durable)
            case events.Done(position=position, seq=seq):
                assert seq == (self.settled[-1].seq if self.settled else 0)
                assert position == (self.settled[-1].end if self.settled else 0)
                assert position == len(self.audio) // SAMPLE_BYTES, (position, len(self.audio) // 2)

    def _note_dropped(self) -> None:
        track = self.core._track
        if track.start > track._durable:
            self.dropped.append((track._durable, track.start))

    def check_end(self) -> None:
        """A session ends as it should, or for a reason."""
        world = self.world
        match self.failure:
            case None:
                pass
            case TakenOver():
                assert world.two, self.failure
            case ResumeFailed():
                assert world.two or world.tail_lost or self.longest_alone > WINDOW / 2, self.failure
            case ConnectionLost():
                assert self.longest_alone > WINDOW, self.failure
            case other:
                raise AssertionError(other)

    def check_words(self) -> None:
        """Every word once, or in a declared gap. All that was said, if the session is done."""
        end = self.settled[-1].end if self.settled else 0
        gaps = [(event.start, event.end) for event in self.settled if isinstance(event, events.Gap)]
        said = [w for event in self.settled if isinstance(event, events.Final) for w in event.text.split()]
        for number in range(len(self.audio) // SAMPLE_BYTES // WORD):
            start, stop = number * WORD + WORD // 4, number * WORD + 3 * WORD // 4
            times = said.count(str(number))
            if any(low < stop and start < high for low, high in gaps):
                continue
            if stop <= end:
                assert times == 1, (number, times, self.settled)
            elif start >= end:
                assert times == 0, (number, times, self.settled)


class World:
    """One run."""

    def __init__(
        self, text: TextPolicy, *, words: int, keep: float, live: bool, two: bool, frail: bool = False
    ) -> None:
        self.now = 1000.0
        self.retention = Retention()
        self.tables = _Dictionaries(lambda: self.now)
        self.text = text
        self.connections: list[Connection] = []
        self._numbers = 0
        self.highest = 0
        self.numbers: dict[int, object] = {}
        self.lost: list[tuple[int, int]] = []
        self.tail_lost = False
        self.expired = False
        self.two = two
        self.frail = frail
        self.servers = [Server(self, "a", text), Server(self, "b", text)]
        self.snapshots: deque[_Dictionaries] = deque(maxlen=4)
        self.app = App(self, "s", words, keep, live=live)
        self.apps = [self.app]

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def new_token(self) -> str:
        return f"token-{self.next_number()}"

    # ---- the oracle

    def check_durable(self, ack: Ack) -> None:
        assert ack.durable <= max(self.highest, self._heard_by_clients()), (ack, self.highest)

    def _heard_by_clients(self) -> int:
        return max((app.core._end for app in self.apps), default=0)

    def check_number(self, event: object) -> None:
        seq = event.seq  # type: ignore[attr-defined]
        if not (self.two and (self.tail_lost or self.text is TextPolicy.NONE)):  # made again, with the same number
            assert self.numbers.setdefault(seq, event) == event, (self.numbers[seq], event)

    def check_gap(self, app: App, gap: events.Gap) -> None:
        causes = self.lost + [each for one in self.apps for each in one.dropped]
        position = gap.start
        while position < gap.end:
            ends = [high for low, high in causes if low <= position < high]
            assert ends, ("a gap without a cause", gap, causes)
            position = max(ends)

    def lost_audio(self, audio: Audio) -> None:
        self.lost.append((audio.start, audio.start + len(audio.pcm) // SAMPLE_BYTES))

    # ---- what can happen

    def commit(self, which: int, most: int, *, answered: bool = True) -> None:
        journal = self.servers[which % 2].journal
        batch = [journal.waiting[i] for i in range(min(most, len(journal.waiting)))]
        if not batch:
            return
        self.snapshots.append(self._copy())
        outcomes = carry_out(self.tables, [operation for operation, _ in batch], self.retention)
        self.highest = max(self.highest, *(row.end for row in self.tables._rows.values()), 0)
        if answered:
            for outcome in outcomes:
                journal.waiting.popleft()[1](outcome)

    def _copy(self) -> _Dictionaries:
        tables = _Dictionaries(lambda: self.now)
        tables._epoch, tables._rows = self.tables._epoch, dict(self.tables._rows)
        tables._entries = {key: list(entries) for key, entries in self.tables._entries.items()}
        return tables

    def kill(self, which: int) -> None:
        old = self.servers[which % 2]
        self.servers[which % 2] = Server(self, old.name, self.text)
        for connection in self.connections:
            if connection.server is old:
                connection.server_open = False
                connection.up.clear()

    def lose_tail(self, commits: int) -> None:
        """All lose their power, and the store with it what was committed last."""
        if not self.frail:
            return
        self.kill(0), self.kill(1)
        for _ in range(commits):
            if self.snapshots:
                self.tables = self.snapshots.pop()
                self.tail_lost = True
        self.snapshots.clear()

    def drain(self, which: int) -> None:
        server = self.servers[which % 2]
        server.draining = True
        for connection in self.connections:
            if connection.server is server and connection.server_open:
                if connection.link is not None:
                    connection.link.drain()
                else:
                    connection._refuse(GoingAway())

    def cut(self, half: bool) -> None:
        connection = self.app.connection
        if connection is not None:
            connection.cut = True
            (connection.up if half else connection.down).clear()

    def later(self, seconds: float) -> None:
        self.now += seconds
        for server in self.servers:
            for hosted in list(server.sessions.values()):
                hosted.tick()
        for app in self.apps:
            app.tick()

    def hosted(self, which: int) -> list:
        return list(self.servers[which % 2].sessions.values())

    def act(self, action: str, arg: int) -> None:
        """One of the things that can happen."""
        app = self.apps[arg % len(self.apps)]
        match action:
            case "speak":
                app.speak()
            case "connect":
                app.connect(self.servers[arg // 2 % 2])
            case "send":
                for _ in range(1 + arg // 2 % 4):
                    app.send()
            case "receive":
                for _ in range(1 + arg // 2 % 4):
                    app.receive()
            case "serve":
                for connection in self.connections[-4:]:
                    for _ in range(1 + arg % 4):
                        connection.serve()
            case "write":
                for connection in self.connections[-4:]:
                    for _ in range(1 + arg % 4):
                        connection.write()
            case "notice":
                for connection in self.connections:
                    connection.notice()
            case "step":
                for hosted in self.hosted(arg):
                    for _ in range(1 + arg // 2 % 8):
                        hosted.step()
            case "crash":
                for hosted in self.hosted(arg):
                    hosted.step(lost=True)
            case "crash half-way":
                for hosted in self.hosted(arg):
                    hosted.step(crash_after=arg // 2 % 5)
            case "stream":
                for hosted in self.hosted(arg):
                    hosted.open_stream()
            case "hear":
                for hosted in self.hosted(arg):
                    hosted.hear(1 + arg // 2 % 40)
            case "final":
                for hosted in self.hosted(arg):
                    hosted.say(final=True)
            case "interim":
                for hosted in self.hosted(arg):
                    hosted.say(final=False)
            case "lose stream":
                for hosted in self.hosted(arg):
                    hosted.lose_stream()
            case "commit":
                self.commit(arg, 1 + arg // 2 % 4)
            case "commit unanswered":
                self.commit(arg, 1 + arg // 2 % 4, answered=False)
            case "cut":
                self.cut(bool(arg % 2))
            case "kill":
                self.kill(arg)
            case "lose tail":
                self.lose_tail(arg % 4)
            case "drain":
                self.drain(arg)
            case "time":
                self.later((0.3, 1.1, 3.0, 9.0)[arg % 4])
            case "second":
                self.second_client()
        for connection in self.connections[-4:]:
            connection.go_on()

    def second_client(self) -> None:
        """Somebody copies a client, token and all."""
        if not self.two or len(self.apps) > 1 or self.app.over or not self.app.core._token:
            return
        twin = copy.copy(self.app)
        twin.core = copy.deepcopy(self.app.core)
        twin.settled, twin.dropped = list(self.app.settled), list(self.app.dropped)
        twin.connection = None
        self.apps.append(twin)
        twin.do(twin.core.lost("it is a copy", self.now))
        if twin.connect_at is None:
            twin.connect_at = self.now

    def begin(self) -> None:
        """The first connection comes about: who has no session yet has nothing to lose."""
        for _ in range(6):
            self.app.connect(self.servers[0])
            self.app.send(), self.app.receive()
            for connection in self.connections:
                connection.serve(), connection.write()
            self.commit(0, 1)

    def settle(self) -> None:
        """Nothing fails any more: every client comes to its end."""
        for index, server in enumerate(self.servers):
            if server.draining:
                self.kill(index)
        for turn in range(1200):
            if all(app.over for app in self.apps):
                break
            for app in self.apps:
                app.connect(self.servers[0])
                app.speak()
                app.send(), app.send(), app.receive(), app.receive()
            for connection in self.connections[-6:]:
                connection.notice(), connection.serve(), connection.serve(), connection.write(), connection.write()
            for which in (0, 1):
                self.commit(which, 100)
                for hosted in self.hosted(which):
                    hosted.open_stream(), hosted.step(), hosted.step(), hosted.step(), hosted.hear(20)
                    if turn % 5 == 4:
                        hosted.say(final=True)
            for connection in self.connections[-6:]:
                connection.go_on()
            self.later(0.1)
        for app in self.apps:
            assert app.over, "a client never came to its end"
            app.check_words()
            app.check_end()


WORK = (
    *("speak",) * 6, *("connect",) * 3, *("send",) * 8, *("receive",) * 6, *("serve",) * 8, *("write",) * 6,
    *("notice",) * 2, *("step",) * 10, *("stream",) * 3, *("hear",) * 5, *("final",) * 3, "interim", *("commit",) * 7,
    *("time",) * 3,
)  # fmt: skip
FAULTS = ("crash", "crash half-way", "lose stream", "commit unanswered", "cut", "kill", "lose tail", "drain", "second")
