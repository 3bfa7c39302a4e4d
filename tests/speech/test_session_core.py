"""What a session decides: its states, what its client is told, what is settled."""

from __future__ import annotations

from pathlib import Path

from actors.address import Ref
from actors.speech.errors import BackendStalled, ModelNotFound, StreamLost
from actors.speech.messages import (
    Ack,
    Audio,
    CacheMessage,
    ClientGone,
    Done,
    Drain,
    Finalize,
    Gap,
    Heard,
    Learn,
    NoBackendFree,
    Problem,
    Recalled,
    RecogniserDown,
    SessionEvent,
    SessionMessage,
    Status,
    Stop,
    StreamDrained,
    StreamOpened,
    Transcript,
)
from actors.speech.ports import Recognised, RecognitionConfig, Tier, Utterance, Word
from actors.speech.record import SessionRecord
from actors.speech.session_core import End, Remind, Report, Send, SessionCore, State
from supervisor.policy import Directive

RATE = 16000


class Scene:
    """A session core with its record, fed by hand; `now` moves only when told."""

    def __init__(self, *, spool_seconds: float = 0.0, spool_dir: str | None = None, **config: object) -> None:
        self.record = SessionRecord(
            "s",
            RecognitionConfig(**config),  # type: ignore[arg-type]
            log_seconds=60,
            spool_seconds=spool_seconds,
            spool_dir=spool_dir,
        )
        self.core = SessionCore(self.record)
        self.now = 100.0
        self.reports: list[str] = []
        self.reminders: list[tuple[float, SessionMessage]] = []
        self.learned: list[Learn] = []

    def tell(self, *messages: SessionMessage) -> list[SessionEvent | End]:
        """The events the client gets, and `End`; what the session wants for itself is kept aside."""
        told: list[SessionEvent | End] = []
        for command in (command for message in messages for command in self.core.receive(message, self.now)):
            match command:
                case Send(event):
                    told.append(event)
                case Report(error):
                    self.reports.append(str(error))
                case Remind(seconds, message):
                    self.reminders.append((seconds, message))
                case Learn():
                    self.learned.append(command)
                case End():
                    told.append(command)
        return told

    def let_pass(self, seconds: float) -> list[SessionEvent | End]:
        """Time goes by; due reminders are told."""
        self.now += seconds
        due = [message for _, message in self.reminders]
        self.reminders.clear()
        return self.tell(*due)

    def speak(self, seconds: float) -> list[SessionEvent | End]:
        return self.tell(Audio(bytes(int(seconds * RATE) * 2)))

    def open(self, number: int = 1, **facts: object) -> list[SessionEvent | End]:
        return self.tell(StreamOpened(**{"number": number, "tier": Tier.PRIMARY, "degraded": False, **facts}))  # type: ignore[arg-type]


def interim(text: str, seconds: float) -> Recognised:
    return Recognised(is_final=False, text=text, processed=int(seconds * RATE), stability=0.5)


def final(text: str, start: float, end: float) -> Recognised:
    words = (Word(text, int(start * RATE), int(end * RATE), 0.9),)
    return Recognised(is_final=True, text=text, words=words, processed=int(end * RATE), confidence=0.8)


def test_a_final_is_told_settled_and_acknowledged() -> None:
    scene = Scene()
    scene.open()
    scene.speak(2.0)
    told = scene.tell(Heard(1, final("hello", 0.5, 1.0)))
    assert told == [
        Transcript(
            is_final=True, seq=1, start=0, end=RATE, text="hello",
            words=(Word("hello", RATE // 2, RATE, 0.9),), confidence=0.8,
        ),
        Ack(durable=RATE, received=2 * RATE, seq=1),
    ]  # fmt: skip
    assert scene.record.log.start == RATE


def test_interims_are_told_unless_the_client_does_not_want_them() -> None:
    wanted, unwanted = Scene(), Scene(interim_results=False)
    for scene in (wanted, unwanted):
        scene.open()
        scene.speak(1.0)
    heard = Heard(1, interim("hel", 0.5))
    assert wanted.tell(heard) == [Transcript(is_final=False, seq=0, start=0, end=RATE // 2, text="hel", stability=0.5)]
    assert unwanted.tell(heard) == []


def test_a_talking_client_is_acknowledged_twice_a_second() -> None:
    scene = Scene()
    assert scene.speak(0.1) == [Ack(durable=0, received=1600, seq=0)]
    scene.now += 0.4
    assert scene.speak(0.1) == []
    scene.now += 0.1
    assert scene.speak(0.1) == [Ack(durable=0, received=4800, seq=0)]


def test_a_lost_stream_is_told_once_and_so_is_its_return() -> None:
    scene = Scene()
    scene.open()
    lost = RecogniserDown(StreamLost("gone"), Directive.BACKOFF)
    recovering = Status(
        state="recovering",
        code="RIVA_005",
        message="Reconnecting to the speech service. Keep talking, nothing is lost.",
    )
    assert scene.tell(lost, lost, NoBackendFree()) == [recovering]
    assert scene.open(2) == [Status(state="streaming", message="The speech service is back.")]
    assert scene.core.state is State.STREAMING


def test_a_recovery_that_takes_long_is_called_delayed() -> None:
    scene = Scene()
    scene.open()
    scene.tell(RecogniserDown(BackendStalled(), Directive.BACKOFF))
    assert scene.reminders[0][0] == 3.0
    told = scene.let_pass(3.0)
    assert told == [
        Status(
            state="delayed",
            code="RIVA_013",
            message="Transcription is delayed. Keep talking, the words will follow.",
        )
    ]
    assert scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF)) == []
    assert scene.core.state is State.DELAYED


def test_a_recovery_that_was_over_in_between_is_not_called_delayed() -> None:
    scene = Scene()
    scene.open(1)
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    reminder = scene.reminders[0][1]
    scene.now += 1.0
    scene.open(2)
    assert scene.tell(reminder) == []
    scene.now += 1.0
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    assert scene.tell(reminder) == []
    assert scene.core.state is State.RECOVERING


def test_audio_that_the_log_cannot_hold_is_announced_as_a_gap() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(3.0)
    scene.tell(Heard(1, final("one", 0.5, 1.0)), RecogniserDown(StreamLost(), Directive.BACKOFF))
    assert scene.speak(58.0) == []
    told = scene.speak(0.5)  # 60.5 s past the final, and the log holds 60
    gap = Gap(seq=2, start=RATE, end=6 * RATE, code="AUDIO_004")
    assert told == [gap, Ack(durable=6 * RATE, received=int(61.5 * RATE), seq=2)]
    assert scene.reports == ["AUDIO_004 AUDIO_LOST: 5.0 s were given up, at sample 16000"]
    scene.open(2)
    final_after = scene.tell(Heard(2, final("two", 0.5, 0.75)))[0]
    assert isinstance(final_after, Transcript)
    assert (final_after.seq, final_after.start, final_after.end) == (3, 6 * RATE, int(6.75 * RATE))


def test_a_gap_that_a_crash_left_unannounced_is_announced_by_the_next_incarnation() -> None:
    scene = Scene()
    scene.record.log.append(bytes(2 * 61 * RATE))  # and then the session died
    assert scene.open(1) == [
        Gap(seq=1, start=0, end=5 * RATE, code="AUDIO_004"),
        Ack(durable=5 * RATE, received=61 * RATE, seq=1),
    ]


def test_words_in_a_gap_are_not_told_by_the_stream_that_heard_them_before() -> None:
    scene = Scene()
    scene.open(1)
    for _ in range(61):
        scene.speak(1.0)
    words = tuple(Word(str(second), second * RATE, (second + 1) * RATE) for second in range(8))
    told = scene.tell(Heard(1, Recognised(is_final=True, text="0 1 2 3 4 5 6 7", words=words)))
    assert isinstance(told[0], Transcript)
    assert (told[0].text, told[0].start, told[0].end) == ("5 6 7", 5 * RATE, 8 * RATE)


LOST = RecogniserDown(StreamLost(), Directive.BACKOFF)
CACHE: Ref[CacheMessage] = Ref("cache")


def test_a_final_is_learned_with_the_audio_from_just_before_its_first_word() -> None:
    scene = Scene()
    scene.record.cache = CACHE
    scene.open()
    pcm = b"".join(number.to_bytes(2, "little") for number in range(3 * RATE))
    scene.tell(Audio(pcm), Heard(1, final("hello", 0.5, 1.8)))
    audio = pcm[2 * int(0.4 * RATE) : 2 * int(1.8 * RATE)]
    assert scene.learned == [Learn(Utterance(audio, RATE, "en-US"), "hello")]


def test_nothing_is_learned_of_the_very_short_the_very_long_and_the_untimed() -> None:
    scene = Scene()
    scene.record.cache = CACHE
    scene.open()
    scene.speak(50.0)
    words = (Word("a", 2 * RATE, 3 * RATE), Word("b", 33 * RATE, 34 * RATE))
    untimed = Recognised(is_final=True, text="hm", processed=45 * RATE)
    for result in (final("yes", 0.5, 1.0), Recognised(is_final=True, text="a b", words=words), untimed):
        assert isinstance(scene.tell(Heard(1, result))[0], Transcript)
    assert scene.learned == []


def test_what_was_recalled_is_told_only_while_the_words_are_delayed_and_settles_nothing() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(8.0)
    scene.tell(Heard(1, final("one", 0.5, 1.0)), LOST)
    recalled = Recalled(start=2 * RATE, end=3 * RATE, text="two", similarity=0.5)
    assert scene.tell(recalled) == []
    scene.let_pass(3.0)
    assert scene.tell(recalled) == [recalled]
    assert scene.tell(Recalled(start=0, end=RATE, text="old", similarity=0.5)) == []
    assert (scene.record.timeline.confirmed, scene.record.timeline.seq) == (RATE, 1)
    scene.open(2)
    assert scene.tell(recalled) == []


def test_a_spool_that_fails_is_reported_once_with_its_reason(tmp_path: Path) -> None:
    scene = Scene(spool_seconds=600.0, spool_dir=str(tmp_path / "missing"))
    scene.open(1)
    for _ in range(70):
        scene.speak(1.0)
    assert scene.reports == [
        "AUDIO_006 AUDIO_SPOOL_FAILED: the audio spool cannot be written: no such file or directory",
        "AUDIO_004 AUDIO_LOST: 5.0 s were given up, at sample 0",
        "AUDIO_004 AUDIO_LOST: 5.0 s were given up, at sample 80000",
    ]


def test_a_substitute_backend_is_called_degraded() -> None:
    scene = Scene()
    told = scene.open(tier=Tier.FALLBACK, degraded=True)
    assert told == [Status(state="degraded", message="A substitute speech service is in use.")]


def test_what_an_older_stream_still_says_is_ignored() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(2.0)
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    assert scene.tell(Heard(1, final("late", 0.1, 0.5)), StreamDrained(1, RATE)) == []
    scene.open(2)
    assert scene.tell(Heard(1, final("late", 0.1, 0.5))) == []


def test_a_new_stream_begins_where_the_last_final_ended() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(3.0)
    scene.tell(Heard(1, final("one", 0.5, 1.0)), RecogniserDown(StreamLost(), Directive.BACKOFF))
    scene.open(2)
    told = scene.tell(Heard(2, final("two", 0.5, 0.75)))
    assert isinstance(told[0], Transcript)
    assert (told[0].text, told[0].start, told[0].end) == ("two", RATE, int(1.75 * RATE))


def test_stop_is_done_when_the_last_words_were_heard() -> None:
    scene = Scene()
    scene.open()
    scene.speak(1.0)
    assert scene.tell(Stop()) == []
    assert scene.record.log.ended
    assert scene.tell(StreamDrained(1, RATE)) == [Done(position=RATE, seq=0), End()]
    assert scene.core.state is State.OVER
    assert scene.tell(Audio(b"\0\0"), Stop(), ClientGone()) == []


def test_audio_after_stop_is_not_heard() -> None:
    scene = Scene()
    scene.open()
    scene.tell(Stop())
    assert scene.tell(Audio(b"\0\0")) == []
    assert scene.record.log.end == 0


def test_a_draining_server_gives_the_remaining_words_and_then_asks_to_reconnect() -> None:
    scene = Scene()
    scene.open()
    scene.speak(1.0)
    assert scene.tell(Drain(), Audio(b"\0\0")) == []
    said = scene.tell(Heard(1, final("bye", 0.2, 0.6)), StreamDrained(1, RATE))
    assert said[-2:] == [Problem(code="CONN_006", fatal=True), End()]


def test_an_error_that_no_retry_helps_ends_the_session_with_its_reason() -> None:
    scene = Scene(language="xx-XX")
    down = RecogniserDown(ModelNotFound("no model for 'xx-XX'", endpoint="riva-a"), Directive.STOP)
    assert scene.tell(down) == [Problem(code="RIVA_002", detail="no model for 'xx-XX'", fatal=True), End()]


def test_a_defect_is_told_without_its_text() -> None:
    scene = Scene()
    told = scene.tell(RecogniserDown(KeyError("/secret/path"), Directive.ESCALATE))
    assert told == [Problem(code="UNKNOWN", fatal=True), End()]


def test_a_client_that_left_ends_its_session() -> None:
    assert Scene().tell(ClientGone()) == [End()]


def test_finalize_marks_the_place_for_the_recogniser() -> None:
    scene = Scene()
    scene.speak(1.0)
    scene.tell(Finalize())
    assert scene.record.log.next_mark(0) == RATE


def test_long_silence_is_settled_but_for_its_last_second() -> None:
    scene = Scene()
    scene.open()
    scene.speak(20.0)
    quiet = Recognised(is_final=False, processed=int(10.9 * RATE))
    assert scene.tell(Heard(1, quiet)) == []
    quiet = Recognised(is_final=False, processed=11 * RATE)
    told = scene.tell(Heard(1, quiet))
    assert told[0] == Transcript(is_final=True, seq=1, start=0, end=10 * RATE, text="")
    assert scene.record.log.start == 10 * RATE


def test_silence_is_not_settled_while_words_are_on_their_way() -> None:
    scene = Scene()
    scene.open()
    scene.speak(20.0)
    scene.tell(Heard(1, interim("and", 1.0)))
    assert scene.tell(Heard(1, Recognised(is_final=False, processed=15 * RATE))) == []


def test_endless_speech_is_asked_to_end_once() -> None:
    scene = Scene()
    scene.open()
    scene.speak(51.0)
    scene.tell(Heard(1, interim("la", 20.0)))  # the silence before it does not count
    scene.tell(Heard(1, interim("la la", 50.0)))
    assert scene.record.log.next_mark(0) is None
    scene.tell(Heard(1, interim("la la", 50.5)))
    scene.speak(1.0)
    scene.tell(Heard(1, interim("la la la", 51.5)))
    assert (scene.record.log.next_mark(0), scene.record.log.next_mark(51 * RATE + 1)) == (51 * RATE, None)


def test_a_stream_that_was_drained_settles_what_it_heard_and_another_may_follow() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(50.0)
    told = scene.tell(StreamDrained(1, 45 * RATE))
    assert told[0] == Transcript(is_final=True, seq=1, start=0, end=45 * RATE, text="")
    assert scene.open(2) == []


def test_a_new_incarnation_of_the_session_goes_on_with_the_record() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(2.0)
    scene.tell(Heard(1, final("one", 0.5, 1.0)))
    scene.core = SessionCore(scene.record)
    scene.open(2)
    scene.speak(1.0)
    told = scene.tell(Heard(2, final("two", 0.5, 0.75)))
    assert isinstance(told[0], Transcript)
    assert (told[0].seq, told[0].start, told[0].end) == (2, RATE, int(1.75 * RATE))
