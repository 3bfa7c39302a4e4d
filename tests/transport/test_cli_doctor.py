"""`voxtree doctor` against real ports, limits, files and endpoints that are as they should be, and that are not."""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import grpc
import pytest

from actors.speech.catalogue import CATALOGUE
from tests.transport.riva_server import RivaServer
from transport.cli import doctor_workers
from transport.cli.main import main
from transport.journal.sqlite import SqliteDatabase


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXTREE_CONFIG", raising=False)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_files(limit: int) -> Iterator[None]:
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


class Doctor:
    """Runs the command and keeps what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def examine(self, *sets: str) -> tuple[int, dict[str, dict[str, str]]]:
        """The exit code, and the findings by what was checked."""
        code = main(["doctor", "--json", *(word for assignment in sets for word in ("--set", assignment))])
        findings = json.loads(self._capsys.readouterr().out)
        worst = max(("ok", "warn", "FAIL").index(finding["level"]) for finding in findings)
        assert code == worst
        return code, {finding["check"]: finding for finding in findings}


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(capsys)


def finding(level: str, check: str, what: str, fix: str = "") -> dict[str, str]:
    return {"level": level, "check": check, "what": what, "fix": fix}


def test_a_sound_machine_gets_no_failure(doctor: Doctor, free_port: int) -> None:
    code, findings = doctor.examine(f"server.port={free_port}")
    assert code in (0, 1)  # 1: where voxtree runs from its source, or few files may be open
    assert findings["settings"] == finding("ok", "settings", "can be used")
    assert findings["port"] == finding("ok", "port", f"127.0.0.1:{free_port} is free")
    assert findings["embedded recogniser"]["level"] == "ok"


def test_each_finding_is_one_line_for_people(capsys: pytest.CaptureFixture[str], free_port: int) -> None:
    code = main(["doctor", "--set", f"server.port={free_port}", "--set", "embedded.model_dir=/no/where"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 2
    assert f"ok    port: 127.0.0.1:{free_port} is free" in lines
    assert (
        "FAIL  embedded recogniser: model file /no/where/encoder_model.ort does not exist -> correct embedded.model_dir"
    ) in lines


def test_unusable_settings_are_findings_too(doctor: Doctor) -> None:
    code, findings = doctor.examine("server.port=99999")
    assert code == 2
    assert findings["settings"] == finding(
        "FAIL",
        "settings",
        '--set: server.port: expected int <= 65535, got "99999"',
        "correct it; `voxtree config check` looks again",
    )
    assert "port" not in findings


def test_a_port_that_something_else_holds_is_a_failure(doctor: Doctor) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # bound, not listening: it refuses, as a program that is just starting does
        port = other.getsockname()[1]
        code, findings = doctor.examine(f"server.port={port}")
    assert code == 2
    assert findings["port"] == finding(
        "FAIL",
        "port",
        f"127.0.0.1:{port} cannot be had: address already in use",
        "stop what listens there, or choose another: --set server.port=8610",
    )


@pytest.mark.parametrize(("name", "other"), [("vosk", 2701), ("riva", 50052)])
def test_the_ports_of_other_protocols_are_looked_at_where_they_are_wanted(
    doctor: Doctor, name: str, other: int
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        _, findings = doctor.examine("server.port=0", f"dialects.{name}_port={port}")
    assert findings[f"{name} port"] == finding(
        "FAIL",
        f"{name} port",
        f"127.0.0.1:{port} cannot be had: address already in use",
        f"stop what listens there, or choose another: --set dialects.{name}_port={other}",
    )
    _, findings = doctor.examine("server.port=0")
    assert f"{name} port" not in findings


def test_the_admin_port_is_looked_at_too_and_its_token(doctor: Doctor, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        _, findings = doctor.examine("server.port=0", f"admin.port={port}", f"admin.token_file={tmp_path / 'none'}")
    assert findings["admin port"] == finding(
        "FAIL",
        "admin port",
        f"127.0.0.1:{port} cannot be had: address already in use",
        "stop what listens there, or choose another: --set admin.port=8611",
    )
    assert findings["admin token"] == finding(
        "FAIL", "admin token", f"{tmp_path / 'none'}: no such file or directory", "correct the file"
    )
    _, findings = doctor.examine("server.port=0", "admin.enabled=false")
    assert {"admin port", "admin token"}.isdisjoint(findings)


def test_a_port_that_voxtree_itself_holds_is_fine(doctor: Doctor) -> None:
    class Alive(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not on the test's stderr."""

    with HTTPServer(("127.0.0.1", 0), Alive) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        _, findings = doctor.examine(f"server.port={server.server_port}")
        server.shutdown()
        thread.join()
    assert findings["port"] == finding("ok", "port", f"voxtree is already serving on 127.0.0.1:{server.server_port}")


def test_an_address_that_is_not_ours_is_a_failure(doctor: Doctor) -> None:
    code, findings = doctor.examine("server.host=192.0.2.1", "auth.allow_public=true")
    assert code == 2
    assert findings["port"]["level"] == "FAIL"
    assert findings["port"]["what"] == "192.0.2.1:8600 cannot be had: cannot assign requested address"


@pytest.mark.parametrize(
    ("sessions", "level", "what", "fix"),
    [
        ("100", "ok", "up to 1024", ""),
        ("1000", "FAIL", "at most 1024, each session is one and there may be 1000", "ulimit -n 1256"),
        ("null", "warn", "at most 1024, each session is one", "ulimit -n 4096"),
    ],
)
def test_the_limit_of_open_files_is_held_against_the_session_limit(
    doctor: Doctor, sessions: str, level: str, what: str, fix: str
) -> None:
    with open_files(1024):
        _, findings = doctor.examine(f"session.max_sessions={sessions}")
    assert findings["open files"]["level"] == level
    assert findings["open files"]["what"] == what
    assert findings["open files"]["fix"].partition(",")[0] == fix


RIVA = "dialects.riva_port=50052"


@pytest.mark.parametrize(
    ("sets", "migrates", "said"),
    [
        (["server.workers=4"], "1", finding("ok", "workers", "4 for 4 cores")),
        (["server.workers=1", RIVA], "0", finding("ok", "workers", "1 for 4 cores")),
        (["server.workers=9"], "1", finding("warn", "workers", "9 for 4 cores: they take turns", "--workers 4")),
        (["server.workers=2"], "0", finding("ok", "workers", "2 for 4 cores")),
        (
            ["server.workers=2", RIVA],
            "0",
            finding(
                "ok",
                "workers",
                "2 for 4 cores; gRPC clients that connect in the moment in which one ends must try again "
                "(tcp_migrate_req is 0)",
            ),
        ),
    ],
)
def test_workers_are_held_against_the_cores(
    doctor: Doctor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    sets: list[str],
    migrates: str,
    said: dict[str, str],
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    kernel = tmp_path / "tcp_migrate_req"
    kernel.write_text(f"{migrates}\n")
    monkeypatch.setattr(doctor_workers, "MIGRATES", kernel)
    _, findings = doctor.examine(*sets)
    assert findings["workers"] == said


def test_the_directory_for_waiting_audio_is_tried(doctor: Doctor, tmp_path: Path) -> None:
    _, findings = doctor.examine(f"session.spool_dir={tmp_path}")
    assert findings["spool"]["level"] == "ok"
    assert findings["spool"]["what"].startswith(f"{tmp_path} can be written, ")
    assert list(tmp_path.iterdir()) == []
    code, findings = doctor.examine(f"session.spool_dir={tmp_path / 'missing'}")
    assert code == 2
    assert findings["spool"] == finding(
        "FAIL",
        "spool",
        f"{tmp_path / 'missing'} cannot be written: no such file or directory",
        "correct session.spool_dir",
    )


def test_a_disk_too_small_for_all_waiting_audio_is_a_warning(doctor: Doctor) -> None:
    _, findings = doctor.examine("session.max_sessions=1000000", "session.spool_seconds=86400")
    assert findings["spool"]["level"] == "warn"
    assert findings["spool"]["what"].endswith("audio of all sessions may take 2764800.0 GB while no backend works")


def test_without_waiting_audio_on_disk_its_directory_does_not_matter(doctor: Doctor) -> None:
    _, findings = doctor.examine("session.spool_seconds=0", "session.spool_dir=/no/where")
    assert "spool" not in findings


def test_the_journal_is_opened_written_and_left_as_it_was(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    _, findings = doctor.examine(f"journal.path={path}")
    found = findings["journal (sqlite)"]
    assert found["level"] == "ok"
    assert found["what"].startswith(f"{path}, 0.0 MB, a commit takes ")
    assert found["what"].endswith("what is kept survives the process; a power cut may take the last moments")
    _, findings = doctor.examine(f"journal.path={path}", "journal.synchronous=full")
    assert findings["journal (sqlite)"]["what"].endswith("what is kept survives a power cut")
    database = SqliteDatabase(path)
    database.open()
    assert database.sessions() == []
    database.close()


def test_a_journal_in_memory_is_said_to_be_none_that_lasts(doctor: Doctor) -> None:
    _, findings = doctor.examine("journal.store=memory")
    assert (
        findings["journal (memory)"]["what"] == "what is kept survives a client's connection, not the server's process"
    )


@pytest.mark.parametrize(
    ("settings", "check", "what", "fix"),
    [
        (
            ["journal.path={folder}/notes"],
            "journal (sqlite)",
            "{folder}/notes is no SQLite database",
            "Move the file away, or name another one, and a new journal is begun; or restore it from a backup.",
        ),
        (
            ["journal.path={folder}/notes/journal.db"],
            "journal (sqlite)",
            "{folder}/notes: file exists",
            "see that this user may write there and nobody keeps it locked, or set journal.path",
        ),
        (
            ["journal.store=postgres", "journal.dsn_file={folder}/none"],
            "journal (postgres)",
            "journal.dsn_file: {folder}/none: no such file or directory",
            "correct the settings of [journal]",
        ),
        (
            ["journal.text=encrypted", "journal.key_file={folder}/none"],
            "journal (sqlite)",
            "journal.key_file: {folder}/none: no such file or directory",
            "correct the settings of [journal]",
        ),
    ],
)
def test_a_journal_that_cannot_be_had_is_found(
    doctor: Doctor, tmp_path: Path, settings: list[str], check: str, what: str, fix: str
) -> None:
    (tmp_path / "notes").write_text("not a journal " * 100)
    code, findings = doctor.examine(*(setting.format(folder=tmp_path) for setting in settings))
    assert code == 2
    assert findings[check] == finding("FAIL", check, what.format(folder=tmp_path), fix)


def test_a_database_that_is_not_there_is_found_and_its_password_not_shown(doctor: Doctor, free_port: int) -> None:
    dsn = f"postgresql://voxtree:hunter2@127.0.0.1:{free_port}/journal"
    _, findings = doctor.examine("journal.store=postgres", f"journal.dsn={dsn}")
    found = findings["journal (postgres)"]
    assert found["level"] == "FAIL"
    assert "Connection refused" in found["what"]
    assert found["fix"] == "see that the server runs and takes this role, or correct journal.dsn"
    assert "hunter2" not in json.dumps(findings)


def test_a_distribution_that_overwrites_ours_is_found(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "supervisor-4.3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: supervisor\nVersion: 4.3.0\n")
    (info / "top_level.txt").write_text("supervisor\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, findings = doctor.examine()
    assert code == 2
    assert findings["package supervisor"] == finding(
        "FAIL",
        "package supervisor",
        "is also installed by supervisor",
        "install voxtree in an environment of its own (pipx, uv tool, or a venv)",
    )


def test_what_the_extras_need_is_checked_against_what_is_installed(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = ["anyio>=4", "nothing-of-this-name>=1; extra == 'server'", "voxtree[server]; extra == 'local'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needs)
    real_version = metadata.version
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1" if name == "voxtree" else real_version(name))
    code, findings = doctor.examine()
    assert code == 2
    assert findings["packages (base)"] == finding("ok", "packages (base)", f"anyio {real_version('anyio')}")
    assert findings["packages (server)"] == finding(
        "FAIL", "packages (server)", "nothing-of-this-name missing", "pip install 'voxtree[server]'"
    )


@pytest.mark.anyio
async def test_endpoints_are_asked_what_they_can_recognise(capsys: pytest.CaptureFixture[str], free_port: int) -> None:
    async with RivaServer() as riva, RivaServer() as empty, RivaServer() as refusing:
        empty.models = {"whisper": {"type": "offline", "language_code": "en-US"}}
        refusing.refusal = (grpc.StatusCode.UNAUTHENTICATED, "bad key")
        addresses = {"good": riva.port, "offline": empty.port, "locked": refusing.port, "absent": free_port}
        command = ["doctor", "--json"]
        for index, (name, port) in enumerate(addresses.items()):
            command += ["--set", f"backends.{index}.name={name}"]
            command += ["--set", f"backends.{index}.address=127.0.0.1:{port}"]
        code = await anyio.to_thread.run_sync(main, command)
    findings: list[dict[str, Any]] = json.loads(capsys.readouterr().out)[-4:]
    assert code == 2
    assert [one["check"] for one in findings] == [
        f"backend {name} (127.0.0.1:{port})" for name, port in addresses.items()
    ]
    assert [(one["level"], one["fix"]) for one in findings] == [
        ("ok", ""),
        ("FAIL", "deploy one to Riva"),
        ("FAIL", CATALOGUE["RIVA_004"].remedy),
        ("FAIL", CATALOGUE["RIVA_001"].remedy),
    ]
    assert findings[0]["what"] == "conformer-en (streaming: en-us)"
    assert findings[1]["what"] == "has no streaming model (whisper (offline: en-us))"
    assert findings[2]["what"].startswith("RIVA_004 RIVA_NOT_AUTHORIZED: ")


def test_certificates_that_cannot_be_used_are_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    code, findings = doctor.examine(
        "backends.0.name=a",
        "backends.0.address=a:1",
        "backends.0.tls=true",
        f"backends.0.ca_file={tmp_path}/none.pem",
    )
    assert code == 2
    assert findings["backend a (a:1)"]["level"] == "FAIL"
    assert "ca_file" in findings["backend a (a:1)"]["what"]
    assert findings["backend a (a:1)"]["fix"] == "correct its ca_file, cert_file, key_file and metadata_files"
