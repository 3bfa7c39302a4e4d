"""The load balancers' files that are shipped, in front of real servers on hosts of a network: what becomes of words."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from actors.speech.errors import JournalUnavailable
from actors.speech.journal.port import Open, Opened, Renew, Written
from bench.balancers import SERVERS, HAProxy, Nginx
from bench.network import Network
from bench.postgres import running
from tests.docs.examples import ROOT
from transport.journal.postgres import PostgresDatabase

SESSIONS = 3
LOCKS = """
import sys, time
from transport.journal.postgres import PostgresDatabase
from transport.journal.postgres_tables import PostgresTables

journal = PostgresDatabase(sys.argv[1])
journal.open()
with journal._connection.pipeline(), journal._connection.transaction():  # as a batch is, between its two round trips
    PostgresTables(journal._connection, 0).load(["s1"], [])
    print("locked", flush=True)
    time.sleep(100)
"""
PROGRAMS = ("haproxy", "nginx", "ip")
LACKS = "root" if os.geteuid() != 0 else next((each for each in PROGRAMS if shutil.which(each) is None), None)

needs_hosts = pytest.mark.skipif(LACKS is not None, reason=f"network namespaces need {LACKS}; `.ci/run` has all of it")


@pytest.mark.slow
@needs_hosts
def test_no_word_is_harmed_when_a_host_is_lost_or_deposed(tmp_path: Path) -> None:
    lost, deposed = played(tmp_path, "22a", "22d", words=25)
    assert lost["facts"]["clients of the lost host"] >= 1
    assert deposed["facts"]["writes of the deposed server that were refused"] >= 1


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@needs_hosts
async def test_what_a_lost_host_had_locked_in_the_journal_is_free_for_others_soon() -> None:
    async with Network(database=11, a=12) as network:
        with (
            running(host=network.address("database"), inside=network.inside("database")) as postgres,
            closing(PostgresDatabase(postgres.dsn("postgres"))) as journal,
        ):
            journal.open()
            (opened,) = journal.commit([Open("s1", b"", b"token")])
            assert isinstance(opened, Opened)
            command = [*network.inside("a"), sys.executable, "-c", LOCKS, postgres.dsn_from_afar("postgres")]
            host = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
            try:
                assert host.stdout is not None
                assert await host.stdout.readline() == b"locked\n"
                await network.unplug("a")
                for _ in range(5):  # each waits for 5 s at most
                    with suppress(JournalUnavailable):
                        assert journal.commit([Renew("s1", opened.epoch, connected=True)]) == [Written()]
                        break
                else:
                    pytest.fail("the lost host still holds its rows")
            finally:
                host.kill()
                await host.wait()


@needs_hosts
@pytest.mark.parametrize(
    ("balancer", "command"), [(HAProxy, ("haproxy", "-c", "-f")), (Nginx, ("nginx", "-e", "stderr", "-t", "-c"))]
)
def test_a_balancer_takes_its_file_as_it_is(
    balancer: type[HAProxy | Nginx], command: tuple[str, ...], tmp_path: Path
) -> None:
    file = balancer(Network(**SERVERS), tmp_path).file
    checked = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=30, check=False)
    said = (checked.stdout + checked.stderr).lower()
    assert (checked.returncode, "warn" in said) == (0, False), said


def played(folder: Path, *cases: str, words: int) -> list[dict[str, Any]]:
    """Cases with a few clients, in which all that is counted is as it must be."""
    report = folder / "faults.json"
    command = [sys.executable, "-m", "bench", "faults", *cases, "--sessions", str(SESSIONS), "--words", str(words)]
    ran = subprocess.run(
        [*command, "--json", str(report)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    outcomes: list[dict[str, Any]] = json.loads(report.read_text())["cases"]
    for outcome in outcomes:
        assert (outcome["unplayable"], outcome["trouble"]) == ("", "")
        assert [outcome[name] for name in ("sent", "received", "lost", "doubled")] == [
            SESSIONS * words,
            SESSIONS * words,
            0,
            0,
        ]
        counted = [check for check in outcome["checks"] if not check["unit"]]  # times are not for a busy machine
        assert [check for check in counted if check["value"] > check["limit"]] == []
    return outcomes
