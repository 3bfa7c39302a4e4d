"""`voxtree keys new`: make a key with which a client proves who it is."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from transport.auth.keys import new_key
from transport.expected import ExpectedError


class CannotMakeKey(ExpectedError):
    """There is no new key."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser(
        "new",
        help="make a key, show it once, and keep its hash",
        description="Make a key for a user. The key goes to stdout, once; its hash goes into the file, which "
        "auth.keys_file names. A running server takes it on SIGHUP. To revoke a key, remove its line.",
    )
    new.add_argument("name", metavar="NAME", help="the user that whoever has the key counts as")
    new.add_argument("--file", type=Path, metavar="FILE", help="add the line to it (otherwise stderr shows the line)")


def run(args: argparse.Namespace) -> int:
    try:
        key, line = new_key(args.name)
        if args.file is not None:
            _append(args.file.expanduser(), line)
    except ValueError as error:
        raise CannotMakeKey(str(error)) from error
    except OSError as error:
        raise CannotMakeKey(f"{args.file}: {(error.strerror or str(error)).lower()}") from error
    if args.file is None:
        print(f"the line for auth.keys_file:\n{line}\nthe key, which is not shown again:", file=sys.stderr)
    print(key)
    return 0


def _append(file: Path, line: str) -> None:
    existing = file.read_bytes() if file.exists() else b""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open(descriptor, "a", encoding="utf-8") as out:
        out.write(("\n" if existing and not existing.endswith(b"\n") else "") + line + "\n")
