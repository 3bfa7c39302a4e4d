"""`voxtree errors`: what a code means and what to do about it."""

from __future__ import annotations

import argparse
import difflib

import msgspec

from actors.speech.catalogue import CATALOGUE, Entry
from transport.expected import ExpectedError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", nargs="?", metavar="CODE", help="a code (RIVA_003) or a name; without one: all")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    if args.code is None:
        print(_json(list(CATALOGUE.values())) if args.json else _table())
    else:
        entry = _find(args.code)
        print(_json(entry) if args.json else _description(entry))
    return 0


def _find(text: str) -> Entry:
    wanted = text.upper()
    by_name = {entry.name: entry for entry in CATALOGUE.values()}
    entry = CATALOGUE.get(wanted) or by_name.get(wanted)
    if entry is not None:
        return entry
    close = difflib.get_close_matches(wanted, [*CATALOGUE, *by_name], n=1)
    hint = f"; did you mean {close[0]}?" if close else "; `voxtree errors` lists all"
    raise ExpectedError(f"there is no error {text!r}{hint}")


def _table() -> str:
    rows = [(entry.code, entry.severity.value, entry.name, entry.message) for entry in CATALOGUE.values()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _description(entry: Entry) -> str:
    severity = entry.severity.value
    facts = {
        "it means": entry.meaning,
        "what to do": entry.remedy,
        "voxtree does": entry.retry.value,
        "users read": entry.message,
        "clients do": entry.action.value,
        "close code": str(entry.close or "none: the connection stays open"),
        "severity": severity,
        "metric": f'transcription_errors_total{{error_code="{entry.code}",severity="{severity}"}}',
    }
    lines = [f"  {name:<14}{fact}" for name, fact in facts.items()]
    return "\n".join([f"{entry.code}  {entry.name}", *lines])


def _json(value: Entry | list[Entry]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
