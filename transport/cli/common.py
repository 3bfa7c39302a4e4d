"""The options of every command that needs settings: --config, --set, and short names for single settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from actors.speech.journal.port import Durability
from transport.layers import Setting, SettingsError, from_option
from transport.settings import Loaded, load

SURVIVES = {
    Durability.MEMORY: "what is kept survives a client's connection, not the server's process",
    Durability.PROCESS: "what is kept survives the process; a power cut may take the last moments",
    Durability.DISK: "what is kept survives a power cut",
}


def add_settings_arguments(parser: argparse.ArgumentParser, **shortcuts: str) -> None:
    """Add `--config`, `--set`, and an option for each shortcut: `port="server.port"` adds `--port PORT`."""
    group = parser.add_argument_group("settings", "the last one wins; `voxtree config show` lists them")
    group.add_argument(
        "--config", type=Path, metavar="FILE", help="a TOML file with settings (otherwise $VOXTREE_CONFIG)"
    )
    append = partial(group.add_argument, action="append", dest="settings", default=[])
    append("--set", type=_assignment, metavar="PATH=VALUE", help="one setting, as in server.port=9000")
    for name, path in shortcuts.items():
        flag = f"--{name.replace('_', '-')}"
        value = name.upper()
        append(flag, type=_shortcut(flag, path), metavar=value, help=f"same as --set {path}={value}")


def loaded_settings(args: argparse.Namespace) -> Loaded:
    """The settings that the command line asks for.

    Raises:
        SettingsError: when they cannot be used.
    """
    return load(args.config, args.settings)


def _assignment(text: str) -> Setting:
    try:
        return from_option(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--set: ")) from error


def _shortcut(flag: str, path: str) -> Callable[[str], Setting]:
    return lambda text: from_option(f"{path}={text}", source=flag)
