"""Each kind of client carries its key in its own way; no way is in the address."""

from __future__ import annotations

import base64

import pytest

from transport.auth.credentials import LONGEST, presented
from transport.wire.port import Request

KEY = "vox_a-B_9"


def encoded(token: str) -> str:
    return base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer  {KEY} "),
        ("authorization", f"Token {KEY}"),
        ("x-api-key", KEY),
        ("sec-websocket-protocol", f"voxtree.v1, base64url.bearer.voxtree.{encoded(KEY)}"),
        ("sec-websocket-protocol", f"realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1"),
        ("sec-websocket-protocol", f"realtime, realtime-token.{KEY}"),
        ("sec-websocket-protocol", f"token, {KEY}"),
        ("sec-websocket-protocol", f"bearer, {KEY}"),
    ],
)
def test_a_key_is_found_where_clients_put_it(header: str, value: str) -> None:
    assert presented(Request(path="/", headers={header: [value]})) == KEY


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("authorization", f"Basic {KEY}"),
        ("authorization", KEY),
        ("authorization", "Bearer"),
        ("cookie", f"token={KEY}"),
        ("sec-websocket-protocol", "voxtree.v1"),
        ("sec-websocket-protocol", "token"),
        ("sec-websocket-protocol", f"voxtree.v1, token, {KEY}"),
        ("sec-websocket-protocol", "base64url.bearer.voxtree.!"),
        ("sec-websocket-protocol", "base64url.bearer.voxtree._w"),
        ("authorization", f"Bearer {'x' * (LONGEST + 1)}"),
    ],
)
def test_what_is_no_key_is_none(header: str, value: str) -> None:
    assert presented(Request(path="/", headers={header: [value]})) == ""


def test_an_address_carries_no_key() -> None:
    names = ("token", "access_token", "api_key", "key", "authorization")
    assert presented(Request(path="/transcribe", query={name: [KEY] for name in names})) == ""
