"""Where clients put what they prove themselves with. Never in the address: logs and proxies keep that."""

from __future__ import annotations

import base64
import binascii

from transport.wire.client_secrets import offered
from transport.wire.port import Request

LONGEST = 8192  # characters; more is not looked at. A token with a dozen claims and an RSA signature has some 1,000

_SCHEMES = ("bearer", "token")  # `Token KEY` is Deepgram's
_ENCODED = "base64url.bearer.voxtree."  # of the subprotocol that our own client sends from a page
# As OpenAI's and Riva Realtime's clients do from a page, which cannot set a header.
_PREFIXES = ("openai-insecure-api-key.", "realtime-token.")


def presented(request: Request) -> str:
    """The key or token that comes with a request; empty: none does."""
    found = _in_headers(request) or _in_subprotocols(request)
    return found if len(found) <= LONGEST else ""


def _in_headers(request: Request) -> str:
    scheme, _, value = request.header("authorization").strip().partition(" ")
    if scheme.lower() in _SCHEMES:
        return value.strip()
    return request.header("x-api-key").strip()


def _in_subprotocols(request: Request) -> str:
    if (encoded := offered(request, _ENCODED)) is not None:
        return _decoded(encoded)
    for prefix in _PREFIXES:
        if (plain := offered(request, prefix)) is not None:
            return plain
    match request.subprotocols:
        case [scheme, value, *_] if scheme.lower() in _SCHEMES:  # Deepgram's pages: `token, KEY`
            return value
    return ""


def _decoded(encoded: str) -> str:
    try:
        padded = encoded + "=" * (-len(encoded) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
