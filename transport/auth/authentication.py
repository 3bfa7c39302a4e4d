"""Who a request comes from, as it proves."""

from __future__ import annotations

from typing import Protocol

from actors.speech.errors import NotAuthenticated
from transport.auth.credentials import presented
from transport.auth.jwks import KeySet
from transport.auth.keys import ApiKeys
from transport.auth.tokens import Tokens, make_key
from transport.settings import Auth
from transport.wire.client_secrets import PREFIX, ClientSecrets
from transport.wire.port import Request


class Authority(Protocol):
    """Knows whose keys or tokens are whose."""

    def user(self, credential: str) -> str:
        """Whose it is; never empty.

        Raises:
            NotAuthenticated: nobody's.
            ServerBusy: that cannot be said yet.
        """
        ...


class Authentication:
    """Asks clients who they are, as `[auth]` has it.

    Whoever has a key or token may have short-lived secrets made by POST, for a page, which count as its user's.

    Attributes:
        key_set: fetches the keys that tokens are signed with; None: they are not fetched. It has to run.

    Args:
        secrets: makes those secrets, and knows them again.

    Raises:
        SettingsError: a file cannot be used.
    """

    def __init__(self, wanted: Auth, secrets: ClientSecrets) -> None:
        self._wanted = wanted
        self._secrets = secrets
        self.key_set = None if wanted.jwks_url is None else KeySet(wanted.jwks_url)
        self._authority = self.read()

    def read(self) -> Authority | None:
        """What the files say now; None: nobody is asked anything.

        Raises:
            SettingsError: a file cannot be used.
        """
        wanted = self._wanted
        match wanted.mode:
            case "none":
                return None
            case "keys":
                return ApiKeys.read(wanted.keys_file or "")
            case "jwt":
                return Tokens(wanted, self.key_set or make_key(wanted.key_file or ""))

    def adopt(self, authority: Authority | None) -> None:
        """Let this hold, which `read` has given, for whoever connects from now on."""
        self._authority = authority

    def user(self, request: Request) -> str:
        """Who it is; empty: nobody is asked.

        Raises:
            NotAuthenticated: it has not proved it.
            ServerBusy: that cannot be said yet.
        """
        if self._authority is None:
            return ""
        credential = presented(request)
        if not credential:
            raise NotAuthenticated("a key or token is missing")
        if credential.startswith(PREFIX):
            return self._of_secret(credential, request)
        return self._authority.user(credential)

    def _of_secret(self, secret: str, request: Request) -> str:
        # A secret is for a WebSocket. It makes no other secrets, or a leaked one would never expire.
        user = None if request.method == "POST" else self._secrets.user(secret)
        if not user:
            raise NotAuthenticated("this client secret is not known, or has expired")
        return user
