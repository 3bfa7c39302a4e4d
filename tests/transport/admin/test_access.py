"""Who may ask, and for how long a login is good."""

from __future__ import annotations

from pathlib import Path

import pytest

from transport.admin.access import COOKIE, LINK_SECONDS, LOGIN_SECONDS, Access, make_access
from transport.layers import SettingsError, from_option
from transport.settings import Admin, load

TOKEN = "a-secret-of-enough-characters"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(link: str) -> str:
    return link.removeprefix("/login?key=")


def cookie(set_cookie: str) -> dict[str, str]:
    name, _, value = set_cookie.partition(";")[0].partition("=")
    return {name: value}


@pytest.mark.parametrize(
    ("host", "known"),
    [
        (None, True),
        ("127.0.0.1:8601", True),
        ("[::1]:8601", True),
        ("10.1.2.3", True),  # no name, so nothing that a foreign page's name server could have made mean us
        ("localhost:8601", True),
        ("LocalHost", True),
        ("voxtree.internal:80", True),
        ("evil.example:8601", False),
        ("127.0.0.1.evil.example", False),
        ("voxtree.internal@evil.example", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_a_browser_must_call_this_server_by_a_name_it_has(host: str | None, known: bool) -> None:
    assert Access(None, ("voxtree.internal",)).knows(host) is known


def test_without_a_token_whoever_reaches_the_port_may_ask() -> None:
    access = Access(None)
    assert (access.who(None, {}), access.new_link()) == ("this machine", "/console")


@pytest.mark.parametrize(
    ("authorization", "who"),
    [
        (f"Bearer {TOKEN}", "token"),
        (f"bearer  {TOKEN} ", "token"),
        (None, None),
        ("Bearer ", None),
        ("Bearer wrong", None),
        (f"Basic {TOKEN}", None),
        (TOKEN, None),
        ("Bearer ümlaut", None),
    ],
)
def test_with_a_token_it_has_to_be_shown(authorization: str | None, who: str | None) -> None:
    assert Access(TOKEN).who(authorization, {}) == who


def test_a_login_link_works_once_and_its_cookie_for_half_a_day() -> None:
    clock = Clock()
    access = Access(TOKEN, clock=clock)
    link = access.new_link()
    login = access.log_in(key(link))
    assert login is not None
    assert login.endswith("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200")
    assert access.log_in(key(link)) is None
    who = access.who(None, cookie(login))
    assert who is not None
    assert who.startswith("login ")
    assert cookie(login)[COOKIE][:8] not in who
    clock.now += LOGIN_SECONDS
    assert access.who(None, cookie(login)) is None


def test_a_login_link_is_good_for_some_minutes() -> None:
    clock = Clock()
    access = Access(TOKEN, clock=clock)
    link = access.new_link()
    clock.now += LINK_SECONDS
    assert access.log_in(key(link)) is None


@pytest.mark.parametrize("cookies", [{}, {COOKIE: ""}, {COOKIE: "guessed"}, {"other": "x"}])
def test_other_cookies_are_no_login(cookies: dict[str, str]) -> None:
    assert Access(TOKEN).who(None, cookies) is None


# ---- the settings


def test_an_address_that_others_reach_takes_a_token_file() -> None:
    with pytest.raises(SettingsError, match=r"host 0\.0\.0\.0 can be reached from other machines: .* token_file"):
        load(options=[from_option("admin.host=0.0.0.0")], environ={})
    assert Admin(host="0.0.0.0", enabled=False).token_file is None
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Admin(host=host).token_file is None


def test_the_token_is_what_its_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert make_access(Admin(token_file=str(file))).who(f"Bearer {TOKEN}", {}) == "token"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no such file or directory"), (b"short", "at least 16 characters"), (b"\xff" * 20, "not utf-8 text")],
)
def test_a_token_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"^admin.token_file: .*{problem}"):
        make_access(Admin(token_file=str(file)))
