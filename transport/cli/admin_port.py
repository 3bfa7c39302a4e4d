"""What commands ask the admin port of a running server."""

from __future__ import annotations

import argparse
import http.client
import urllib.error
import urllib.request
from typing import Any

import msgspec

from transport.admin.access import read_token
from transport.admin.pages import ACTION_HEADER
from transport.admin.state import State
from transport.cli.common import add_settings_arguments, loaded_settings
from transport.expected import ExpectedError
from transport.settings import Admin

PATIENCE = 5.0  # seconds for an answer; a server whose event loop stands still gives one too


class NoAnswer(ExpectedError):
    """Nothing, or not what was asked for, came from the address. Its text says what to do."""

    exit_code = 1


class Seen(msgspec.Struct, frozen=True):
    """How a server stands, and how many seconds ago its event loop gave its last sign of life."""

    silence: float
    state: State


class AdminPort:
    """The admin port of a server.

    Args:
        url: `http://127.0.0.1:8601`.
        token: the secret, if it asks for one.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        # Neither a proxy nor another address is to see the token.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)

    def look(self) -> Seen:
        """How everything stands now.

        Raises:
            NoAnswer
        """
        try:
            return msgspec.json.decode(self._ask("/debug/state.json"), type=Seen)
        except msgspec.MsgspecError:
            raise NoAnswer(f"what answers at {self.url} is not voxtree's admin port") from None

    def login_link(self) -> str:
        """A link that logs one browser in.

        Raises:
            NoAnswer
        """
        try:
            return self.url + msgspec.json.decode(self._ask("/login", method="POST"), type=dict[str, str])["path"]
        except (msgspec.MsgspecError, KeyError):
            raise NoAnswer(f"what answers at {self.url} is not voxtree's admin port") from None

    def _ask(self, path: str, method: str = "GET") -> bytes:
        headers = {ACTION_HEADER: "command line"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            request = urllib.request.Request(self.url + path, headers=headers, method=method)
            with self._opener.open(request, timeout=PATIENCE) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            with error:
                raise NoAnswer(self._refused(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise NoAnswer(
                f"no server answers at {self.url}: {text.lower()}\n"
                "`voxtree serve` starts one; --url names another (its `console` line says which)"
            ) from None

    def _refused(self, error: urllib.error.HTTPError) -> str:
        if error.code == 401:
            return f"{self.url} asks for its token: --set admin.token_file=FILE"
        text = error.read(300).decode(errors="replace").strip().splitlines()
        return f"{self.url} answers {error.code}: {text[0] if text else error.reason}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def add_admin_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--url`, and the settings that say where a server of this machine listens for operators."""
    parser.add_argument("--url", help="the admin port of a server, http://HOST:PORT (default: what the settings say)")
    add_settings_arguments(parser)


def admin_port(args: argparse.Namespace) -> AdminPort:
    """The one that the command line means.

    Raises:
        ExpectedError: the address is none.
        SettingsError: the settings cannot be used.
    """
    if args.url and not args.url.startswith(("http://", "https://")):
        raise ExpectedError(f"--url takes http://HOST:PORT, the admin port's address, not {args.url!r}")
    wanted = loaded_settings(args).settings.admin
    return AdminPort(args.url or _url(wanted), read_token(wanted))


def _url(wanted: Admin) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(wanted.host, wanted.host)
    return f"http://[{host}]:{wanted.port}" if ":" in host else f"http://{host}:{wanted.port}"
