"""The image's recipe, as far as it can be looked at where no container runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.examples import ROOT
from transport.layers import SettingsError
from transport.settings import load

FILE = ROOT / "deploy" / "docker" / "Dockerfile"
TEXT = FILE.read_text(encoding="utf-8")
IGNORED = FILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
# Beside the interpreter, too: pip puts it there, and an environment that is not activated is not on the path.
HADOLINT = shutil.which("hadolint", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
PINNED = re.compile(r"^[a-z0-9.-]+==\S+", re.MULTILINE)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_the_linter_has_nothing_to_say() -> None:
    assert HADOLINT is not None
    ran = subprocess.run([HADOLINT, str(FILE)], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_what_is_copied_is_there_and_nothing_else_is_sent() -> None:
    copied = {name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE) for name in line.split()}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert IGNORED[1] == "*"
    assert {line.removeprefix("!") for line in IGNORED if line.startswith("!")} == copied


@pytest.mark.parametrize("lock", ["server.txt", "build.txt"])
def test_everything_installed_is_pinned_as_in_the_tests_and_has_a_hash(lock: str) -> None:
    text, tested = (((ROOT / "requirements") / name).read_text() for name in (lock, "test.txt"))
    pinned = PINNED.findall(text)
    assert len(pinned) == len(re.findall(r"==\S+.*\\\n\s+--hash=sha256:", text)) > 0
    assert set(pinned) <= set(PINNED.findall(tested))
    assert TEXT.count("--require-hashes") == TEXT.count(" -r requirements/")


def test_every_package_that_the_extras_name_is_in_the_image() -> None:
    names = {pin.partition("==")[0] for pin in PINNED.findall((ROOT / "requirements" / "server.txt").read_text())}
    assert names >= {
        "nvidia-riva-client",
        "prometheus-client",
        "psycopg-binary",
        "cryptography",
        "uvloop",
        "websockets",
    }
    assert names.isdisjoint({"pytest", "playwright", "moonshine-voice", "hatchling", "pip"})


def test_the_last_stage_serves_as_nobody_in_particular_on_the_default_ports() -> None:
    last = TEXT.rpartition("\nFROM ")[2]
    environment = dict(re.findall(r"(\w+)=(\S+)", last.partition("ENV ")[2].partition("\n#")[0]))
    with pytest.raises(SettingsError, match="nobody is asked who it is"):  # whoever runs it says who may speak
        load(environ=environment)
    settings = load(environ={**environment, "VOXTREE__AUTH__ALLOW_PUBLIC": "true"}).settings
    assert settings.server.host == "0.0.0.0"
    assert f"EXPOSE {settings.server.port} {settings.admin.port}\n" in last
    assert f"http://127.0.0.1:{settings.admin.port}/livez" in last.partition("HEALTHCHECK")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert Path(environment["STATE_DIRECTORY"]).is_absolute()
    assert "STOPSIGNAL SIGTERM\n" in last
    assert not re.search(r"\bpip\b|apt-get", last)  # what builds stays behind
