"""What surrounds voxtree: the clock, the names, the certificates."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

from bench.faults.players import Voxtree, backend
from bench.faults.rows.backends import EARLY
from bench.faults.stage import Stage, Unplayable
from bench.riva import Plan

_FAKETIME = "usr/lib/*/faketime/libfaketimeMT.so.1"  # where Debian puts it
NO_SUCH_NAME = "riva.invalid"  # reserved for names that do not resolve


async def clock_steps(stage: Stage) -> None:
    """The wall clock jumps while everybody speaks. Nothing may be measured by it."""
    library = find_faketime()
    if library is None:
        raise Unplayable("needs libfaketime (apt-get install faketime)")
    offset = stage.folder / "offset"
    _step(offset, 0)
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # which a step of the wall clock leaves alone
    }
    _, _, voxtree = await stage.usual(environment=environment)
    async with stage.speech(voxtree.url) as clock:
        await clock.at(EARLY)
        stage.struck()
        _step(offset, 3600)
        await clock.at(2 * EARLY)
        _step(offset, -3600)
    stage.check("clock steps that did not happen", 1 - (voxtree.clock_error() > timedelta(minutes=50)), 0)
    told = sum(any(heard.event == "status" for heard in talk.heard) for talk in stage.talks)
    stage.check("clients told of a failing backend", told, 0)


async def no_such_name(stage: Stage) -> None:
    """The primary's address is a name that nobody knows."""
    (fallback,) = await stage.rivas(Plan())
    primary = backend("primary", 50051, address=f"{NO_SUCH_NAME}:50051")
    voxtree = await stage.voxtree(primary, backend("fallback", fallback.port))
    await _spoken_by_the_fallback(stage, voxtree, "RIVA_001")


async def expired_certificate(stage: Stage) -> None:
    """The primary's certificate is one that voxtree trusts, and was valid for a day in 2020."""
    if shutil.which("openssl") is None:
        raise Unplayable("needs openssl")
    key, certificate = make_expired_certificate(stage.folder)
    (primary,) = await stage.rivas(Plan(), tls=(key, certificate))
    (fallback,) = await stage.rivas(Plan())
    secure = backend("primary", primary.port, address=f"localhost:{primary.port}", tls=True, ca_file=str(certificate))
    voxtree = await stage.voxtree(secure, backend("fallback", fallback.port))
    await _spoken_by_the_fallback(stage, voxtree, "RIVA_004")


async def _spoken_by_the_fallback(stage: Stage, voxtree: Voxtree, code: str) -> None:
    async with stage.speech(voxtree.url):
        pass
    wrong = voxtree.codes() ^ {code}
    stage.check(" ".join([f"codes in the log, if not {code} alone:", *sorted(wrong)]), len(wrong), 0)


def find_faketime() -> Path | None:
    """The library that lets a process see another time."""
    return next(Path("/").glob(_FAKETIME), None)


def _step(offset: Path, seconds: int) -> None:
    new = offset.with_suffix(".new")
    new.write_text(f"{seconds:+}\n")
    new.replace(offset)


def make_expired_certificate(folder: Path) -> tuple[Path, Path]:
    """Files with a key and a self-signed certificate for `localhost` that is no longer valid."""
    (folder / "ca.cnf").write_text(_AUTHORITY)
    (folder / "index.txt").touch()
    _openssl(folder, "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
             " -keyout expired.key -out expired.csr")  # fmt: skip
    _openssl(folder, "ca -batch -config ca.cnf -selfsign -keyfile expired.key -in expired.csr -out expired.pem -notext"
             " -create_serial -startdate 20200101000000Z -enddate 20200102000000Z")  # fmt: skip
    return folder / "expired.key", folder / "expired.pem"


_AUTHORITY = """\
[ca]
default_ca = authority
[authority]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost
"""


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)
