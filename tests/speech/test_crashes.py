"""Every actor of a session crashes at every await, once: no word is lost or doubled, and nobody else notices."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import hosting
from actors.speech import recogniser
from actors.speech.errors import SpeechError, StreamLost
from actors.speech.listening import Listening
from actors.speech.messages import Ack, Done, SessionEvent, Transcript
from actors.speech.outbox import Outbox
from actors.speech.recogniser import Recogniser
from supervisor.testing import settle
from tests.speech.failpoints import Crash, Failpoint
from tests.speech.fakes import WORD, FakeBackend, Habits, speech
from tests.speech.test_sessions import CONFIG, converse, running, states, words

SAID = speech(1, 2) + speech(3, 2)
HEARD = "1 2 3 4"


def of_victim(part: Any) -> bool:
    """Whether a session's actor, its recogniser, or one of its streams belongs to the session called `victim`."""
    path = getattr(part, "path", ())
    return "session:victim" in path or (not path and part._record.session_id == "victim")


def put_around_everything(failpoint: Failpoint, patch: pytest.MonkeyPatch) -> None:
    for owner, name in (
        (hosting._Life, "run"),
        (Recogniser, "run"),
        (recogniser._Life, "listen"),
        (recogniser._Life, "_replace"),
        (Listening, "_send"),
    ):
        patch.setattr(owner, name, failpoint.around(getattr(owner, name)))


async def two_sessions(backend: FakeBackend) -> dict[str, list[SessionEvent]]:
    """A victim and its neighbour say the same."""
    events: dict[str, list[SessionEvent]] = {}
    async with running(backend) as sessions:

        async def one(name: str) -> None:
            events[name] = await converse(await sessions.open(name, CONFIG), SAID)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "victim")
            await settle()  # the first stream is the victim's
            tasks.start_soon(one, "neighbour")
    assert backend.live == 0
    return events


@pytest.mark.parametrize("trouble", ["none", "a lost stream", "a moving stream", "no finals"])
async def test_a_crash_at_any_await_is_recovered_from_and_nobody_else_notices(trouble: str) -> None:
    def fail(stream: int, heard: int) -> SpeechError | None:
        return StreamLost() if trouble == "a lost stream" and stream == 1 and heard > 3.5 * WORD else None

    at, fired = 0, True
    while fired:
        at += 1
        backend = FakeBackend(
            fail=fail,
            max_stream_age=1.0 if trouble == "a moving stream" else float("inf"),
            habits=Habits(finals=trouble != "no finals"),
        )
        failpoint = Failpoint(at, of_victim)
        with pytest.MonkeyPatch.context() as patch:
            put_around_everything(failpoint, patch)
            events = await two_sessions(backend)
        fired = failpoint.fired
        for name, told_to in events.items():
            assert (at, name, words(told_to)) == (at, name, HEARD)
            assert (at, name, isinstance(told_to[-1], Done)) == (at, name, True)
        assert (at, states(events["neighbour"])) == (at, [])
    assert at > 50


async def test_a_crash_between_a_decision_and_its_being_said_says_it_once() -> None:
    """The outbox breaks at every event in turn, before it has taken it."""
    put, at, fired = Outbox.put, 0, True
    while fired:
        at, fired = at + 1, False
        left = at

        def break_once(outbox: Outbox, event: SessionEvent) -> None:
            nonlocal left, fired
            left -= not isinstance(event, Ack)
            if left == 0 and not fired:
                fired = True
                raise Crash
            put(outbox, event)

        async with running(FakeBackend()) as sessions:
            session = await sessions.open("s1", CONFIG)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Outbox, "put", break_once)
                events = await converse(session, SAID)
        assert (at, words(events)) == (at, HEARD)
        said = [event for event in events if isinstance(event, Transcript) and event.is_final]
        assert [final.seq for final in said] == list(range(1, len(said) + 1))
        assert isinstance(events[-1], Done)
    assert at > 5
