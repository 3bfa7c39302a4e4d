"""`voxtree config`: check the settings, show them with where they come from, describe them to an editor."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from transport.cli.common import add_settings_arguments, loaded_settings
from transport.layers import SECRET, is_secret
from transport.settings import Loaded, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser("check", help="say what is wrong with the settings, if anything")
    show = actions.add_parser("show", help="print the settings in force as a file; secrets are masked")
    show.add_argument("--origin", action="store_true", help="say where each value comes from")
    show.add_argument("--json", action="store_true", help="machine-readable")
    schema = actions.add_parser("schema", help="print the JSON schema of a settings file, for editors")
    for action, function in ((check, _check), (show, _show), (schema, _schema)):
        action.set_defaults(action=function)
    for action in (check, show):
        add_settings_arguments(action)


def run(args: argparse.Namespace) -> int:
    print(args.action(args))
    return 0


def shown(loaded: Loaded, *, with_origin: bool = False) -> str:
    """The settings as a TOML file, secrets masked, with the origin of each value in a comment."""
    lines: list[str] = []
    table: tuple[str, ...] = ()
    for path, value in _flat(_masked(msgspec.to_builtins(loaded.settings))):
        if path[:-1] != table:
            table = path[:-1]
            lines += ["", _header(table)]
        line = f"# {path[-1]} is not set" if value is None else f"{_key(path[-1])} = {_literal(value)}"
        lines.append(line + (f"  # {_origin(loaded, path)}" if with_origin and value is not None else ""))
    return "\n".join(lines).strip()


def _check(args: argparse.Namespace) -> str:
    loaded = loaded_settings(args)
    given = sum(source != "default" for source in loaded.sources.values())
    return f"the settings are fine: {given} given, the others at their defaults"


def _show(args: argparse.Namespace) -> str:
    loaded = loaded_settings(args)
    if not args.json:
        return shown(loaded, with_origin=args.origin)
    values = _masked(msgspec.to_builtins(loaded.settings))
    if args.origin:
        values = {".".join(path): {"value": value, "origin": _origin(loaded, path)} for path, value in _flat(values)}
    return json.dumps(values, indent=2, ensure_ascii=False)


def _schema(args: argparse.Namespace) -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "voxtree settings"}
    return json.dumps(schema | msgspec.json.schema(Settings), indent=2)


def _header(table: tuple[str, ...]) -> str:
    """`[server]`, `[[backends]]` for an entry of a list, `[backends.metadata]` for a table inside one."""
    names = [_key(name) for name in table if not name.isdigit()]
    return f"[[{'.'.join(names)}]]" if table[-1].isdigit() else f"[{'.'.join(names)}]"


def _masked(value: Any, path: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict):
        return {name: _masked(child, (*path, name)) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(child, (*path, str(index))) for index, child in enumerate(value)]
    return SECRET if value is not None and is_secret(".".join(path)) else value


def _flat(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value with its path; a table's own values come before the tables in it, as TOML wants them."""
    for name, child in sorted(value.items(), key=lambda item: _is_table(item[1])):
        match child:
            case dict():
                yield from _flat(child, (*path, name))
            case [dict(), *_]:
                for index, item in enumerate(child):
                    yield from _flat(item, (*path, name, str(index)))
            case _:
                yield (*path, name), child


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _origin(loaded: Loaded, path: tuple[str, ...]) -> str:
    return loaded.sources.get(".".join(path), "default")


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else json.dumps(name)


def _literal(value: object) -> str:
    """JSON's strings, numbers, booleans and lists of them are TOML's too, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
