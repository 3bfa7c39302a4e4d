"""The part of `voxtree doctor` that tries the journal."""

from __future__ import annotations

import time
from statistics import median
from uuid import uuid4

from actors.speech.errors import JournalUnavailable, SpeechError
from actors.speech.journal.port import Append, Durability, Entry, Forget, Open, Opened
from transport.cli.common import SURVIVES
from transport.cli.findings import Finding, Level
from transport.expected import ExpectedError
from transport.journal import make_bodies, make_database
from transport.journal.database import Database
from transport.settings import Settings

COMMITS = 20  # whose median is shown
SLOW_COMMIT = 0.1  # seconds; every final waits for one


def examine_journal(settings: Settings) -> Finding:
    """Open it, look at it, and write a session that is gone a moment later."""
    check = f"journal ({settings.journal.store})"
    try:
        make_bodies(settings)
        database = make_database(settings)
        if database is None:
            return Finding(Level.OK, check, SURVIVES[Durability.MEMORY])
        database.open()
        try:
            what, seconds = database.check(), _commit_seconds(database)
        finally:
            database.close()
    except SpeechError as error:
        return Finding(Level.FAIL, check, error.detail + _said(error), _fix(settings, error))
    except ExpectedError as error:
        return Finding(Level.FAIL, check, str(error), "correct the settings of [journal]")
    what = f"{what}, a commit takes {seconds * 1000:.1f} ms; {SURVIVES[database.durability]}"
    if seconds < SLOW_COMMIT:
        return Finding(Level.OK, check, what)
    return Finding(
        Level.WARN, check, what, "every final waits for a commit: choose a faster disk, or a nearer database"
    )


def _said(error: SpeechError) -> str:
    return f": {error.backend_detail}" if error.backend_detail else ""


def _commit_seconds(database: Database) -> float:
    session_id = f"doctor-{uuid4()}"
    (opened,) = database.commit([Open(session_id, b"", uuid4().bytes)])
    assert isinstance(opened, Opened)
    times = []
    try:
        for seq in range(1, COMMITS + 1):
            start = time.perf_counter()
            database.commit([Append(session_id, opened.epoch, (Entry(seq, 0, 0, bytes(200)),))])
            times.append(time.perf_counter() - start)
    finally:
        database.commit([Forget(session_id, opened.epoch)])
    return median(times)


def _fix(settings: Settings, error: SpeechError) -> str:
    if not isinstance(error, JournalUnavailable):
        return error.entry.remedy
    if settings.journal.store == "postgres":
        return "see that the server runs and takes this role, or correct journal.dsn"
    return "see that this user may write there and nobody keeps it locked, or set journal.path"
