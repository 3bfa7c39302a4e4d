"""What is answered at each address, and to whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from tests.transport.admin.states import state
from tests.transport.admin.test_access import TOKEN, cookie
from transport.admin.access import Access
from transport.admin.board import STANDSTILL, Board
from transport.admin.pages import HEADERS, MOST_VIEWERS, Answer, Pages, Request
from transport.admin.state import Check, Moment, Timeline

WELL, FULL = Check(well=True, text="written"), Check(well=False, text="every place is taken", vital=False)
BROKEN = Check(well=False, text="cannot be written: JRNL_001")
TALE = Timeline(events=1, moments=(Moment(at=1.0, what="opened", text="begun"),))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """Pages, and what they show."""

    def __init__(self, token: str | None = None) -> None:
        self.clock = Clock()
        self.board = Board(self.clock)
        self.registry = CollectorRegistry()
        self.access = Access(token, ("voxtree.internal",))
        self.pages = Pages(self.board, self.registry, self.access, {"s": TALE}.get)

    def ask(self, path: str, method: str = "GET", cookies: dict[str, str] | None = None, **headers: str) -> Answer:
        path, _, query = path.partition("?")
        pairs = dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in query.split("&") if pair)
        known = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method=method, path=path, query=pairs, headers=known, cookies=cookies or {})
        return self.pages.answer(request)

    def says(self, path: str) -> tuple[int, Any]:
        answer = self.ask(path)
        return int(answer.status), json.loads(answer.body)


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ---- health


def test_a_loop_that_moves_is_alive_and_one_that_stands_still_is_not(desk: Desk) -> None:
    assert desk.says("/livez") == (200, {"status": "alive"})
    desk.clock.now += STANDSTILL + 0.2
    assert desk.says("/livez") == (503, {"status": "the event loop has stood still for 5.2 s"})
    assert desk.says("/readyz") == (503, {"status": "the event loop stands still"})
    desk.board.beat({"journal": WELL}, started=True)
    desk.clock.now += 1.5
    assert desk.says("/livez?verbose") == (200, {"status": "alive", "checks": {"last sign of life": "1.50 s ago"}})


def test_it_is_ready_while_all_that_is_vital_is_well(desk: Desk) -> None:
    assert desk.says("/readyz") == (503, {"status": "not ready: starting"})
    desk.board.beat({"journal": WELL}, started=True)
    assert desk.says("/readyz") == (200, {"status": "ready"})
    desk.board.beat({"journal": WELL, "capacity": FULL}, started=True)
    assert desk.says("/readyz") == (200, {"status": "ready, degraded: capacity"})
    desk.board.beat({"journal": BROKEN, "capacity": FULL}, started=True)
    assert desk.says("/readyz?verbose") == (
        503,
        {
            "status": "not ready: journal, capacity",
            "checks": {"journal": "FAIL: cannot be written: JRNL_001", "capacity": "degraded: every place is taken"},
        },
    )


def test_it_has_started_when_all_parts_have(desk: Desk) -> None:
    desk.board.beat({}, started=False)
    assert desk.says("/startupz") == (503, {"status": "starting"})
    desk.board.beat({}, started=True)
    assert desk.says("/startupz") == (200, {"status": "started"})


# ---- what there is to see


def test_metrics_come_as_the_scraper_wants_them(desk: Desk) -> None:
    Counter("things", "Things.", registry=desk.registry).inc()
    plain, open_metrics = desk.ask("/metrics"), desk.ask("/metrics", accept="application/openmetrics-text")
    assert plain.type.startswith("text/plain")
    assert b"things_total 1.0\n" in plain.body
    assert open_metrics.type.startswith("application/openmetrics-text")
    assert open_metrics.body.endswith(b"# EOF\n")


def test_the_state_comes_with_its_age(desk: Desk) -> None:
    desk.clock.now += 2.0
    assert desk.ask("/debug/state.json").status is HTTPStatus.SERVICE_UNAVAILABLE
    desk.board.publish(state(3))
    status, seen = desk.says("/debug/state.json")
    assert (status, seen["silence"], list(seen["state"]["sessions"])) == (
        200,
        2.0,
        ["call-0000", "call-0001", "call-0002"],
    )


def test_a_timeline_is_there_for_sessions_that_are_known(desk: Desk) -> None:
    assert desk.says("/debug/session.json?id=s") == (
        200,
        {"events": 1, "moments": [{"at": 1.0, "what": "opened", "text": "begun"}]},
    )
    assert desk.ask("/debug/session.json?id=t").status is HTTPStatus.NOT_FOUND
    assert desk.ask("/debug/session.json").status is HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("path", ["/console", "/console/console.js", "/console/console.css", "/console/icon.svg"])
def test_the_console_is_there_and_small(desk: Desk, path: str) -> None:
    answer = desk.ask(path)
    assert answer.status is HTTPStatus.OK
    assert 0 < len(answer.body) < 60_000


def test_the_console_is_at_most_60_kilobytes_in_all_and_loads_nothing_from_elsewhere(desk: Desk) -> None:
    files = [desk.ask(path).body for path in ("/console", "/console/console.js", "/console/console.css")]
    assert sum(map(len, files)) <= 60_000
    assert [file for file in files if b"://" in file.replace(b"http://www.w3.org/2000/svg", b"")] == []


def test_the_console_writes_text_in_no_other_way_than_as_text(desk: Desk) -> None:
    script = desk.ask("/console/console.js").body
    ways = (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval(", b"Function(", b"srcdoc")
    assert [way for way in ways if way in script] == []
    assert b"<script>" not in desk.ask("/console").body
    assert b" style=" not in desk.ask("/console").body


def test_every_answer_forbids_what_a_page_has_no_use_for() -> None:
    assert HEADERS["Content-Security-Policy"].startswith("default-src 'self';")
    assert (HEADERS["Cache-Control"], HEADERS["X-Content-Type-Options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/console", 404),
        ("DELETE", "/console", 405),
        ("GET", "/console/../pages.py", 404),
    ],
)
def test_other_addresses_and_methods_are_refused(desk: Desk, method: str, path: str, status: int) -> None:
    assert desk.ask(path, method).status == status


# ---- viewers


def events(answer: Answer, count: int) -> Iterator[tuple[str, str, Any]]:
    """Type, id and data of so many events."""
    assert answer.stream is not None
    for _ in range(count):
        fields = dict(line.split(": ", 1) for line in next(answer.stream).decode().strip().splitlines())
        yield fields["event"], fields.get("id", ""), json.loads(fields["data"])


def test_a_viewer_sees_the_state_and_then_what_changes(desk: Desk) -> None:
    desk.board.publish(state())
    answer = desk.ask("/events")
    assert (answer.type, answer.body) == ("text/event-stream", b"retry: 1000\n\n")
    (first,) = events(answer, 1)
    desk.board.publish(state(waiting=2))
    (second,) = events(answer, 1)
    assert (first[0], first[2]["capacity"], second[0], second[2]) == ("state", 100, "patch", {"waiting": 2})
    desk.clock.now += 9.0
    assert list(events(answer, 1)) == [("pulse", "", {"silence": 9.0})]


def test_a_viewer_that_comes_back_goes_on_where_it_was(desk: Desk) -> None:
    desk.board.publish(state())
    first = desk.ask("/events")
    ((_, last, _),) = events(first, 1)
    desk.board.publish(state(waiting=2))
    assert [kind for kind, _, _ in events(desk.ask("/events", last_event_id=last), 1)] == ["patch"]
    for other in ("", "x", "x-1", f"{last}0", f"{last.partition('-')[0]}-²"):
        assert [kind for kind, _, _ in events(desk.ask("/events", last_event_id=other), 1)] == ["state"]


def test_there_is_a_seat_for_a_few_viewers_and_each_is_given_back(desk: Desk) -> None:
    desk.board.publish(state())
    answers = [desk.ask("/events") for _ in range(MOST_VIEWERS)]
    assert desk.ask("/events").status is HTTPStatus.SERVICE_UNAVAILABLE
    assert desk.ask("/events", "HEAD").status is HTTPStatus.OK
    assert answers[0].stream is not None
    answers[0].stream.close()
    assert desk.ask("/events").status is HTTPStatus.OK


def test_viewers_are_let_go_at_the_end(desk: Desk) -> None:
    desk.board.publish(state())
    answer = desk.ask("/events")
    desk.pages.end()
    assert answer.stream is not None
    assert list(answer.stream) == []


# ---- who asks

SECRETS = ("/metrics", "/debug/state.json", "/debug/session.json?id=s", "/events")


@pytest.mark.parametrize("path", SECRETS)
def test_with_a_token_nobody_sees_anything_without_it(path: str) -> None:
    desk = Desk(TOKEN)
    desk.board.publish(state())
    desk.clock.now += 1.0
    assert desk.ask(path).status is HTTPStatus.UNAUTHORIZED
    assert desk.ask(path, authorization="Bearer wrong").status is HTTPStatus.UNAUTHORIZED
    assert desk.ask(path, authorization=f"Bearer {TOKEN}").status is HTTPStatus.OK


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/console", "/console/console.js"])
def test_health_and_the_empty_console_are_for_everybody(path: str) -> None:
    assert Desk(TOKEN).ask(path).status is not HTTPStatus.UNAUTHORIZED


def test_a_login_link_leads_to_the_console_and_opens_it() -> None:
    desk = Desk(TOKEN)
    made = desk.ask("/login", "POST", authorization=f"Bearer {TOKEN}", x_voxtree_action="1")
    link = json.loads(made.body)["path"]
    answer = desk.ask(link)
    assert (answer.status, answer.headers["Location"]) == (HTTPStatus.SEE_OTHER, "/console")
    assert desk.ask("/metrics", cookies=cookie(answer.headers["Set-Cookie"])).status is HTTPStatus.OK
    assert desk.ask(link).status is HTTPStatus.FORBIDDEN


def test_login_links_are_made_for_who_has_the_token() -> None:
    desk = Desk(TOKEN)
    assert desk.ask("/login", "POST", x_voxtree_action="1").status is HTTPStatus.UNAUTHORIZED
    assert desk.ask("/login", "POST", authorization=f"Bearer {TOKEN}").status is HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("path", ["/metrics", "/console", "/livez"])
def test_a_page_that_made_its_own_name_mean_us_is_refused(desk: Desk, path: str) -> None:
    assert desk.ask(path, host="evil.example").status is HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_can_link_to_the_console_and_nothing_else(desk: Desk, site: str) -> None:
    desk.board.publish(state())
    assert desk.ask("/events", sec_fetch_site=site, sec_fetch_mode="no-cors").status is HTTPStatus.FORBIDDEN
    assert desk.ask("/events", sec_fetch_site=site, sec_fetch_mode="navigate").status is HTTPStatus.FORBIDDEN
    assert desk.ask("/console", sec_fetch_site=site, sec_fetch_mode="navigate").status is HTTPStatus.OK
    assert desk.ask("/actions", "POST", sec_fetch_site=site, sec_fetch_mode="navigate").status is HTTPStatus.FORBIDDEN


def test_actions_are_off_unless_wanted_and_take_a_header_of_their_own(desk: Desk) -> None:
    without = desk.ask("/actions", "POST")
    assert (without.status, without.body) == (HTTPStatus.FORBIDDEN, b"this takes the header X-Voxtree-Action\n")
    off = desk.ask("/actions", "POST", x_voxtree_action="1")
    assert (off.status, off.body[:15]) == (HTTPStatus.FORBIDDEN, b"actions are off")
