"""A real server as its admin port shows it, and what an operator may do there."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time

import pytest

from actors.speech.errors import UnexpectedError
from bench.riva import Plan, ScriptedRiva
from bench.riva.faults import At, Status
from tests.transport.admin.servers import Answer, ask, asked, backend, riva_and_server, server, speaker, state, until
from transport.app import App, serving
from transport.client import Done, Final, SpeechEvent
from transport.riva.channel import Endpoint
from transport.settings import Admin, Journal, Server, Settings
from transport.starting import CannotStart

pytestmark = pytest.mark.anyio
NOWHERE = Endpoint(name="nowhere", address="127.0.0.1:1")


async def test_the_state_shows_the_tree_the_sessions_and_the_backends() -> None:
    async with riva_and_server() as app, speaker(app, "call-1"):
        seen = await until(app, lambda seen: seen["sessions"].get("call-1", {}).get("finals"))
        assert seen["about"]["url"] == app.url
        assert seen["tree"]["voxtree"]["strategy"] == "one_for_one"
        assert {path for path in seen["tree"] if path.count("/") == 1} == {
            f"voxtree/{name}"
            for name in (
                "watchdog",
                "load",
                "admin",
                "errors",
                "metrics",
                "journal",
                "backends",
                "sessions",
                "front door",
            )
        }
        row = seen["sessions"]["call-1"]
        assert (row["state"], row["connected"], row["backend"], row["limit"]) == ("streaming", True, "riva-a", 20)
        assert 0 < row["durable"] <= row["received"]
        assert {name: part["state"] for name, part in row["parts"].items()} == {
            "session": "running",
            "recogniser": "running",
        }
        one = seen["backends"]["riva-a"]
        assert (one["tier"], one["health"], one["breaker"], one["streams"]) == ("primary", "ready", "closed", 1)
        assert one["probe_at"] >= seen["at"]
        timeline = (await asked(app, "/debug/session.json?id=call-1")).json
        assert [moment["what"] for moment in timeline["moments"]] == ["opened", "stream", "words"]


async def test_a_failure_is_seen_in_the_timeline_and_among_the_errors() -> None:
    plan = Plan(faults=(Status(at=At(position=1.0), code="UNAVAILABLE", text="gone", times=1),))
    async with riva_and_server(plan) as app, speaker(app, "call-1"):
        seen = await until(app, lambda seen: seen["sessions"].get("call-1", {}).get("finals"))
        assert seen["sessions"]["call-1"]["parts"]["recogniser"]["number"] == 2
        error = seen["errors"]["RIVA_005"]
        assert (error["count"], error["where"], "gone" in error["detail"]) == (1, "call-1", True)
        moments = (await asked(app, "/debug/session.json?id=call-1")).json["moments"]
        told = [moment["what"] for moment in moments]
        assert [what for what in told if what in ("opened", "crashed", "recovered", "words")] == [
            "opened", "crashed", "recovered", "words",
        ]  # fmt: skip
        assert [moment["code"] for moment in moments if moment["what"] == "stream lost"] == ["RIVA_005"]


async def test_neither_words_nor_secrets_are_shown_anywhere() -> None:
    async with riva_and_server() as app, speaker(app, "call-1") as session:
        (live,) = app.sessions.live()
        secrets = [client.token for client in live.record.clients.values()]
        session.stop()
        words = [
            word
            for event in [event async for event in session]
            if isinstance(event, Final)
            for word in event.text.split()
        ]
        assert (len(secrets), len(words)) == (1, 10)
        shown = b"".join(
            [
                (await asked(app, path)).body
                for path in ("/debug/state.json", "/debug/session.json?id=call-1", "/metrics")
            ]
        ).decode()
        assert "call-1" in shown
        assert [secret for secret in (*secrets, *words) if secret in shown] == []


async def test_a_session_that_has_ended_is_still_shown() -> None:
    async with riva_and_server() as app:
        async with speaker(app, "call-1") as session:
            session.stop()
            async for _ in session:
                pass
        seen = await until(app, lambda seen: seen["sessions"].get("call-1", {}).get("until"))
        assert seen["sessions"]["call-1"]["state"] == "completed"
        assert (await asked(app, "/debug/session.json?id=call-1")).json["moments"][-1]["what"] == "ended"


async def test_it_is_ready_though_every_backend_is_down_and_says_that_it_is_degraded() -> None:
    async with server(NOWHERE) as app:
        await until(app, lambda seen: not seen["checks"]["backends"]["well"])
        answer = await asked(app, "/readyz?verbose")
        assert (answer.status, answer.json["checks"]["backends"]) == (200, "degraded: 0 of 1 work")
        assert answer.json["status"].startswith("ready, degraded: backends")


async def test_it_is_not_ready_while_the_journal_cannot_be_written() -> None:
    async with server(NOWHERE) as app:
        app.journal.trouble = UnexpectedError("a full disk")
        await until(app, lambda seen: not seen["checks"]["journal"]["well"])
        answer = await asked(app, "/readyz")
        assert (answer.status, answer.json["status"].startswith("not ready: journal")) == (503, True)


async def test_while_it_drains_it_is_not_ready_and_still_answers() -> None:
    async with riva_and_server() as app, speaker(app, "call-1") as session:
        assert app.admin is not None
        url = app.admin.url
        await state(app)
        front_door = next(child for child in app.tree.which_children() if child.id == "front door")
        stopping = asyncio.create_task(app.tree.terminate_child(front_door.id))
        async with asyncio.timeout(30):
            while (answer := await asyncio.to_thread(ask, url, "/readyz")).status == 200:
                pass
        assert "drain" in answer.json["status"]
        session.stop()
        await stopping


async def test_all_parts_are_up_before_it_says_that_it_has_started() -> None:
    async with server(NOWHERE) as app:
        await until(app, lambda seen: True)
        assert (await asked(app, "/startupz")).status == 200


# ---- the loop stands still


async def test_it_answers_while_the_event_loop_is_blocked() -> None:
    """The loop's own thread waits here: nothing of it runs until the answers are there, and two seconds are over."""
    answers: dict[str, Answer] = {}
    async with riva_and_server() as app, speaker(app, "call-1"):
        await state(app)
        assert app.admin is not None
        url, blocked = app.admin.url, threading.Event()

        def look() -> None:
            blocked.wait()
            time.sleep(1.0)  # of the block's two seconds, so that there is some silence to tell of
            for path in ("/livez?verbose", "/metrics", "/console", "/debug/state.json"):
                answers[path] = ask(url, path)

        looking = threading.Thread(target=look)
        looking.start()
        blocked.set()
        time.sleep(2.0)  # noqa: ASYNC251  (that is what it is about)
        looking.join(30.0)
    assert {path: answer.status for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    assert len(answers) == 4
    assert answers["/debug/state.json"].json["silence"] >= 0.9
    assert "call-1" in answers["/debug/state.json"].json["state"]["sessions"]
    assert b"error_handling_duration_seconds" in answers["/metrics"].body


# ---- orders


async def test_backends_are_drained_and_tripped_and_used_again(caplog: pytest.LogCaptureFixture) -> None:
    async with riva_and_server(actions=True) as app:
        await until(app, lambda seen: seen["backends"]["riva-a"]["health"] == "ready")
        for action, field, value in (
            ("drain", "drained", True),
            ("undrain", "drained", None),
            ("trip", "breaker", "open"),
            ("close_breaker", "breaker", "closed"),
        ):
            answer = await asked(app, "/actions", {"action": action, "backend": "riva-a"})
            assert answer.status == 200, answer
            seen = await state(app)
            assert seen["backends"]["riva-a"].get(field) == value
    audit = [record for record in caplog.records if record.name == "voxtree.admin"]
    assert [record.getMessage() for record in audit] == [
        "an operator (this machine) gave the order drain: backend riva-a gets no new streams",
        "an operator (this machine) gave the order undrain: backend riva-a gets streams again",
        "an operator (this machine) gave the order trip: the breaker of riva-a is open",
        "an operator (this machine) gave the order close_breaker: the breaker of riva-a is closed",
    ]
    assert {(record.levelno, vars(record)["event"], vars(record)["by"]) for record in audit} == {
        (logging.WARNING, "admin.action", "this machine")
    }


async def test_a_recogniser_is_restarted_and_its_session_goes_on() -> None:
    async with riva_and_server(actions=True) as app, speaker(app, "call-1") as session:
        await until(app, lambda seen: seen["sessions"].get("call-1", {}).get("finals"))
        path = "voxtree/sessions/session:call-1/recogniser"
        assert (await asked(app, "/actions", {"action": "restart", "path": path})).json == {
            "done": f"{path} was restarted"
        }
        seen = await state(app)
        assert seen["sessions"]["call-1"]["parts"]["recogniser"] == {
            "state": "running",
            "number": 2,
            "last_exit": "shutdown",
        }
        session.stop()
        events: list[SpeechEvent] = [event async for event in session]
        assert isinstance(events[-1], Done)


async def test_a_session_is_closed_with_its_last_words() -> None:
    async with riva_and_server(actions=True) as app, speaker(app, "call-1") as session:
        await until(app, lambda seen: "call-1" in seen["sessions"])
        assert (await asked(app, "/actions", {"action": "close_session", "session": "call-1"})).status == 200
        events: list[SpeechEvent] = [event async for event in session]
        assert isinstance(events[-1], Done)


@pytest.mark.parametrize(
    ("order", "status", "text"),
    [
        ({"action": "drain", "backend": "nobody"}, 409, "there is no backend nobody"),
        ({"action": "close_session", "session": "nobody"}, 409, "there is no session nobody here"),
        ({"action": "restart", "path": "voxtree/nobody"}, 409, "there is no child voxtree/nobody"),
        ({"action": "restart", "path": "voxtree/backends/x/y"}, 409, "there is no"),
        ({"action": "restart", "path": "voxtree/admin/port"}, 409, "cannot be restarted from here"),
        ({"action": "restart", "path": "voxtree/sessions"}, 409, "cannot be restarted from here"),
        ({"action": "restart", "path": "voxtree"}, 409, "cannot be restarted from here"),
        ({"action": "restart", "path": ""}, 409, "cannot be restarted from here"),
        ({"action": "explode"}, 400, "no such action"),
        ({"action": "drain"}, 400, "no such action"),
        ([], 400, "no such action"),
    ],
    ids=str,
)
async def test_an_order_that_cannot_be_carried_out_is_refused(order: object, status: int, text: str) -> None:
    async with server(NOWHERE, actions=True) as app:
        answer = await asked(app, "/actions", order)
        assert (answer.status, text in answer.body.decode()) == (status, True), answer


# ---- starting and failing


async def test_a_taken_port_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(
            backends=(NOWHERE,), server=Server(port=0), journal=Journal(store="memory"), admin=Admin(port=port)
        )
        with pytest.raises(CannotStart, match=rf"^cannot listen on 127\.0\.0\.1:{port}: .*in use; `admin\.port`"):
            async with serving(settings):
                raise AssertionError("it started")


async def test_a_server_without_an_admin_port_is_one() -> None:
    settings = Settings(backends=(NOWHERE,), admin=Admin(enabled=False))
    async with serving(settings, private=True) as app:
        assert app.admin is None
        assert "admin" not in [child.id for child in app.tree.which_children()]


async def test_servers_of_ones_own_do_not_meet_at_the_admin_port() -> None:
    settings = Settings(backends=(NOWHERE,), admin=Admin(host="0.0.0.0", token_file="/nowhere", enabled=False))
    async with serving(settings, private=True), server(NOWHERE) as one, server(NOWHERE) as other:
        assert one.admin is not None
        assert other.admin is not None
        assert one.admin.url != other.admin.url


async def test_an_admin_port_that_fails_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedRiva() as riva, server(backend("riva-a", riva)) as app:
        await state(app)
        assert app.admin is not None
        before = app.admin.url
        await app.tree.value("admin").terminate_child("port")
        assert app.admin.url == ""
        await app.tree.value("admin").restart_child("port")
        assert (await asked(app, "/livez")).status == 200
        assert app.admin.url != before


def test_a_server_that_does_not_run_has_no_address() -> None:
    app = App(Settings(backends=(NOWHERE,)))
    assert app.admin is not None
    assert (app.admin.url, app.admin.login_url()) == ("", "")
