"""The journal that the settings ask for. What only some of them need is imported when they do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from actors.speech.journal.body import Bodies, Sealer, TextPolicy
from actors.speech.journal.journal import Journal
from actors.speech.journal.memory import MemoryStore
from actors.speech.journal.port import JournalStore, Retention
from actors.speech.journal.reports import Listener
from transport.expected import ExpectedError
from transport.journal.database import Database, ThreadedStore
from transport.journal.keys import read_key
from transport.settings import Journal as JournalSettings
from transport.settings import Settings, SettingsError

FILE = "journal.db"


def make_journal(settings: Settings, listener: Listener = lambda report: None) -> Journal:
    """The journal of a process, which is not open yet. `listener`: see `Journal`.

    Raises:
        SettingsError: the settings cannot be used.
        ExpectedError: a package that they need is missing.
    """
    return Journal(make_store(settings), listener=listener)


def make_store(settings: Settings) -> JournalStore:
    """Where the journal is kept. Raises as `make_journal` does."""
    database = make_database(settings)
    return MemoryStore(retention(settings)) if database is None else ThreadedStore(database)


def make_database(settings: Settings) -> Database | None:
    """The database it is kept in; None: it is kept in memory. Raises as `make_journal` does."""
    wanted = settings.journal
    match wanted.store:
        case "memory":
            return None
        case "sqlite":
            from transport.journal.sqlite import SqliteDatabase

            path = Path(wanted.path).expanduser() if wanted.path else default_path(os.environ)
            return SqliteDatabase(path, full=wanted.synchronous == "full", retention=retention(settings))
        case "postgres":
            return _postgres(wanted, retention(settings))


def make_bodies(settings: Settings) -> Bodies:
    """How words are kept. A key file is used for reading even where nothing is encrypted any more.

    Raises as `make_journal` does.
    """
    return Bodies(TextPolicy(settings.journal.text), _sealer(settings.journal))


def default_path(environ: Mapping[str, str]) -> Path:
    """Where systemd wants a service's state, else where a user's programs keep theirs.

    Raises:
        SettingsError: the user has no home.
    """
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].partition(":")[0]) / FILE
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "voxtree" / FILE
    try:
        return Path.home() / ".local" / "state" / "voxtree" / FILE
    except RuntimeError:
        raise SettingsError("journal.path: this user has no home directory, so it must be set") from None


def retention(settings: Settings) -> Retention:
    """How long its rows are worth something."""
    return Retention(window=settings.session.resume_window, ttl=settings.journal.ttl)


def _postgres(wanted: JournalSettings, kept: Retention) -> Database:
    try:
        from transport.journal.postgres import PostgresDatabase
    except ImportError as error:
        raise _missing("journal.store = postgres", "psycopg", "postgres") from error
    try:
        return PostgresDatabase(_dsn(wanted), retention=kept)
    except ValueError as error:
        name = "dsn_file" if wanted.dsn_file else "dsn"
        raise SettingsError(f"journal.{name}: {error}") from None


def _dsn(wanted: JournalSettings) -> str:
    if wanted.dsn_file is None:
        return wanted.dsn or ""
    try:
        return Path(wanted.dsn_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ValueError(f"{wanted.dsn_file}: {(reason or str(error)).lower()}") from None


def _sealer(wanted: JournalSettings) -> Sealer | None:
    if wanted.key_file is None:
        return None
    try:
        from transport.journal.sealing import AesGcm
    except ImportError as error:
        raise _missing("journal.key_file", "cryptography", "encrypted") from error
    try:
        return AesGcm(read_key(Path(wanted.key_file).expanduser()))
    except ValueError as error:
        raise SettingsError(f"journal.key_file: {error}") from error


def _missing(what: str, package: str, extra: str) -> ExpectedError:
    return ExpectedError(f"{what} needs the package {package}: pip install 'voxtree[{extra}]'")
