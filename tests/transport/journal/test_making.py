"""The journal that settings ask for: where it is, what it promises, and what keeps it from being made."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from actors.speech.journal.body import TextPolicy
from actors.speech.journal.port import Durability
from actors.speech.messages import Gap
from transport.journal import default_path, make_bodies, make_database, make_journal, make_store
from transport.journal.keys import make_key, read_key
from transport.layers import SettingsError, from_option
from transport.settings import Settings, load

SECRET = "hunter2"


def settings(*options: str) -> Settings:
    return load(options=[from_option(f"journal.{option}") for option in options], environ={}).settings


@pytest.mark.parametrize(
    ("options", "name", "durability"),
    [
        ([], "sqlite", Durability.PROCESS),
        (["synchronous=full"], "sqlite", Durability.DISK),
        (["store=memory"], "memory", Durability.MEMORY),
        (["store=postgres", "dsn=postgresql://h/d"], "postgres", Durability.DISK),
        (["store=postgres", "dsn=host=h dbname=d"], "postgres", Durability.DISK),
    ],
)
def test_each_store_says_what_it_promises(options: list[str], name: str, durability: Durability) -> None:
    journal = make_journal(settings(*options))
    assert (journal.name, journal.durability) == (name, durability)


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"STATE_DIRECTORY": "/var/lib/voxtree:/other", "XDG_STATE_HOME": "/x"}, "/var/lib/voxtree/journal.db"),
        ({"XDG_STATE_HOME": "/x"}, "/x/voxtree/journal.db"),
        ({}, str(Path.home() / ".local/state/voxtree/journal.db")),
    ],
)
def test_the_file_is_where_state_is_kept(environ: dict[str, str], path: str) -> None:
    assert str(default_path(environ)) == path


async def test_on_a_fresh_machine_the_default_makes_its_folder_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = make_store(Settings())
    await store.open()
    folder = tmp_path / "state" / "voxtree"
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (folder, *folder.iterdir())}
    await store.close()
    assert modes == {"voxtree": "0o700", "journal.db": "0o600", "journal.db-wal": "0o600", "journal.db-shm": "0o600"}


def test_a_dsn_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "dsn"
    file.write_text("postgresql://h/d\n")
    assert make_database(settings("store=postgres", f"dsn_file={file}")) is not None
    with pytest.raises(SettingsError, match=r"journal.dsn_file: .*/missing: no such file or directory"):
        make_database(settings("store=postgres", f"dsn_file={tmp_path / 'missing'}"))


@pytest.mark.parametrize("dsn", [f"postgresql://u:{SECRET}@[h/d", f"password {SECRET}", f"passwort={SECRET} host=h"])
def test_a_dsn_is_not_shown_however_wrong_it_is(dsn: str) -> None:
    with pytest.raises(SettingsError, match=r"journal\.dsn: is no connection string") as caught:
        make_database(settings("store=postgres", f"dsn={dsn}"))
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_key_encrypts_and_another_one_does_not_decrypt(tmp_path: Path) -> None:
    for name in ("key", "other"):
        make_key(tmp_path / name)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    bodies = make_bodies(settings("text=encrypted", f"key_file={tmp_path / 'key'}"))
    assert bodies.text is TextPolicy.ENCRYPTED
    gap = Gap(seq=1, start=0, end=100, code="AUDIO_004")
    entry, again = bodies.entry("s1", gap), bodies.entry("s1", gap)
    assert b"AUDIO_004" not in entry.body
    assert entry.body != again.body
    assert bodies.event("s1", entry) == gap
    reading = make_bodies(settings("text=none", f"key_file={tmp_path / 'key'}"))
    assert reading.event("s1", again) == gap
    with pytest.raises(Exception, match="it was sealed with another key, or changed since"):
        make_bodies(settings("text=encrypted", f"key_file={tmp_path / 'other'}")).event("s1", entry)


@pytest.mark.parametrize("content", [b"", b"short", base64.b64encode(bytes(31)), b"\xff" * 44, bytes(32)])
def test_a_file_that_holds_no_key_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"journal.key_file: .*/key does not hold 32 bytes as base64; make one"):
        make_bodies(settings("text=encrypted", f"key_file={file}"))


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    key = read_key(tmp_path / "key")
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == key
