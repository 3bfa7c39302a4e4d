"""JSON Web Tokens: an identity provider has signed who a client is, for us, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from actors.speech.errors import NotAuthenticated
from transport.layers import SettingsError
from transport.settings import Auth

LEEWAY = 30.0  # seconds by which the clocks of who signs and of who checks may differ
SHORTEST_SECRET = 32  # bytes; RFC 7518, section 3.2, for HS256
LONGEST_USER = 256  # characters

# What may be used is decided by the key, never by the token: a public key is no HMAC secret, and `none` is nothing.
_SIGNED_BY = (
    (rsa.RSAPublicKey, ("RS256", "PS256")),
    (ec.EllipticCurvePublicKey, ("ES256",)),
    (ed25519.Ed25519PublicKey, ("EdDSA",)),
)


class Key(Protocol):
    """What tokens are checked with."""

    @property
    def algorithms(self) -> Sequence[str]:
        """Those with which they may be signed."""
        ...

    def for_token(self, kid: str | None) -> Any:
        """The key that a token names; as PyJWT takes it.

        Raises:
            NotAuthenticated: there is no such key.
            ServerBusy: that is being found out.
        """
        ...


class FixedKey:
    """One key for all tokens, whatever they name."""

    def __init__(self, key: Any, algorithms: Sequence[str]) -> None:
        self.algorithms = algorithms
        self._key = key

    def for_token(self, kid: str | None) -> Any:
        """See `Key.for_token`."""
        return self._key


class Tokens:
    """Knows users by tokens that are signed for us (`auth.audience`), by whom we trust (`auth.issuer`)."""

    def __init__(self, wanted: Auth, key: Key) -> None:
        self._key = key
        self._issuer = wanted.issuer
        self._audience = wanted.audience
        self._claim = wanted.user_claim

    def user(self, credential: str) -> str:
        """See `Authority.user`."""
        try:
            kid = jwt.get_unverified_header(credential).get("kid")
            claims = jwt.decode(
                credential,
                self._key.for_token(kid),
                algorithms=list(self._key.algorithms),
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", self._claim]},
            )
        except jwt.ExpiredSignatureError as exc:
            raise NotAuthenticated("this token has expired") from exc
        except (jwt.PyJWTError, ValueError, RecursionError) as exc:  # which part was wrong helps those who try alone
            raise NotAuthenticated("this token is not known") from exc
        user = claims[self._claim]
        if not isinstance(user, str) or not user.isprintable() or not 0 < len(user) <= LONGEST_USER:
            raise NotAuthenticated("this token is not known")
        return user


def make_key(file: str) -> FixedKey:
    """The key in a file: a public one as PEM, or a secret that is shared with who signs.

    Raises:
        SettingsError: there is none that can be used.
    """
    where = f"auth.key_file: {file}"
    try:
        content = Path(file).expanduser().read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"{where}: {(error.strerror or str(error)).lower()}") from None
    if not content.startswith(b"-----BEGIN"):
        if len(content) < SHORTEST_SECRET:
            raise SettingsError(f"{where}: a secret takes {SHORTEST_SECRET} bytes; `openssl rand -hex 32` makes one")
        return FixedKey(content, ("HS256",))
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError):
        raise SettingsError(f"{where}: no public key as PEM (`openssl pkey -in KEY -pubout`)") from None
    for kind, algorithms in _SIGNED_BY:
        if isinstance(key, kind):
            return FixedKey(key, algorithms)
    raise SettingsError(f"{where}: a key of a kind that is not used here; RSA, P-256 and Ed25519 are")
