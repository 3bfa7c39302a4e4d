"""The SQLite store does what every store must, survives kill -9, and says clearly what is wrong with its file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from actors.speech.errors import JournalDamaged, JournalFull, JournalUnavailable, SpeechError
from actors.speech.journal.port import Append, Claim, Claimed, Forget, Occupied, Open, Opened, Outcome, Sweep
from tests.speech.journal.conformance import CONFIG, FIRST, RETENTION, SECOND, Conformance, entries, entry
from transport.journal.database import ThreadedStore
from transport.journal.sqlite import SqliteDatabase


class OnDisk:
    """Each store has a connection and a thread of its own."""

    def __init__(self, path: Path, *, full: bool) -> None:
        self._path = path
        self._full = full
        self._now = 1_700_000_000.0
        self._stores: list[ThreadedStore] = []

    async def store(self) -> ThreadedStore:
        database = SqliteDatabase(self._path, full=self._full, retention=RETENTION, clock=lambda: self._now)
        store = ThreadedStore(database)
        self._stores.append(store)
        await store.open()
        return store

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


class TestSqlite(Conformance):
    @pytest.fixture(params=[False, True], ids=["normal", "full"])
    async def stand(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[OnDisk, None]:
        stand = OnDisk(tmp_path / "journal.db", full=request.param)
        yield stand
        await stand.close()


# ---- kill -9


def test_what_was_acknowledged_is_there_after_kill_9_of_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", "tests.transport.journal.appender", str(path), name, name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("s1", "s2", "s3")
    }
    acknowledged = dict.fromkeys(processes, 0)
    for name, process in processes.items():
        assert process.stdout is not None
        while acknowledged[name] < 300:
            acknowledged[name] = int(process.stdout.readline())
    for name, process in processes.items():
        process.kill()
        assert process.stdout is not None
        for line in process.stdout.read().splitlines(keepends=True):  # behind what was read ahead
            if line.endswith("\n"):
                acknowledged[name] = int(line)
        process.wait(timeout=30)
        process.stdout.close()
    database = SqliteDatabase(path)
    database.open()
    for name, seq in acknowledged.items():
        session = database.session(name)
        assert session is not None
        row, kept = session
        assert row.seq >= seq
        assert [entry.seq for entry in kept] == list(range(1, row.seq + 1))
        assert row.seq % 3 == 0  # a batch is there as a whole, or not at all
    database.close()


# ---- files that are no journal, and disks that do not take one


def database_at(path: Path) -> SqliteDatabase:
    return SqliteDatabase(path, retention=RETENTION, clock=lambda: 1_700_000_000.0)


def filled(path: Path, sessions: int = 1) -> None:
    database = database_at(path)
    database.open()
    for number in range(sessions):
        (opened,) = database.commit([Open(f"s{number}", CONFIG, FIRST)])
        assert isinstance(opened, Opened)
        database.commit([Append(f"s{number}", opened.epoch, entries(1, 2, 3))])
    database.close()


def refusal(path: Path) -> SpeechError:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(SpeechError) as caught:
        database_at(path).open()
    assert (path.read_bytes() if path.is_file() else None) == before
    return caught.value


def test_a_file_that_is_not_sqlite_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"these are my notes, not a journal\n" * 300)
    error = refusal(path)
    assert isinstance(error, JournalDamaged)
    assert error.detail == f"{path} is no SQLite database"


def test_a_database_of_something_else_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE holidays (place TEXT)")
    error = refusal(path)
    assert isinstance(error, JournalDamaged)
    assert error.detail == f"{path} is an SQLite database, but no journal"


def test_a_journal_of_a_later_version_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    filled(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO voxtree_schema VALUES (7)")
    error = refusal(path)
    assert isinstance(error, JournalDamaged)
    assert error.detail == f"{path} is of version 7, and this voxtree knows 3 at most"


@pytest.mark.parametrize("page", [1, 3, 5, 8])
def test_a_torn_page_is_told_and_left_as_it_is(tmp_path: Path, page: int) -> None:
    path = tmp_path / "journal.db"
    filled(path, sessions=600)
    assert path.stat().st_size > 10 * 4096
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xa5" * 2048)
    error = refusal(path)
    assert isinstance(error, JournalDamaged)
    assert error.detail.startswith(f"{path} is damaged: ")


@pytest.mark.parametrize("length", [100, 4096, 3 * 4096 + 17])
def test_a_file_cut_short_is_told_and_left_as_it_is(tmp_path: Path, length: int) -> None:
    path = tmp_path / "journal.db"
    filled(path, sessions=600)
    with path.open("r+b") as file:
        file.truncate(length)
    assert isinstance(refusal(path), JournalDamaged)


def test_damage_that_comes_about_while_it_is_open_is_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    filled(path, sessions=600)
    database, other = database_at(path), database_at(path)
    database.open()
    other.open()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    other.commit([Append("s1", 2, entries(4))])  # what the first one has in its cache is out of date now
    with pytest.raises(JournalDamaged, match="is damaged"):
        database.commit([Claim(f"s{number}", FIRST, SECOND, 0) for number in range(600)])
    database.close()
    other.close()


def test_a_file_that_another_process_keeps_locked_is_told_and_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.journal.sqlite.LOCK_SECONDS", 0.1)
    path = tmp_path / "journal.db"
    database = database_at(path)
    database.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match=r"another process has kept it locked for 0.1 s"):
            database.commit([Open("s1", CONFIG, FIRST)])
        other.execute("ROLLBACK")
    assert database.commit([Open("s1", CONFIG, FIRST)]) == [Opened(1)]
    database.close()


def test_a_full_disk_is_told_takes_nothing_back_and_works_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    filled(path)
    database = database_at(path)
    database.open()
    connection = database._connected()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = [Append("s0", 1, (entry(seq, b"x" * 10_000),)) for seq in (4, 5)]
    with pytest.raises(JournalFull, match="there is no room on its disk"):
        database.commit(big)
    connection.execute("PRAGMA max_page_count = 1000000")
    (claimed,) = database.commit([Claim("s0", FIRST, SECOND, 0)])
    assert isinstance(claimed, Claimed)
    assert claimed.entries == entries(1, 2, 3)
    database.close()


def test_a_folder_that_cannot_be_written_is_told() -> None:
    """As a user who may not: root may write everywhere."""
    script = (
        "import os, sys; from pathlib import Path; from transport.journal.sqlite import SqliteDatabase\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: SqliteDatabase(Path(sys.argv[1])).open()\n"
        "except Exception as error: print(type(error).__name__, error.detail)"
    )
    folder = Path(tempfile.mkdtemp(prefix="voxtree-"))  # a folder of pytest's is closed to other users
    try:
        folder.chmod(0o555)
        command = [sys.executable, "-c", script, str(folder / "journal.db")]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    finally:
        folder.rmdir()
    assert run.stdout == f"JournalUnavailable {folder}/journal.db: permission denied\n", run.stderr


def test_a_path_that_leads_through_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refusal(tmp_path / "file" / "journal.db")
    assert isinstance(error, JournalUnavailable)
    assert error.detail.endswith(("not a directory", "file exists"))


# ---- sharing


def test_processes_may_begin_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    databases = [database_at(path) for _ in range(8)]

    def begin(number: int) -> list[Outcome]:
        databases[number].open()
        return databases[number].commit([Open(f"s{number}", CONFIG, FIRST)])

    with ThreadPoolExecutor(8) as threads:
        outcomes = [outcome for (outcome,) in threads.map(begin, range(8))]
    for database in databases:
        database.close()
    assert sorted(outcome.epoch for outcome in outcomes if isinstance(outcome, Opened)) == list(range(1, 9))


async def test_a_cancelled_call_is_carried_out_and_does_not_disturb_the_next(tmp_path: Path) -> None:
    store = ThreadedStore(database_at(tmp_path / "journal.db"))
    await store.open()
    for number in range(20):
        with anyio.move_on_after(0.0005 * (number % 4)):
            await store.commit([Open(f"s{number}", CONFIG, FIRST)])
    for number in range(20):
        (outcome,) = await store.commit([Open(f"t{number}", CONFIG, FIRST)])
        assert isinstance(outcome, Opened)
    await store.close()
    await store.open()
    assert await store.commit([Open("t0", CONFIG, SECOND)]) == [Occupied()]
    await store.close()


async def test_a_disk_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = database_at(tmp_path / "journal.db")
    goes_on = threading.Event()
    monkeypatch.setattr(database, "commit", lambda operations: goes_on.wait(30) and [])
    store = ThreadedStore(database)
    await store.open()
    with monkeypatch.context() as impatient:
        impatient.setattr("transport.journal.database.PATIENCE", 0.05)
        for _ in range(2):
            with pytest.raises(JournalUnavailable, match=r"the sqlite store has not answered for 0.05 s"):
                await store.commit([Sweep()])
    goes_on.set()
    await store.close()


# ---- for operators


def test_what_is_over_can_be_purged_at_once_and_anything_by_name(tmp_path: Path) -> None:
    now = 1_700_000_000.0
    database = SqliteDatabase(tmp_path / "journal.db", retention=RETENTION, clock=lambda: now)
    database.open()
    database.commit([Open("old", CONFIG, FIRST)])
    now += 100
    database.commit([Open("new", CONFIG, FIRST), Open("newer", CONFIG, FIRST)])
    assert [session_id for session_id, _ in database.sessions()] == ["new", "newer", "old"]
    assert database.purge_over() == 1
    assert database.purge("new") == 1
    assert database.purge("new") == 0
    assert [session_id for session_id, _ in database.sessions()] == ["newer"]
    assert database.session("new") is None
    assert database.purge() == 1
    assert database.sessions() == []
    database.close()


def test_what_was_forgotten_is_not_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    database = database_at(path)
    database.open()
    (opened,) = database.commit([Open("s1", CONFIG, FIRST)])
    assert isinstance(opened, Opened)
    database.commit([Append("s1", opened.epoch, (entry(1, b"a word that nobody must know"),))])
    database.commit([Forget("s1", opened.epoch)])
    database.close()
    assert b"nobody must know" not in path.read_bytes()
