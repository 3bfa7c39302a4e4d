"""A PostgreSQL of our own, for the time of the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
UNPRIVILEGED = "nobody"  # the server refuses to run as root


class Postgres:
    """A server on a UNIX socket in a folder of its own; a database for each test."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._databases = 0

    def begin(self) -> None:
        data = self._folder / "data"
        self._run("initdb", "--pgdata", str(data), "--auth", "trust", "--username", "voxtree", "--encoding", "UTF8")
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = ''\nunix_socket_directories = '{self._folder}'\n"
                "recovery_init_sync_method = syncfs\n"  # it comes back at once, however many databases there are
            )
        self.start()

    def start(self) -> None:
        self._pg_ctl("start", "--log", str(self._folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        self._pg_ctl("stop", "--mode", mode)

    def database(self) -> str:
        """The connection string of a new, empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "--host", str(self._folder), "--username", "voxtree", name)
        return self.dsn(name)

    def dsn(self, database: str) -> str:
        return f"host={self._folder} user=voxtree dbname={database}"

    def _pg_ctl(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "--pgdata", str(self._folder / "data"), "--wait", "--silent", *options)

    def _run(self, program: str, *options: str) -> None:
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        subprocess.run(
            [str(self._programs / program), *options],
            check=True,
            user=user,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Skipped where PostgreSQL's server is not installed; `.ci/run` installs it."""
    if not PROGRAMS:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's server is not installed")
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="voxtree-pg-"))  # short: a socket's path has a hundred characters
    try:
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(UNPRIVILEGED).pw_uid, -1)
        server = Postgres(PROGRAMS[-1], folder)
        server.begin()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
