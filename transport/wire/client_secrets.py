"""Short-lived secrets with which a client opens its WebSocket, for protocols whose clients fetch one by POST first."""

from __future__ import annotations

import base64
import hmac
import math
import secrets
import struct
import time
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from transport.wire.port import Request

PREFIX = "voxtree_cs_"  # for scanners that look for secrets where there should be none
LIFETIME = 600.0  # seconds; OpenAI's default. Only the handshake needs it, so it bounds how long a leaked one is of use
KEY_BYTES = 32  # as many as the digest has; RFC 2104, section 3

_NONCE_BYTES = 6  # no two secrets are the same
_CLAIM = struct.Struct(f">Q{_NONCE_BYTES}sH")  # when it expires, the nonce, the user's length; user and content follow
_DIGEST_BYTES = sha256().digest_size


class ClientSecret(NamedTuple):
    """A secret, and when it expires: seconds since 1970."""

    value: str
    expires_at: int


class ClientSecrets:
    """Makes secrets and knows its own again, without keeping any: each carries its expiry under a keyed digest.

    It carries whose it is, and maybe something else besides, which its holder can read and cannot change.

    A secret may be used more than once: clients that reconnect within its lifetime need not fetch another.

    Args:
        key: what it is known by. Processes that share it know each other's. None: a random one, for this process alone.
        clock: seconds since 1970: clients are told a time of day.

    Raises:
        ValueError: the key has fewer bytes than `KEY_BYTES`.
    """

    def __init__(self, key: bytes | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key
        if len(self._key) < KEY_BYTES:
            raise ValueError(f"a key of {len(self._key)} bytes; it takes {KEY_BYTES}")
        self._clock = clock

    def mint(self, content: bytes = b"", *, user: str = "", lifetime: float = LIFETIME) -> ClientSecret:
        """A new one for a user, good for so many seconds. Its characters are those of a WebSocket subprotocol."""
        expires_at = math.ceil(self._clock() + lifetime)
        whose = user.encode()
        claim = _CLAIM.pack(expires_at, secrets.token_bytes(_NONCE_BYTES), len(whose)) + whose + content
        sealed = base64.urlsafe_b64encode(claim + self._digest(claim)).rstrip(b"=")  # which a subprotocol must not have
        return ClientSecret(PREFIX + sealed.decode("ascii"), expires_at)

    def knows(self, value: str) -> bool:
        """Whether it is one of ours, and not expired."""
        return self.content(value) is not None

    def content(self, value: str) -> bytes | None:
        """What it carries; None: it is none of ours, or expired."""
        opened = self._opened(value)
        return None if opened is None else opened[1]

    def user(self, value: str) -> str | None:
        """Whose it is; None: it is none of ours, or expired."""
        opened = self._opened(value)
        return None if opened is None else opened[0]

    def _opened(self, value: str) -> tuple[str, bytes] | None:
        sealed = _unsealed(value)
        claim, digest = sealed[:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
        if len(claim) < _CLAIM.size or not hmac.compare_digest(digest, self._digest(claim)):
            return None
        expires_at, _, length = _CLAIM.unpack_from(claim)
        if self._clock() >= expires_at:
            return None
        begin = _CLAIM.size + length
        return claim[_CLAIM.size : begin].decode(), claim[begin:]

    def _digest(self, claim: bytes) -> bytes:
        return hmac.digest(self._key, PREFIX.encode("ascii") + claim, sha256)


def offered(request: Request, prefix: str) -> str | None:
    """The secret that a client offers as a subprotocol with this prefix, as browsers must; None: it offers none."""
    return next((each.removeprefix(prefix) for each in request.subprotocols if each.startswith(prefix)), None)


def _unsealed(value: str) -> bytes:
    """What is behind the prefix; empty if that is nothing of ours."""
    prefix, sealed = value[: len(PREFIX)], value[len(PREFIX) :]
    try:
        padded = sealed + "=" * (-len(sealed) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True) if prefix == PREFIX else b""
    except ValueError:
        return b""
