"""A PostgreSQL server of our own, for as long as something is measured or tested."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transport.expected import ExpectedError

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))  # Debian's places
UNPRIVILEGED = "nobody"  # the server refuses to run as root
PORT = 5432
SECONDS = 60  # for any of its programs


class NoPostgres(ExpectedError):
    """The server is not installed. The message says how it becomes so."""


class Postgres:
    """A server in a folder of its own, at a UNIX socket there and, if it has one, at an address.

    Args:
        programs: the directory of `initdb` and `pg_ctl`.
        host: the address to listen on; empty: none.
        inside: what is put before its programs; see `bench.processes.Process`.
    """

    def __init__(self, programs: Path, folder: Path, *, host: str = "", inside: Sequence[str] = ()) -> None:
        self._programs = programs
        self._folder = folder
        self._host = host
        self._inside = inside
        self._databases = 0

    def begin(self) -> None:
        """Make the server's files, and start it."""
        data = self._folder / "data"
        self._run("initdb", "--pgdata", str(data), "--auth", "trust", "--username", "voxtree", "--encoding", "UTF8")
        with (data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '{self._host}'\nport = {PORT}\nunix_socket_directories = '{self._folder}'\n"
                "recovery_init_sync_method = syncfs\n"  # it comes back at once, however many databases there are
            )
        if self._host:
            with (data / "pg_hba.conf").open("a") as file:
                file.write("host all all samenet trust\n")
        self.start()

    def start(self) -> None:
        """Start it again after its end."""
        self._pg_ctl("start", "--log", str(self._folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        """End it, by default as a crash would."""
        self._pg_ctl("stop", "--mode", mode)

    def database(self) -> str:
        """The connection string of a new, empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "--host", str(self._folder), "--username", "voxtree", name)
        return self.dsn(name)

    def dsn(self, database: str) -> str:
        """A database's connection string, by the socket, which every process of this machine reaches."""
        return f"host={self._folder} user=voxtree dbname={database}"

    def dsn_from_afar(self, database: str) -> str:
        """The same by the address."""
        return f"host={self._host} user=voxtree dbname={database}"

    def _pg_ctl(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, "--pgdata", str(self._folder / "data"), "--wait", "--silent", *options)

    def _run(self, program: str, *options: str) -> None:
        as_user = ("setpriv", f"--reuid={UNPRIVILEGED}", "--clear-groups") if os.geteuid() == 0 else ()
        subprocess.run(
            [*self._inside, *as_user, str(self._programs / program), *options],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=SECONDS,
        )


@contextmanager
def running(*, host: str = "", inside: Sequence[str] = ()) -> Iterator[Postgres]:
    """A server that runs while the body does, and of which nothing is left behind. See `Postgres`.

    Raises:
        NoPostgres: it is not installed.
    """
    if not PROGRAMS:
        raise NoPostgres("needs PostgreSQL's server (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="voxtree-pg-"))  # short: a socket's path has a hundred characters
    try:
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(UNPRIVILEGED).pw_uid, -1)
        server = Postgres(PROGRAMS[-1], folder, host=host, inside=inside)
        server.begin()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
