"""Client secrets: what is known again, for how long, and what is not."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.client_secrets import KEY_BYTES, LIFETIME, PREFIX, ClientSecrets, offered
from transport.wire.port import Request

KEY = bytes(range(KEY_BYTES))


class Clock:
    """A time of day that is set by hand."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_secret_is_known_until_it_expires() -> None:
    clock = Clock()
    ours = ClientSecrets(KEY, clock=clock)

    secret = ours.mint()
    assert secret.expires_at == clock.now + LIFETIME
    assert ours.knows(secret.value)
    clock.now += LIFETIME - 0.001
    assert ours.knows(secret.value)
    clock.now = secret.expires_at
    assert not ours.knows(secret.value)


def test_it_lives_no_shorter_than_promised_though_it_expires_at_a_whole_second() -> None:
    clock = Clock(1_700_000_000.25)
    assert ClientSecrets(KEY, clock=clock).mint().expires_at == 1_700_000_601


def test_processes_know_each_others_if_they_share_the_key_and_not_otherwise() -> None:
    secret = ClientSecrets(KEY).mint().value

    assert ClientSecrets(KEY).knows(secret)
    assert not ClientSecrets(KEY[::-1]).knows(secret)
    assert not ClientSecrets().knows(secret)


def test_no_two_are_the_same_and_each_may_be_offered_as_a_subprotocol() -> None:
    ours = ClientSecrets(KEY, clock=Clock())
    minted = {ours.mint().value for _ in range(100)}

    assert len(minted) == 100
    assert all(re.fullmatch(PREFIX + "[A-Za-z0-9_-]{64}", each) for each in minted)


def test_a_later_expiry_cannot_be_written_into_it() -> None:
    ours = ClientSecrets(KEY, clock=Clock())
    sealed = bytearray(base64.urlsafe_b64decode(ours.mint().value.removeprefix(PREFIX)))

    for place in range(len(sealed)):
        sealed[place] ^= 1
        assert not ours.knows(PREFIX + base64.urlsafe_b64encode(sealed).decode())
        sealed[place] ^= 1
    assert ours.knows(PREFIX + base64.urlsafe_b64encode(sealed).decode())


@given(st.binary(max_size=300), st.integers(10, 7200))
def test_what_a_secret_carries_is_read_again_as_long_as_it_was_to_live(content: bytes, lifetime: int) -> None:
    clock = Clock()
    ours = ClientSecrets(KEY, clock=clock)
    secret = ours.mint(content, lifetime=lifetime).value

    assert re.fullmatch("[A-Za-z0-9_-]+", secret)
    assert ours.content(secret) == content
    clock.now += lifetime
    assert ours.content(secret) is None


@given(st.text() | st.text().map(PREFIX.__add__))
def test_nothing_else_is_known_and_nothing_raises(value: str) -> None:
    assert not ClientSecrets(KEY).knows(value)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="a key of 8 bytes"):
        ClientSecrets(b"password")


def test_the_secret_is_found_among_the_subprotocols() -> None:
    request = Request(path="/", headers={"sec-websocket-protocol": ["realtime, realtime-token.abc", "other"]})

    assert offered(request, "realtime-token.") == "abc"
    assert offered(request, "openai-insecure-api-key.") is None
