"""Tokens: only those that the right provider has signed for us, with its own key, and that are still good."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from actors.speech.errors import NotAuthenticated, ServerBusy, SpeechError
from supervisor.spec import Child
from supervisor.tree import Supervisor
from transport.auth.jwks import MOST_BYTES, KeySet, fetched, read
from transport.auth.tokens import Tokens, make_key
from transport.layers import SettingsError
from transport.settings import Auth

pytestmark = pytest.mark.anyio

SECRET = b"0123456789abcdef0123456789abcdef"
ISSUER, AUDIENCE = "https://login.example.com", "voxtree"
ED25519, P256 = Ed25519PrivateKey.generate(), generate_private_key(SECP256R1())


def claims(**changes: Any) -> dict[str, Any]:
    usual = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, "sub": "ann"}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers=None if kid is None else {"kid": kid})


def wanted(**more: Any) -> Auth:
    return Auth(mode="jwt", issuer=ISSUER, audience=AUDIENCE, key_file="-", **more)


def tokens(folder: Path, content: bytes = SECRET, **more: Any) -> Tokens:
    file = folder / "key"
    file.write_bytes(content + b"\n")
    return Tokens(wanted(**more), make_key(str(file)))


def refusal(authority: Tokens, token: str) -> SpeechError:
    with pytest.raises(SpeechError) as refused:
        authority.user(token)
    return refused.value


def public(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


async def test_a_token_says_whose_it_is(tmp_path: Path) -> None:
    assert tokens(tmp_path).user(signed()) == "ann"
    assert tokens(tmp_path).user(signed(aud=["others", AUDIENCE])) == "ann"
    assert tokens(tmp_path, user_claim="email").user(signed(email="ann@example.com")) == "ann@example.com"


@pytest.mark.parametrize(
    ("key", "algorithm"), [(ED25519, "EdDSA"), (P256, "ES256"), (generate_rsa(65537, 2048), "RS256")]
)
async def test_a_public_key_is_enough(tmp_path: Path, key: Any, algorithm: str) -> None:
    assert tokens(tmp_path, public(key)).user(signed(key, algorithm)) == "ann"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://login.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 257},
    ],
)
async def test_a_token_that_is_not_for_us_is_not_known_and_nobody_is_told_why(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    error = refusal(tokens(tmp_path), signed(**changes))
    assert isinstance(error, NotAuthenticated)
    assert error.detail == "this token is not known"


async def test_a_token_is_good_for_half_a_minute_more_than_it_says(tmp_path: Path) -> None:
    assert tokens(tmp_path).user(signed(exp=time.time() - 20)) == "ann"
    assert refusal(tokens(tmp_path), signed(exp=time.time() - 40)).detail == "this token has expired"


def hand_made(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims()).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_a_token_does_not_choose_how_it_is_checked(tmp_path: Path) -> None:
    for authority in (tokens(tmp_path), tokens(tmp_path, public(P256))):
        for token in (
            hand_made({"alg": "none"}),
            hand_made({"alg": "None"}, b"x"),
            signed(b"another secret, of 32 bytes or so"),
            signed(ED25519, "EdDSA"),
            signed(SECRET + SECRET, "HS512"),
            "",
            "a.b.c",
            "é.b.c",
            "." * 8000,
        ):
            assert refusal(authority, token).detail == "this token is not known"


async def test_a_public_key_is_no_secret_to_sign_with(tmp_path: Path) -> None:
    pem = public(P256)
    body = hand_made({"alg": "HS256", "typ": "JWT"}).rpartition(".")[0]
    forged = base64.urlsafe_b64encode(hmac.digest(pem.strip(), body.encode(), "sha256")).rstrip(b"=").decode()
    assert refusal(tokens(tmp_path, pem), f"{body}.{forged}").detail == "this token is not known"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"short", "a secret takes 32 bytes; `openssl rand -hex 32` makes one"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key as PEM"),
    ],
)
async def test_a_key_that_cannot_be_used_is_told(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        tokens(tmp_path, content)


# ---- keys that are published


def published(**keys: Any) -> bytes:
    found = []
    for kid, key in keys.items():
        algorithm = OKPAlgorithm if isinstance(key, Ed25519PrivateKey) else ECAlgorithm
        found.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"})
    return json.dumps({"keys": found}).encode()


class Provider:
    """Publishes keys over HTTP; without a document it fails."""

    def __init__(self) -> None:
        self.document: bytes | None = None
        self.location: str | None = None
        self.asked = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                if provider.location is not None:
                    self.send_response(302)
                    self.send_header("Location", provider.location)
                    self.end_headers()
                    return
                self.send_response(503 if provider.document is None else 200)
                self.end_headers()
                self.wfile.write(provider.document or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"


@contextmanager
def provider() -> Generator[Provider, None, None]:
    found = Provider()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        thread.join()
        found.server.server_close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def user_in_time(authority: Tokens, token: str) -> str:
    with anyio.fail_after(5):
        while True:
            try:
                return authority.user(token)
            except ServerBusy:
                await anyio.sleep(0.01)


async def test_keys_are_fetched_and_new_ones_once_they_are_missed_and_old_ones_outlive_their_provider() -> None:
    clock = Clock()
    with provider() as at:
        at.document = published(a=ED25519)
        keys = KeySet(at.url, clock=clock)
        authority = Tokens(wanted(), keys)
        assert isinstance(refusal(authority, signed(ED25519, "EdDSA", "a")), ServerBusy)  # nothing is fetched yet
        async with Supervisor([Child("token keys", keys.run)]):
            assert await user_in_time(authority, signed(ED25519, "EdDSA", "a")) == "ann"
            assert at.asked == 1
            for _ in range(50):  # who makes keys up does not make us ask
                assert isinstance(refusal(authority, signed(P256, "ES256", "made-up")), NotAuthenticated)
            assert at.asked == 1
            at.document = published(a=ED25519, b=P256)
            clock.now += 61.0
            first = refusal(authority, signed(P256, "ES256", "b"))
            assert (type(first), first.retry_after) == (ServerBusy, 1.0)
            assert await user_in_time(authority, signed(P256, "ES256", "b")) == "ann"
            assert at.asked == 2
            at.document = None
            clock.now += 61.0
            assert isinstance(refusal(authority, signed(ED25519, "EdDSA", "c")), ServerBusy)
            with anyio.fail_after(5):
                while at.asked < 3:  # noqa: ASYNC110  (it is in another thread)
                    await anyio.sleep(0.01)
            assert authority.user(signed(P256, "ES256", "b")) == "ann"


async def test_a_published_key_is_used_for_what_it_is_alone() -> None:
    keys = KeySet("-", fetch=lambda url: published(a=ED25519))
    async with Supervisor([Child("token keys", keys.run)]):
        authority = Tokens(wanted(), keys)
        assert await user_in_time(authority, signed(ED25519, "EdDSA")) == "ann"  # there is one only
        assert refusal(authority, signed(P256, "ES256", "a")).detail == "this token is not known"
        assert refusal(authority, signed(SECRET, "HS256", "a")).detail == "this token is not known"


async def test_a_provider_does_not_send_us_elsewhere_nor_as_much_as_it_likes() -> None:
    with provider() as at:
        at.document = b" " * (MOST_BYTES + 1)
        with pytest.raises(ValueError, match="more than"):
            await anyio.to_thread.run_sync(fetched, at.url)
        at.location = "http://127.0.0.1:1/"
        with pytest.raises(OSError, match="302"):
            await anyio.to_thread.run_sync(fetched, at.url)
        assert at.asked == 2


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"keys": [1]}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}',
        b'{"keys": [{"kty": "new", "kid": "a"}]}',
        b"[" * 200_000,
    ],
)
async def test_a_document_without_public_keys_is_none(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(document)
