"""What is remembered of sessions and of errors, and how long."""

from __future__ import annotations

from actors.speech.backends.events import SessionMoved, Why
from actors.speech.error_handler import ErrorContext
from actors.speech.errors import StreamLost
from actors.speech.ports import Tier
from actors.speech.reports import (
    AudioGivenUp,
    Ending,
    Recovered,
    Said,
    SessionEnded,
    SessionLeft,
    SessionOpened,
    SessionReport,
    SessionResumed,
    Stated,
    StreamBegan,
    StreamFailed,
)
from supervisor.reports import ChildEnded, ChildRestarting, ChildStarted, Exit, ExitKind, GaveUp
from transport.admin.chronicle import ENDED, MOMENTS, Chronicle
from transport.admin.state import Moment

TREE = ("voxtree", "sessions", "session:s")
LOST = StreamLost("reset", endpoint="a", backend_detail="<img onerror>")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def final(words: int = 3, latency: float | None = 0.4) -> Said:
    return Said(session="s", is_final=True, latency=latency, words=words, tier=Tier.PRIMARY)


def ended(session: str = "s") -> SessionEnded:
    return SessionEnded(session=session, ending=Ending.FAILED, code="UNKNOWN", age=60.0, audio=42.04)


def told(chronicle: Chronicle, session: str = "s") -> list[tuple[str, str, str | None]]:
    timeline = chronicle.timeline(session)
    assert timeline is not None
    return [(moment.what, moment.text, moment.code) for moment in timeline.moments]


def of(*reports: SessionReport) -> Chronicle:
    chronicle = Chronicle(Clock())
    for report in reports:
        chronicle.session(report)
    return chronicle


def test_a_timeline_tells_in_plain_words_what_happened() -> None:
    chronicle = of(
        SessionOpened(session="s", epoch=1),
        StreamBegan(session="s", endpoint="a", tier=Tier.PRIMARY, number=1, replayed=0.0),
        StreamFailed(session="s", code="RIVA_005", attempt=1),
    )
    chronicle.tree(ChildEnded(path=(*TREE, "recogniser"), exit=Exit(ExitKind.CRASHED, LOST)))
    chronicle.tree(ChildRestarting(path=(*TREE, "recogniser"), error=LOST, delay=0.25))
    chronicle.tree(ChildStarted(path=(*TREE, "recogniser"), number=2))
    chronicle.pool(SessionMoved(session="s", source="a", target="b", why=Why.FAILOVER))
    for report in (
        StreamBegan(session="s", endpoint="b", tier=Tier.FALLBACK, number=2, replayed=1.52),
        Recovered(session="s", seconds=0.312, source="a", target="b", code="RIVA_005"),
        Stated(session="s", state="degraded", code=None),
        AudioGivenUp(session="s", seconds=2.0, code="AUDIO_004"),
        SessionLeft(session="s"),
        SessionResumed(session="s", epoch=2, away=3.21),
    ):
        chronicle.session(report)
    chronicle.tree(GaveUp(path=TREE, child=(*TREE, "session"), error=None))
    chronicle.session(ended())
    assert told(chronicle) == [
        ("opened", "begun, epoch 1", None),
        ("stream", "at a (primary)", None),
        ("stream lost", "failure 1 in a row", "RIVA_005"),
        ("crashed", "recogniser: reset, endpoint 'a', backend said '<img onerror>'", "RIVA_005"),
        ("waits", "recogniser starts again in 0.25 s", None),
        ("restarted", "recogniser is up again, life 2", None),
        ("moved", "from a to b: failover", None),
        ("stream", "at b (fallback), which hears 1.5 s again", None),
        ("recovered", "first words 0.31 s after the stream was lost, at b, was at a", "RIVA_005"),
        ("told", "the client is told: degraded", None),
        ("gap", "2.0 s of audio could not be transcribed", "AUDIO_004"),
        ("left", "the client's connection has ended; the session waits for it", None),
        ("resumed", "its client is back after 3.2 s, epoch 2", None),
        ("gave up", "its restarts are used up", None),
        ("ended", "failed after 60.0 s, 42.0 s of audio", "UNKNOWN"),
    ]


def test_finals_that_follow_one_another_are_one_moment_and_interims_none() -> None:
    interim = Said(session="s", is_final=False, latency=0.1, words=0, tier=Tier.PRIMARY)
    chronicle = of(SessionOpened(session="s", epoch=1), final(), interim, final(latency=None), final(1, 0.26))
    assert told(chronicle)[1:] == [
        ("words", "3 finals with 7 words from primary, the last 0.26 s after its audio", None)
    ]
    chronicle.session(SessionLeft(session="s"))
    chronicle.session(final(1))
    assert [what for what, _, _ in told(chronicle)] == ["opened", "words", "left", "words"]
    assert chronicle.events("s") == 6


def test_a_timeline_keeps_its_last_moments_and_knows_how_many_there_were() -> None:
    chronicle = of(SessionOpened(session="s", epoch=1))
    for number in range(MOMENTS + 50):
        chronicle.session(StreamFailed(session="s", code="RIVA_005", attempt=number))
    timeline = chronicle.timeline("s")
    assert timeline is not None
    assert (len(timeline.moments), timeline.events) == (MOMENTS, MOMENTS + 51)
    assert timeline.moments[-1].text == f"failure {MOMENTS + 49} in a row"


def test_what_another_thread_was_given_does_not_change() -> None:
    chronicle = of(SessionOpened(session="s", epoch=1))
    given = chronicle.timeline("s")
    chronicle.session(final())
    assert given is not None
    assert given.moments == (Moment(at=1000.0, what="opened", text="begun, epoch 1"),)


def test_ended_sessions_can_be_looked_at_until_too_many_others_have_ended() -> None:
    chronicle = Chronicle(Clock())
    for number in range(ENDED + 1):
        chronicle.session(SessionOpened(session=f"s{number}", epoch=1))
        chronicle.session(ended(f"s{number}"))
    assert chronicle.timeline("s0") is None
    assert [chronicle.timeline(f"s{number}") is None for number in (1, ENDED)] == [False, False]
    row = chronicle.ended["s1"]
    assert (row.state, row.since, row.until, row.received, row.code) == ("failed", 940.0, 1000.0, 42.0, "UNKNOWN")


def test_an_id_that_is_used_again_has_not_ended() -> None:
    chronicle = of(SessionOpened(session="s", epoch=1), ended(), SessionOpened(session="s", epoch=2))
    assert chronicle.ended == {}
    assert [what for what, _, _ in told(chronicle)] == ["opened", "ended", "opened"]


def test_sessions_that_never_began_are_forgotten() -> None:
    chronicle = of(StreamBegan(session="s", endpoint="a", tier=Tier.PRIMARY, number=1, replayed=0.0))
    chronicle.forget_all_but({"s"})
    assert chronicle.timeline("s") is not None
    chronicle.forget_all_but(set())
    assert chronicle.timeline("s") is None


def test_errors_and_events_of_unknown_sessions_begin_no_timeline() -> None:
    chronicle = Chronicle(Clock())
    chronicle.tree(ChildEnded(path=(*TREE, "recogniser"), exit=Exit(ExitKind.CRASHED, LOST)))
    chronicle.error(ErrorContext(session_id="s", error_code="CONN_005"))
    assert chronicle.timeline("s") is None


def test_errors_are_grouped_by_code_the_newest_first_and_rated_by_the_minute() -> None:
    clock = Clock()
    chronicle = Chronicle(clock)
    for when, code, error in ((1000.0, "RIVA_005", LOST), (1050.0, "CONN_001", None), (1055.0, "RIVA_005", None)):
        chronicle.error(ErrorContext(error_code=code, when=when, session_id="s", original_error=error))
    clock.now = 1056.0
    rows = chronicle.errors()
    assert [(code, row.count, row.rate) for code, row in rows.items()] == [("RIVA_005", 2, 2), ("CONN_001", 1, 1)]
    lost = rows["RIVA_005"]
    assert (lost.name, lost.severity, lost.first, lost.last) == ("RIVA_STREAM_LOST", "ERROR", 1000.0, 1055.0)
    assert (lost.where, lost.meaning[:24], lost.remedy[:7]) == ("s", "A running stream broke: ", "Nothing")
    clock.now = 1080.0
    assert {code: row.rate for code, row in chronicle.errors().items()} == {"RIVA_005": 1, "CONN_001": 1}
    clock.now = 1200.0
    assert {code: row.rate for code, row in chronicle.errors().items()} == {"RIVA_005": 0, "CONN_001": 0}
