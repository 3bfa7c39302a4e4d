"""`voxtree journal`: look at what is kept of sessions, and remove it. A server that runs is not disturbed."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.speech.errors import SpeechError
from actors.speech.journal.body import Bodies, unpack_config
from actors.speech.journal.ledger import Row
from actors.speech.journal.port import Entry, Retention
from actors.speech.messages import Gap
from transport.cli.common import add_settings_arguments, loaded_settings
from transport.expected import ExpectedError
from transport.journal import make_bodies, make_database, retention
from transport.journal.database import Database
from transport.journal.keys import make_key
from transport.settings import Settings


class JournalFailed(ExpectedError):
    """It could not be looked at, or what was asked for is not in it."""

    exit_code = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    list_ = actions.add_parser("list", help="all sessions, the latest first")
    show = actions.add_parser("show", help="what is kept of a session: its entries, and the words if it has them")
    purge = actions.add_parser(
        "purge",
        help="remove sessions: those that cannot be resumed any more, a single one, or all",
        description="Remove sessions that cannot be resumed any more, or the ID, or all. "
        "A session that lives ends when it is removed.",
    )
    keygen = actions.add_parser("keygen", help="make a key for journal.key_file")
    show.add_argument("id", metavar="ID", help="of the session")
    which = purge.add_mutually_exclusive_group()
    which.add_argument("id", metavar="ID", nargs="?", help="this session, even if it lives")
    which.add_argument("--all", action="store_true", help="every session, even those that live")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    keygen.add_argument("file", metavar="FILE", type=Path, help="a file that does not exist yet")
    for action, function in ((list_, _list), (show, _show), (purge, _purge), (keygen, _keygen)):
        action.set_defaults(action=function)
    for action in (list_, show):
        action.add_argument("--json", action="store_true", help="machine-readable")
    for action in (list_, show, purge):
        add_settings_arguments(action)


def run(args: argparse.Namespace) -> int:
    try:
        args.action(args)
    except SpeechError as error:
        raise JournalFailed(f"{error}\n{error.entry.remedy}") from error
    return 0


def _list(args: argparse.Namespace) -> None:
    settings = loaded_settings(args).settings
    with _opened(settings) as database:
        sessions = [_session(session_id, row, retention(settings)) for session_id, row in database.sessions()]
    if args.json:
        print(json.dumps(sessions, indent=2, ensure_ascii=False))
    elif not sessions:
        print("no session is kept")
    else:
        _print_table(("SESSION", "STATE", "SINCE", "ENTRIES", "SPEECH"), [_cells(session) for session in sessions])


def _show(args: argparse.Namespace) -> None:
    settings = loaded_settings(args).settings
    with _opened(settings) as database:
        found = database.session(args.id)
    if found is None:
        raise JournalFailed(f"no session {args.id!r} is kept")
    row, entries = found
    bodies, rate = make_bodies(settings), unpack_config(row.config).sample_rate
    session = _session(args.id, row, retention(settings))
    session["kept"] = [_entry(bodies, args.id, entry, rate) for entry in entries]
    if args.json:
        print(json.dumps(session, indent=2, ensure_ascii=False))
        return
    print("  ".join(("session", *_cells(session))))
    if entries:
        print()
        _print_table(("SEQ", "FROM", "TO", "WHAT"), [_entry_cells(entry) for entry in session["kept"]])
    if len(entries) < row.seq:
        print(f"\n{row.seq - len(entries)} of {row.seq} entries are not kept any more: the client has them")


def _purge(args: argparse.Namespace) -> None:
    settings = loaded_settings(args).settings
    with _opened(settings) as database:
        if args.all or args.id is not None:
            what = "every session, even those that live" if args.all else f"session {args.id!r}, even if it lives"
            if not args.yes and sys.stdin.isatty() and not _agreed(f"Remove {what}?"):
                raise JournalFailed("nothing was removed")
            removed = database.purge(args.id)
        else:
            removed = database.purge_over()
    if args.id is not None and not removed:
        raise JournalFailed(f"no session {args.id!r} is kept")
    print(f"{removed} session{'s' * (removed != 1)} removed")


def _keygen(args: argparse.Namespace) -> None:
    try:
        make_key(args.file)
    except OSError as error:
        raise JournalFailed(f"{args.file}: {(error.strerror or str(error)).lower()}") from error
    print(f"{args.file} holds a new key; without it nobody can read what is encrypted with it")


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = make_database(settings)
    if database is None:
        raise JournalFailed("journal.store is memory: only the server itself knows what is in it")
    database.open()
    try:
        yield database
    finally:
        database.close()


def _session(session_id: str, row: Row, retention: Retention) -> dict[str, Any]:
    now = time.time()
    if row.is_connected(now, retention) and row.position is None:
        state = "connected"
    elif now >= row.resumable_until(retention):
        state = "over"
    else:
        state = "waiting" if row.position is None else "finished"
    return {
        "session_id": session_id,
        "state": state,
        "since": _iso(row.since),
        "resumable_until": _iso(row.resumable_until(retention)),
        "epoch": row.epoch,
        "seq": row.seq,
        "seconds": row.end / unpack_config(row.config).sample_rate,
    }


def _entry(bodies: Bodies, session_id: str, entry: Entry, rate: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"seq": entry.seq, "start": entry.start / rate, "end": entry.end / rate}
    try:
        event = bodies.event(session_id, entry)
    except SpeechError as error:
        return {**shown, "problem": error.detail.partition(": ")[2]}
    if event is None:
        return {**shown, "text": None}
    return {**shown, "gap": event.code} if isinstance(event, Gap) else {**shown, "text": event.text}


def _entry_cells(entry: dict[str, Any]) -> tuple[str, ...]:
    if "problem" in entry:
        what = f"({entry['problem']})"
    elif "gap" in entry:
        what = f"gap, {entry['gap']}"
    else:
        what = "(words are not kept)" if entry["text"] is None else entry["text"] or "(silence)"
    return str(entry["seq"]), f"{entry['start']:.2f} s", f"{entry['end']:.2f} s", what


def _cells(session: dict[str, Any]) -> tuple[str, ...]:
    return session["session_id"], session["state"], session["since"], str(session["seq"]), f"{session['seconds']:.1f} s"


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for cells in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _agreed(question: str) -> bool:
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
