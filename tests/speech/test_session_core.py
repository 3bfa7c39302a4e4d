"""What a session decides: its states, what its client is told, what is settled."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from actors.address import Ref
from actors.speech.errors import BackendStalled, ModelNotFound, StreamLost
from actors.speech.messages import (
    Ack,
    Audio,
    CacheMessage,
    ClientGone,
    Committed,
    Cut,
    Deposed,
    Done,
    Drain,
    Finalize,
    Finished,
    Gap,
    GoAway,
    Heard,
    Learn,
    NoBackendFree,
    Problem,
    Recalled,
    RecogniserDown,
    SessionEvent,
    SessionMessage,
    Status,
    StillLost,
    Stop,
    StreamDrained,
    StreamOpened,
    Transcript,
)
from actors.speech.ports import Recognised, RecognitionConfig, Tier, Utterance, Word
from actors.speech.record import SessionRecord, State
from actors.speech.session_commands import Command, End, Finish, Remind, Report, Say, Write
from actors.speech.session_core import SessionCore
from supervisor.policy import Directive

RATE = 16000
LOST = RecogniserDown(StreamLost(), Directive.BACKOFF)


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
        self.reminders: list[Remind] = []
        self.learned: list[Learn] = []
        self.said(self.core.begin(self.now))

    def tell(self, *messages: SessionMessage) -> list[SessionEvent | End]:
        """The events the client gets, and `End`; what the session wants for itself is kept aside."""
        return [event for message in messages for event in self.said(self.core.receive(message, self.now))]

    def said(self, commands: Iterable[Command]) -> list[SessionEvent | End]:
        """What the client is told, by a journal that answers at once; the rest goes to `reports`, `reminders`, …"""
        told: list[SessionEvent | End] = []
        for command in commands:
            match command:
                case Say(event):
                    told.append(event)
                case Write(entries):
                    told += self.tell(Committed(entries[-1].seq))
                case Finish():
                    told += self.tell(Finished())
                case Report(error):
                    self.reports.append(str(error))
                case Remind():
                    self.reminders += [command] if isinstance(command.message, StillLost) else []
                case Learn():
                    self.learned.append(command)
                case End():
                    told.append(command)
        return told

    def wait(self, seconds: float) -> list[SessionEvent | End]:
        """The reminders that are due within so much time, in order."""
        self.now += seconds
        due, self.reminders = self.reminders, []
        return self.tell(*(reminder.message for reminder in due if reminder.seconds <= seconds))

    def heard(self, result: Recognised, number: int = 1, cut: Cut = Cut.NONE) -> list[SessionEvent | End]:
        return self.tell(Heard(number, result, self.record.log.end, cut))

    def speak(self, seconds: float) -> list[SessionEvent | End]:
        return self.tell(Audio(bytes(int(seconds * RATE) * 2), self.record.intake.end))

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
    told = scene.heard(final("hello", 0.5, 1.0))
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
    shown = Transcript(is_final=False, seq=0, start=0, end=RATE // 2, text="hel", stability=0.5)
    assert wanted.heard(interim("hel", 0.5)) == [shown]
    assert unwanted.heard(interim("hel", 0.5)) == []


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


DELAYED = Status(
    state="delayed", code="RIVA_013", message="Transcription is delayed. Keep talking, the words will follow."
)


def test_a_recovery_that_takes_long_is_called_delayed_though_nothing_else_happens() -> None:
    scene = Scene()
    scene.open()
    scene.tell(RecogniserDown(BackendStalled(), Directive.BACKOFF))
    assert scene.wait(3.0) == [DELAYED]
    assert scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF)) == []
    assert scene.core.state is State.DELAYED


def test_audio_that_the_log_cannot_hold_is_announced_as_a_gap() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(3.0)
    scene.heard(final("one", 0.5, 1.0))
    scene.tell(LOST)
    assert scene.speak(58.0) == []
    told = scene.speak(0.5)  # 60.5 s past the final, and the log holds 60
    gap = Gap(seq=2, start=RATE, end=6 * RATE, code="AUDIO_004")
    assert told == [gap, Ack(durable=6 * RATE, received=int(61.5 * RATE), seq=2)]
    assert scene.reports == ["AUDIO_004 AUDIO_LOST: 5.0 s were given up, at sample 16000"]
    scene.open(2)
    final_after = scene.heard(final("two", 6.5, 6.75), number=2)[0]
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
    told = scene.heard(Recognised(is_final=True, text="0 1 2 3 4 5 6 7", words=words))
    assert isinstance(told[0], Transcript)
    assert (told[0].text, told[0].start, told[0].end) == ("5 6 7", 5 * RATE, 8 * RATE)


CACHE: Ref[CacheMessage] = Ref("cache")


def test_a_final_is_learned_with_the_audio_from_just_before_its_first_word() -> None:
    scene = Scene()
    scene.record.cache = CACHE
    scene.open()
    pcm = b"".join(number.to_bytes(2, "little") for number in range(3 * RATE))
    scene.tell(Audio(pcm, 0))
    scene.heard(final("hello", 0.5, 1.8))
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
        assert isinstance(scene.heard(result)[0], Transcript)
    assert scene.learned == []


def test_what_was_recalled_is_told_only_while_the_words_are_delayed_and_settles_nothing() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(8.0)
    scene.heard(final("one", 0.5, 1.0))
    scene.tell(LOST)
    recalled = Recalled(start=2 * RATE, end=3 * RATE, text="two", similarity=0.5)
    assert scene.tell(recalled) == []
    scene.wait(3.0)
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


def test_a_first_stream_that_takes_long_to_open_is_called_delayed() -> None:
    scene = Scene()
    assert scene.wait(3.0) == [DELAYED]
    assert scene.open() == [Status(state="streaming", message="The speech service is back.")]


def test_a_reminder_of_an_earlier_loss_says_nothing() -> None:
    scene = Scene()
    scene.open(1)
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    first, scene.reminders = scene.reminders, []
    scene.now += 2.0
    scene.open(2)
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    assert scene.tell(*(reminder.message for reminder in first)) == []
    assert scene.core.state is State.RECOVERING


def test_a_substitute_backend_is_called_degraded_until_a_better_one_takes_over() -> None:
    scene = Scene()
    degraded = Status(state="degraded", message="A substitute speech service is in use.")
    assert scene.open(1, tier=Tier.FALLBACK, degraded=True) == [degraded]
    assert scene.open(2, tier=Tier.FALLBACK, degraded=True) == []
    assert scene.open(3) == [Status(state="streaming", message="The speech service is back.")]
    assert scene.open(4) == []


def test_what_an_older_stream_still_says_is_ignored() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(2.0)
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    assert scene.heard(final("late", 0.1, 0.5)) + scene.tell(StreamDrained(1, RATE)) == []
    scene.open(2)
    assert scene.heard(final("late", 0.1, 0.5)) == []


def test_a_new_stream_begins_where_the_last_final_ended() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(3.0)
    scene.heard(final("one", 0.5, 1.0))
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    scene.open(2)
    told = scene.heard(final("two", 1.5, 1.75), number=2)
    assert isinstance(told[0], Transcript)
    assert (told[0].text, told[0].start, told[0].end) == ("two", RATE, int(1.75 * RATE))


def test_stop_is_done_when_the_last_words_were_heard() -> None:
    scene = Scene()
    scene.open()
    scene.speak(1.0)
    assert scene.tell(Stop()) == []
    assert scene.record.log.ended
    assert scene.tell(StreamDrained(1, RATE)) == [
        Transcript(is_final=True, seq=1, start=0, end=RATE, text=""),
        Ack(durable=RATE, received=RATE, seq=1),
        Done(position=RATE, seq=1),
        End(),
    ]
    assert scene.core.state is State.OVER
    assert scene.tell(Audio(b"\0\0", scene.record.intake.end), Stop(), ClientGone(1)) == []


def test_audio_after_stop_is_not_heard() -> None:
    scene = Scene()
    scene.open()
    scene.tell(Stop())
    assert scene.tell(Audio(b"\0\0", scene.record.intake.end)) == []
    assert scene.record.log.end == 0


def test_a_draining_server_gives_the_remaining_words_and_then_asks_to_reconnect() -> None:
    scene = Scene()
    scene.open()
    scene.speak(1.0)
    assert scene.tell(Drain(10.0), Audio(b"\0\0", scene.record.intake.end)) == [GoAway(10.0)]
    said = scene.heard(final("bye", 0.2, 0.6)) + scene.tell(StreamDrained(1, RATE))
    assert said[-2:] == [Problem(code="CONN_006", fatal=True), End()]


def test_a_word_that_a_drain_cuts_is_for_who_goes_on_and_if_nobody_can_is_said_all_the_same() -> None:
    texts = []
    for window in (60.0, 0.0):
        scene = Scene()
        scene.record.window = window
        scene.open()
        scene.speak(1.0)
        scene.tell(Drain(10.0))
        scene.heard(final("good", 0.2, 0.5))
        said = scene.heard(final("bye", 0.7, 0.99)) + scene.tell(StreamDrained(1, RATE))
        texts.append([event.text for event in said if isinstance(event, Transcript) and event.text])
    assert texts == [[], ["bye"]]


def test_an_error_that_no_retry_helps_ends_the_session_with_its_reason() -> None:
    scene = Scene(language="xx-XX")
    down = RecogniserDown(ModelNotFound("no model for 'xx-XX'", endpoint="riva-a"), Directive.STOP)
    assert scene.tell(down) == [Problem(code="RIVA_002", detail="no model for 'xx-XX'", fatal=True, known=True), End()]


def test_a_defect_is_told_without_its_text() -> None:
    scene = Scene()
    told = scene.tell(RecogniserDown(KeyError("/secret/path"), Directive.ESCALATE))
    assert told == [Problem(code="UNKNOWN", fatal=True, known=True), End()]


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
    assert scene.heard(quiet) == []
    quiet = Recognised(is_final=False, processed=11 * RATE)
    told = scene.heard(quiet)
    assert told[0] == Transcript(is_final=True, seq=1, start=0, end=10 * RATE, text="")
    assert scene.record.log.start == 10 * RATE


def test_silence_is_not_settled_while_words_are_on_their_way() -> None:
    scene = Scene()
    scene.open()
    scene.speak(20.0)
    scene.heard(interim("and", 1.0))
    assert scene.heard(Recognised(is_final=False, processed=15 * RATE)) == []


def test_a_stream_that_was_drained_settles_what_it_heard_and_another_may_follow() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(50.0)
    told = scene.tell(StreamDrained(1, 45 * RATE))
    assert told[0] == Transcript(is_final=True, seq=1, start=0, end=44 * RATE, text="")
    assert scene.open(2) == []


def test_a_word_that_the_next_stream_is_to_hear_whole_is_not_settled_as_silence() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(50.0)
    words = (Word("one", RATE, 2 * RATE), Word("tw", 42 * RATE, 45 * RATE))
    told = scene.heard(Recognised(is_final=True, text="one tw", words=words), cut=Cut.HELD)
    assert isinstance(told[0], Transcript)
    assert (told[0].text, told[0].end) == ("one", 2 * RATE)
    told = scene.tell(StreamDrained(1, 45 * RATE))
    assert told[0] == Transcript(is_final=True, seq=2, start=2 * RATE, end=42 * RATE, text="")


def restart(scene: Scene) -> list[SessionEvent | End]:
    """A new life of the session's actor."""
    scene.core = SessionCore(scene.record)
    scene.reminders.clear()
    return scene.said(scene.core.begin(scene.now))


def test_a_new_incarnation_of_the_session_goes_on_with_the_record() -> None:
    scene = Scene()
    scene.open(1)
    scene.speak(2.0)
    scene.heard(final("one", 0.5, 1.0))
    assert restart(scene) == []
    assert scene.heard(final("late", 1.1, 1.2)) == []  # of the stream before
    assert scene.open(2) == []
    scene.speak(1.0)
    told = scene.heard(final("two", 1.5, 1.75), number=2)
    assert isinstance(told[0], Transcript)
    assert (told[0].seq, told[0].start, told[0].end) == (2, RATE, int(1.75 * RATE))


def test_a_new_incarnation_knows_what_the_client_was_told() -> None:
    scene = Scene()
    scene.open(1, degraded=True)
    scene.tell(RecogniserDown(StreamLost(), Directive.BACKOFF))
    restart(scene)
    assert scene.core.state is State.RECOVERING
    assert [event.state for event in scene.wait(3.0) if isinstance(event, Status)] == ["delayed"]
    restart(scene)
    assert scene.wait(3.0) == []
    assert scene.open(2) == [Status(state="streaming", message="The speech service is back.")]


def test_a_new_incarnation_of_a_draining_session_still_asks_to_reconnect() -> None:
    scene = Scene()
    scene.tell(Drain(10.0))
    restart(scene)
    scene.open(1)
    assert scene.tell(StreamDrained(1, 0)) == [Problem(code="CONN_006", fatal=True), End()]


def test_a_new_incarnation_of_a_session_that_is_over_ends() -> None:
    scene = Scene()
    scene.tell(Deposed(scene.record.epoch))
    assert restart(scene) == [End()]
