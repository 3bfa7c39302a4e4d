"""The keys that tokens are signed with, as an identity provider publishes them (JWKS), fetched and kept up to date."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

import anyio
import anyio.to_thread
import jwt

from actors.speech.errors import NotAuthenticated, ServerBusy
from transport.clients import Life

logger = logging.getLogger("voxtree.auth")

FRESH = 3600.0  # seconds after which the keys are fetched again in any case
SOONEST = 60.0  # … and between two times that a token with an unknown key makes us do it
AFTER_FAILURE = 10.0  # seconds until the next try; the keys that there are stay good
PATIENCE = 5.0  # seconds for one answer
MOST_BYTES = 256 * 1024
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")  # no HMAC: what is published is no secret


class KeySet:
    """The keys at an address. See `transport.auth.tokens.Key`.

    A token that names a key we have not seen makes us look, at most once a minute; meanwhile it may try again.

    Args:
        fetch: gets the document; may block, is called in a thread, and may raise OSError or ValueError.
        clock: seconds.
    """

    algorithms = ALGORITHMS

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._url = url
        self._fetch = fetch or fetched
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._wanted = anyio.Event()
        self._looked_at: float | None = None  # when we last got an answer

    def for_token(self, kid: str | None) -> jwt.PyJWK:
        """See `Key.for_token`."""
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if kid in self._keys:
            return self._keys[kid]
        if self._looked_at is not None and self._clock() < self._looked_at + SOONEST:
            raise NotAuthenticated("this token is not known")
        self._wanted.set()
        raise ServerBusy("the keys for tokens are being fetched", retry_after=1.0)

    async def run(self, *, task_status: Life) -> None:
        """A supervised child: fetch the keys now, when they are old, and when one is missed."""
        task_status.started()
        while True:
            pause = FRESH if await self._look() else AFTER_FAILURE
            self._wanted = anyio.Event()  # whoever came meanwhile comes again
            with anyio.move_on_after(pause):
                await self._wanted.wait()
                if pause == AFTER_FAILURE:  # an endpoint that is down is not asked by every client that comes
                    await anyio.sleep(pause)

    async def _look(self) -> bool:
        try:
            document = await anyio.to_thread.run_sync(self._fetch, self._url, abandon_on_cancel=True)
            keys = read(document)
        except (OSError, ValueError) as error:
            text = "the keys for tokens cannot be fetched from %s (those known go on to be used): %s"
            logger.warning(text, self._url, str(error)[:200], extra={"event": "auth.keys_not_fetched"})
            return False
        if keys.keys() != self._keys.keys():
            text = "keys for tokens: %s"
            logger.info(text, ", ".join(sorted(keys))[:200], extra={"event": "auth.keys_fetched"})
        self._keys = keys
        self._looked_at = self._clock()
        return True


def read(document: bytes) -> dict[str, jwt.PyJWK]:
    """The public keys in a JWKS document, by their ids.

    Raises:
        ValueError: it is none, or has no key that could be used.
    """
    try:
        found: Any = json.loads(document)
        published = [each for each in found["keys"] if each.get("kty") != "oct" and each.get("use", "sig") == "sig"]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as exc:
        raise ValueError("that is no JWKS document") from exc
    keys: dict[str, jwt.PyJWK] = {}
    for each in published:
        try:
            key = jwt.PyJWK.from_dict(each)
        except jwt.PyJWTError:  # of a kind that we do not know, among others that we do
            continue
        if key.algorithm_name in ALGORITHMS:
            keys[str(each.get("kid", ""))] = key
    if not keys:
        raise ValueError("there is no key for signatures in it")
    return keys


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None  # which urllib then tells as an HTTPError: keys come from where the settings say, or not at all


def fetched(url: str) -> bytes:
    """What is at an address. Blocks for `PATIENCE` seconds at most each time that it has to wait.

    Raises:
        OSError, ValueError: it cannot be had.
    """
    try:
        with urllib.request.build_opener(_NoRedirect).open(url, timeout=PATIENCE) as answer:
            document: bytes = answer.read(MOST_BYTES + 1)
    except HTTPError as error:
        error.close()
        raise
    if len(document) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return document
