"""The server a command talks to: one that runs, or one of its own."""

from __future__ import annotations

import argparse
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from transport.app import serving
from transport.cli.common import add_settings_arguments, loaded_settings
from transport.cli.display import Display


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--url`, and what a server of one's own can be set by."""
    parser.add_argument("--url", help="a server that runs, ws://HOST:PORT/transcribe (default: one of its own)")
    add_settings_arguments(parser)


@asynccontextmanager
async def server(args: argparse.Namespace, display: Display) -> AsyncGenerator[str, None]:
    """The address of the server, which is there meanwhile."""
    if args.url:
        yield args.url
        return
    settings = loaded_settings(args).settings
    display.say("starting a recogniser …")
    async with serving(settings, private=True) as app:
        display.say("")
        yield app.url
