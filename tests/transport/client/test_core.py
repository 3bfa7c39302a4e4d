"""The client's rules, without a network and without a clock."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.transport.client.messages import error, final, interim, ready
from transport.client import (
    CannotConnect,
    ConnectionLost,
    Final,
    GoingAway,
    Interim,
    Problem,
    Ready,
    Reconnecting,
    ResumeFailed,
    SessionFailed,
    TakenOver,
)
from transport.client.commands import Command, Connect, Deliver, Finish, HangUp
from transport.client.core import DEAD_SECONDS, HELD_UP_SECONDS, PING_SECONDS, READY_SECONDS, ClientCore, State
from transport.wire.voxtree_v1_schema import (
    AckMessage,
    DoneMessage,
    FinalizeMessage,
    GoawayMessage,
    PingMessage,
    PongMessage,
    ReceivedMessage,
    ResumeRequest,
    StartConfig,
    StartMessage,
    StopMessage,
)

RATE = 8000
CONFIG = StartConfig(sample_rate=RATE)


def client(
    *, live: bool = False, keep: float = 60.0, frame_bytes: int = 2, give_up_after: float | None = None
) -> ClientCore:
    return ClientCore(
        CONFIG,
        frame_bytes=frame_bytes,
        sample_rate=RATE,
        live=live,
        keep=keep,
        give_up_after=give_up_after,
        random=lambda: 1.0,
    )


def opened(**options: object) -> ClientCore:
    core = client(**options)  # type: ignore[arg-type]
    core.connected(0.0)
    sent(core)
    list(core.received(ready(), 0.0))
    return core


def sent(core: ClientCore, now: float = 0.0) -> list[object]:
    """All that it wants to send now; audio as its length in bytes."""
    messages: list[object] = []
    while (message := core.next_message(now)) is not None:
        messages.append(len(message) if isinstance(message, bytes) else message)
    return messages


def failure(commands: Iterable[Command]) -> SessionFailed:
    (failed,) = [command.failure for command in commands if isinstance(command, Finish)]
    assert failed is not None
    return failed


def told(commands: Iterable[Command]) -> list[object]:
    return [command.event for command in commands if isinstance(command, Deliver)]


def test_it_says_how_it_wants_its_session_and_sends_no_audio_before_that_is_answered() -> None:
    core = client()
    assert list(core.begin()) == [Connect(0.0)]
    core.connected(0.0)
    core.take(bytes(1600), 0.0)
    assert sent(core) == [StartMessage(CONFIG)]
    (event,) = told(core.received(ready(), 0.0))
    assert isinstance(event, Ready)
    assert (event.session_id, event.resumed) == ("s-1", False)
    assert sent(core) == [1600]


def test_marks_and_the_stop_come_at_their_places_in_the_audio() -> None:
    core = opened()
    core.take(bytes(1600), 0.0)
    core.finalize()
    core.finalize()  # nothing has been said between
    core.take(bytes(3200), 0.0)
    core.stop()
    assert sent(core) == [1600, FinalizeMessage(), 3200, StopMessage()]


def test_a_long_piece_goes_out_in_messages_of_a_fifth_of_a_second() -> None:
    core = opened()
    core.take(bytes(2 * RATE), 0.0)
    assert sent(core) == [3200, 3200, 3200, 3200, 3200]


def test_after_a_loss_it_says_what_it_has_and_sends_what_the_server_wants_marks_and_stop_included() -> None:
    core = opened()
    core.take(bytes(1600), 0.0)
    core.finalize()
    core.take(bytes(1600), 0.0)
    core.stop()
    sent(core)
    list(core.received(final(1, 0, 500), 1.0))
    list(core.received(AckMessage(durable=500, received=1600, seq=1), 1.0))
    assert list(core.lost("gone", 2.0)) == [
        Deliver(Reconnecting(reason="gone", attempt=1, delay=0.25)),
        Connect(0.25),
    ]
    core.connected(3.0)
    assert sent(core) == [StartMessage(CONFIG, ResumeRequest(token="secret", seq=1, end=500, oldest=500))]
    list(core.received(ready(position=600, resumed=True, token="another"), 3.0))
    assert sent(core) == [ReceivedMessage(1), 400, FinalizeMessage(), 1600, StopMessage()]
    list(core.lost("gone", 4.0))
    core.connected(5.0)
    (start,) = sent(core)
    assert isinstance(start, StartMessage)
    assert start.resume is not None
    assert start.resume.token == "another"


def test_a_mark_that_the_server_has_is_not_sent_again() -> None:
    core = opened()
    for _ in range(2):
        core.take(bytes(1600), 0.0)
        core.finalize()
    sent(core)
    list(core.lost("gone", 0.0))
    core.connected(0.0)
    sent(core)
    list(core.received(ready(position=1000, resumed=True), 0.0))
    assert sent(core) == [ReceivedMessage(0), 1200, FinalizeMessage()]


def test_a_final_is_delivered_once_and_said_to_be_here() -> None:
    core = opened()
    core.take(bytes(1600), 0.0)
    sent(core)
    assert [type(event) for event in told(core.received(final(1, 0, 100), 0.0))] == [Final]
    assert told(core.received(final(1, 0, 100), 0.0)) == []
    assert [type(event) for event in told(core.received(interim("more"), 0.0))] == [Interim]
    assert sent(core) == [ReceivedMessage(1)]
    assert sent(core) == []


def test_a_final_that_is_missing_is_fetched() -> None:
    core = opened()
    commands = list(core.received(final(2, 100, 200), 0.0))
    assert commands[0] == HangUp(abort=False)
    assert [type(command) for command in commands[1:]] == [Deliver, Connect]
    assert core.state is State.CONNECTING


def test_a_done_before_the_last_final_is_not_believed() -> None:
    core = opened()
    core.stop()
    assert next(iter(core.received(DoneMessage(position=0, seq=1), 0.0))) == HangUp(abort=False)
    assert core.state is State.CONNECTING


def test_kept_audio_comes_as_fast_as_the_server_allows_and_new_audio_at_once() -> None:
    core = opened()
    core.take(bytes(2 * RATE), 0.0)  # one second
    sent(core)
    list(core.lost("gone", 0.0))
    core.connected(10.0)
    sent(core)
    list(core.received(ready(resumed=True, credit=4 * RATE), 10.0))
    assert sent(core, 10.0) == [ReceivedMessage(0)]
    assert core.pause(10.0) == pytest.approx(0.05)
    assert sent(core, 10.05) == [3200]
    assert sent(core, 10.151) == [3200, 3200]
    core.take(bytes(800), 10.3)
    assert sent(core, 10.3) == [3200, 3200, 800]


def test_a_recording_is_taken_as_far_as_there_is_room() -> None:
    core = opened(keep=1.0)
    assert core.take(bytes(2 * RATE + 100), 0.0)[0] == 2 * RATE
    assert core.take(bytes(2), 0.0)[0] == 0
    sent(core)
    list(core.received(AckMessage(durable=50, received=RATE, seq=0), 0.0))
    assert core.take(bytes(200), 0.0)[0] == 100


def test_live_audio_is_always_taken_and_what_is_dropped_is_declared() -> None:
    core = opened(live=True, keep=1.0)
    list(core.lost("gone", 0.0))
    assert core.take(bytes(6 * RATE), 0.0) == (6 * RATE, ())
    core.connected(1.0)
    (start,) = sent(core)
    assert isinstance(start, StartMessage)
    assert start.resume is not None
    assert start.resume.oldest == 2 * RATE + RATE // 10  # and a tenth, so that it does not overflow again at once
    core.take(bytes(200), 1.0)
    list(core.received(ready(position=start.resume.oldest, resumed=True), 1.0))
    assert sum(size for size in sent(core) if isinstance(size, int)) == 2 * (RATE * 9 // 10) + 200


def test_a_server_that_takes_no_live_audio_is_left_when_some_had_to_be_dropped() -> None:
    core = opened(live=True, keep=1.0)
    assert list(core.take(bytes(2 * RATE), 0.0)[1]) == []
    commands = list(core.take(bytes(2), 0.0)[1])
    assert commands[0] == HangUp(abort=False)
    assert core.state is State.CONNECTING


def test_a_sample_cut_in_two_is_refused() -> None:
    with pytest.raises(ValueError, match="101 bytes of audio: whole samples take a multiple of 4"):
        client(frame_bytes=4).take(bytes(101), 0.0)


def test_pauses_grow_and_the_client_gives_up_when_its_session_is_surely_gone() -> None:
    core = opened()
    now, delays = 0.0, []
    commands = list(core.lost("gone", now))
    while not isinstance(commands[-1], Finish):
        assert isinstance(commands[-1], Connect)
        delays.append(commands[-1].delay)
        now += commands[-1].delay
        commands = list(core.unreachable("nobody there", now))
    assert delays[:4] == [0.25, 0.35, 0.35, 0.35]
    assert sum(delays) == pytest.approx(70.0)  # the server's window, and ten seconds
    failed = failure(commands)
    assert isinstance(failed, ConnectionLost)
    assert (failed.code, failed.action) == ("CONN_001", "reconnect")
    assert "nobody there" in str(failed)


def test_a_server_that_names_a_pause_is_given_it() -> None:
    core = opened()
    list(core.lost("gone", 0.0))
    core.connected(1.0)
    commands = list(core.received(error("CONN_005", "retry", retry_after=5.0), 1.0))
    assert commands[-1] == Connect(5.0)


def test_a_connection_that_works_again_makes_the_next_loss_the_first() -> None:
    core = opened(give_up_after=1.0)
    for now in (0.0, 50.0):
        assert Connect(0.25) in list(core.lost("gone", now))
        core.connected(now + 0.5)
        list(core.received(ready(resumed=True), now + 0.5))
        list(core.received(PongMessage(), now + 0.6))


def test_a_restarting_server_is_announced_and_then_left_by_itself() -> None:
    core = opened()
    away = GoawayMessage(code="CONN_006", message="The service is restarting.", deadline_ms=5000)
    assert [type(event) for event in told(core.received(away, 0.0))] == [GoingAway]
    assert core.state is State.OPEN
    commands = list(core.received(error("CONN_006", "reconnect"), 1.0))
    assert commands[0] == HangUp(abort=False)
    assert isinstance(commands[-1], Connect)


@pytest.mark.parametrize(
    ("code", "action", "kind"),
    [
        ("CONN_008", "new_session", ResumeFailed),
        ("CONN_010", "none", TakenOver),
        ("RIVA_002", "fix_config", SessionFailed),
        ("CONN_009", "new_session", SessionFailed),
    ],
)
def test_a_fatal_error_ends_the_session_with_what_the_server_said(
    code: str, action: str, kind: type[SessionFailed]
) -> None:
    failed = failure(opened().received(error(code, action), 0.0))
    assert type(failed) is kind
    assert (failed.code, failed.action, str(failed)) == (code, action, f"It is {code} [{code}]")


def test_an_error_that_is_not_fatal_is_told() -> None:
    core = opened()
    (event,) = told(core.received(error("AUDIO_003", "none", fatal=False), 0.0))
    assert isinstance(event, Problem)
    assert core.state is State.OPEN


def test_a_first_connection_that_fails_is_not_tried_again() -> None:
    failed = failure(client().unreachable("no voxtree server answers", 0.0))
    assert isinstance(failed, CannotConnect)
    core = client()
    core.connected(0.0)
    refused = failure(core.received(error("CONN_005", "retry", retry_after=5.0), 0.0))
    assert (refused.code, refused.action, refused.retry_after) == ("CONN_005", "retry", 5.0)


def test_a_server_that_goes_before_the_session_has_begun_is_tried_twice_more() -> None:
    core = client()
    for lose in (lambda: core.lost("gone", 0.0), lambda: core.unreachable("gone in the handshake", 0.0, broke=True)):
        core.connected(0.0)
        assert [type(command) for command in lose()] == [Connect]
    core.connected(0.0)
    failed = failure(core.lost("gone again", 0.0))
    assert isinstance(failed, CannotConnect)
    assert str(failed).startswith("gone again")


def test_a_server_that_begins_another_session_has_not_resumed_this_one() -> None:
    core = opened()
    list(core.lost("gone", 0.0))
    core.connected(0.0)
    failed = failure(core.received(ready(resumed=False), 0.0))
    assert isinstance(failed, ResumeFailed)
    assert (failed.code, failed.action) == ("CONN_008", "new_session")


def test_audio_that_nobody_has_any_more_cannot_be_sent() -> None:
    core = opened()
    core.take(bytes(1600), 0.0)
    list(core.lost("gone", 0.0))
    core.connected(0.0)
    failed = failure(core.received(ready(resumed=True, position=801), 0.0))
    assert isinstance(failed, ResumeFailed)
    assert "asks for audio from sample 801, samples 0 to 800 are kept" in str(failed)


def test_a_silent_server_is_asked_and_then_given_up() -> None:
    core = opened()
    assert list(core.tick(PING_SECONDS - 0.1)) == []
    assert sent(core) == []
    list(core.tick(PING_SECONDS))
    list(core.tick(PING_SECONDS + 0.5))
    assert sent(core) == [PingMessage()]
    list(core.received(PongMessage(), 6.0))
    assert list(core.tick(6.0 + DEAD_SECONDS)) == []
    assert next(iter(core.tick(6.1 + DEAD_SECONDS))) == HangUp(abort=True)
    assert core.state is State.CONNECTING


def test_a_recording_that_is_held_up_waits_longer() -> None:
    recording, live = opened(), opened(live=True)
    for core in (recording, live):
        core.take(bytes(1600), 0.0)
        sent(core)
    assert list(recording.tick(HELD_UP_SECONDS)) == []
    assert next(iter(recording.tick(HELD_UP_SECONDS + 1.0))) == HangUp(abort=True)
    assert next(iter(live.tick(DEAD_SECONDS + 1.0))) == HangUp(abort=True)


def test_a_server_that_does_not_answer_the_start_is_given_up() -> None:
    core = client()
    core.connected(0.0)
    assert list(core.tick(READY_SECONDS)) == []
    assert isinstance(failure(core.tick(READY_SECONDS + 1.0)), CannotConnect)


def test_a_session_that_cannot_be_resumed_lasts_as_long_as_its_connection() -> None:
    core = client()
    core.connected(0.0)
    list(core.received(ready(token=""), 0.0))
    assert list(core.tick(1000.0)) == []
    assert isinstance(failure(core.lost("gone", 1000.0)), ConnectionLost)


def test_a_refused_handshake_is_told_in_the_server_s_words_at_first_and_waited_out_later() -> None:
    busy = Problem(code="CONN_005", message="The service is busy.", action="retry", detail="full", retry_after=5.0)
    refused = failure(client().unreachable("HTTP 503", 0.0, problem=busy, retry_after=5.0))
    assert (str(refused), refused.code, refused.retry_after) == (
        "The service is busy. (full) [CONN_005]",
        "CONN_005",
        5.0,
    )
    core = opened()
    list(core.lost("gone", 0.0))
    assert list(core.unreachable("HTTP 503", 1.0, problem=busy, retry_after=5.0))[-1] == Connect(5.0)
    assert list(core.unreachable("HTTP 503", 6.0, retry_after=3.0))[-1] == Connect(3.0)
