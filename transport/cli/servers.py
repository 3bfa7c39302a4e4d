"""The server a command talks to: one that runs, or one of its own."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from transport.app import serving
from transport.cli.common import add_settings_arguments, loaded_settings
from transport.cli.display import Display
from transport.client import Client
from transport.expected import ExpectedError
from transport.settings import Auth, Tls


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--url`, the token for it, and what a server of one's own can be set by."""
    parser.add_argument("--url", help="a server that runs, ws://HOST:PORT/transcribe (default: one of its own)")
    parser.add_argument("--token-file", metavar="FILE", help="with --url: the key or token that the server asks for")
    add_settings_arguments(parser)


@asynccontextmanager
async def server(args: argparse.Namespace, display: Display) -> AsyncGenerator[Client, None]:
    """A client of the server, which is there meanwhile.

    Raises:
        ExpectedError: there is no token in its file.
    """
    token = None if args.token_file is None else _read_token(args.token_file)
    if args.url:
        yield Client(args.url, token)
        return
    settings = loaded_settings(args).settings
    settings = msgspec.structs.replace(settings, auth=Auth(), tls=Tls())  # it is for this command alone
    display.say("starting a recogniser …")
    async with serving(settings, private=True) as app:
        display.say("")
        yield Client(app.url, token)


def _read_token(file: str) -> str:
    try:
        token = Path(file).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no plain text"
        raise ExpectedError(f"--token-file {file}: {(reason or str(error)).lower()}") from None
    if not token or len(token.split()) != 1:
        raise ExpectedError(f"--token-file {file}: it takes one key or token, and nothing else")
    return token
