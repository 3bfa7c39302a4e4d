"""Who is let in: the order of the reasons, and who passes in spite of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.errors import ServerBusy, TooManyRequests
from transport.admission import RESUMES, Admission, Caller, Refused
from transport.limits import REASONS, Gate, LoopLoad, ReturnTimes
from transport.limits.load import PAUSE
from transport.settings import Limits, Server
from transport.wire.port import Request


class House:
    """A server with one session, `alive`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.room = self.room_to_return = True
        self.connections = 0
        self.load = LoopLoad()
        self.now = 0.0
        self.gate = Gate(
            limits or Limits(),
            lives=lambda session_id: session_id == "alive",
            has_room=lambda: self.room,
            has_room_to_return=lambda: self.room_to_return,
            connections=lambda: self.connections,
            load=self.load,
            returns=ReturnTimes(lambda: 1.0),
            clock=lambda: self.now,
        )

    def reason(self, session_id: str = "new", *, user: str = "ann", resumes: bool = False) -> str | None:
        denied = self.gate.refusal(user, "192.0.2.1", session_id, resumes=resumes)
        if denied is None:
            return None
        assert denied.reason in REASONS
        kind = TooManyRequests if denied.reason.startswith(("user", "address")) else ServerBusy
        assert isinstance(denied.error, kind)
        assert denied.error.retry_after is not None
        assert denied.error.retry_after > 0
        return denied.reason

    def be_late(self) -> None:
        for _ in range(40):
            self.load.look(1.0, PAUSE)


def test_somebody_is_let_in_while_there_is_room() -> None:
    assert House().reason() is None


def test_without_places_new_ones_are_refused_and_in_the_end_those_who_come_back() -> None:
    house = House()
    house.room = False
    assert (house.reason(), house.reason(resumes=True), house.reason("alive")) == ("sessions", None, None)
    house.room_to_return = False
    assert (house.reason(), house.reason(resumes=True), house.reason("alive")) == ("sessions", "sessions", None)


def test_a_late_loop_refuses_new_ones_and_lets_in_who_comes_back() -> None:
    house = House()
    house.be_late()
    assert (house.reason(), house.reason(resumes=True), house.reason("alive")) == ("loop", None, None)
    for _ in range(100):
        house.load.look(0.0, PAUSE)
    assert house.reason() is None


def test_connections_have_a_limit() -> None:
    house = House(Limits(connections=3))
    house.connections = 3
    assert (house.reason(), house.reason("alive")) == ("connections", None)


def test_a_caller_s_own_limits_come_first_and_do_not_hold_for_a_session_that_lives() -> None:
    house = House(Limits(handshakes_per_user=1.0, handshake_burst=2))
    house.room = False
    assert [house.reason() for _ in range(3)] == ["sessions", "sessions", "user_rate"]
    assert house.reason("alive") is None
    assert house.reason(user="bob") == "sessions"


def test_sessions_of_an_address_have_a_limit() -> None:
    house = House(Limits(sessions_per_address=1))
    with house.gate.present("ann", "192.0.2.1", "s1"):
        assert (house.reason("s2"), house.reason("s1")) == ("address_sessions", None)
    assert house.reason("s2") is None


@given(st.booleans(), st.booleans(), st.integers(0, 3), st.booleans())
def test_a_session_that_lives_is_never_refused(room: bool, late: bool, connections: int, limited: bool) -> None:
    house = House(Limits(connections=1, handshakes_per_address=0.1 if limited else None, handshake_burst=1))
    house.room, house.connections = room, connections
    if late:
        house.be_late()
    assert [house.reason("alive") for _ in range(5)] == [None] * 5


# ---- how a client is told


def asked(**headers: str) -> Request:
    return Request(path="/transcribe/new", headers={name.replace("_", "-"): [value] for name, value in headers.items()})


def test_a_refusal_says_what_why_and_when_to_come_back() -> None:
    house = House()
    house.room = False
    refused = Admission(Server(), gate=house.gate).admit(asked(), "192.0.2.1", "new")
    assert isinstance(refused, Refused)
    answer = refused.answer()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
    assert json.loads(answer.body) == {
        "code": "CONN_005",
        "message": "The service is busy. Please try again shortly.",
        "detail": "there is no place for another session",
        "reason": "sessions",
        "action": "retry",
        "retry_after_ms": 2040,
    }


def test_too_many_from_one_are_429() -> None:
    house = House(Limits(handshakes_per_address=0.25, handshake_burst=1))
    admission = Admission(Server(), gate=house.gate)
    assert admission.admit(asked(), "192.0.2.1") == Caller(address="192.0.2.1")
    refused = admission.admit(asked(), "192.0.2.1")
    assert isinstance(refused, Refused)
    answer = refused.answer()
    assert (answer.status, answer.headers["Retry-After"], json.loads(answer.body)["code"]) == (429, "4", "CONN_012")


@pytest.mark.parametrize(("forwarded", "expected"), [("198.51.100.1", Caller), ("198.51.100.2", Refused)])
def test_who_is_behind_a_proxy_is_counted_by_its_own_address(forwarded: str, expected: type) -> None:
    limits = Limits(handshakes_per_address=0.1, handshake_burst=1)
    admission = Admission(Server(trusted_proxies=("10.0.0.0/8",)), gate=House(limits).gate)
    assert isinstance(admission.admit(asked(x_forwarded_for="198.51.100.2"), "10.0.0.1"), Caller)
    assert isinstance(admission.admit(asked(x_forwarded_for=f"1.1.1.1, {forwarded}"), "10.0.0.1"), expected)
    assert (admission.newcomer("10.0.0.1"), admission.newcomer("192.0.2.1")) == ("", "192.0.2.1")


def test_a_client_of_ours_that_comes_back_is_known_by_what_it_offers() -> None:
    house = House()
    house.be_late()
    admission = Admission(Server(), gate=house.gate)
    assert isinstance(admission.admit(asked(), "192.0.2.1", "new"), Refused)
    offers = asked(sec_websocket_protocol=f"voxtree.v1, {RESUMES}")
    assert isinstance(admission.admit(offers, "192.0.2.1", "new"), Caller)


def test_who_wants_no_session_finds_room() -> None:
    house = House()
    house.room = False
    assert isinstance(Admission(Server(), gate=house.gate).admit(asked(), "", for_session=False), Caller)


def test_limits_that_are_reloaded_hold_for_whoever_comes_next() -> None:
    house = House(Limits(connections=1))
    house.connections = 1
    assert house.reason() == "connections"
    house.gate.adopt(Limits(connections=2, handshakes_per_address=1.0, handshake_burst=1))
    assert [house.reason() for _ in range(2)] == [None, "address_rate"]
