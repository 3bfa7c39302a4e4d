"""What is around the code: the lock, the wheel, the set-up and its sentences, the recording."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tomllib
import wave
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from transport.cli.recording import RECORDING, SAMPLE_RATE, SENTENCES
from transport.embedded.recognise import Recogniser

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements" / "test.txt").read_text()
MAKE_VENV = ROOT / "requirements" / "make-venv.sh"


# ---- the lock


def locked() -> dict[str, set[str]]:
    """The pinned versions of each distribution; several where they depend on the Python."""
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE):
        pins.setdefault(canonicalize_name(name), set()).add(version)
    return pins


def test_the_lock_pins_every_package_by_hash() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK)
    packages = [block for block in blocks if not block.startswith("#")]
    assert len(packages) > 40
    assert [block for block in packages if not re.match(r"[\w.-]+==", block) or "--hash=sha256:" not in block] == []


def test_the_lock_names_no_host_and_no_folder() -> None:
    assert re.findall(r"https?:|file:|--(?:extra-)?index|--find-links|(?<!\w)/\w+", LOCK) == []


def test_the_lock_has_a_fitting_version_of_all_that_the_project_asks_for() -> None:
    build = (ROOT / "requirements" / "build.in").read_text().splitlines()
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    asked = [Requirement(line) for line in [*PROJECT["dependencies"], *extras, *build] if not line.startswith("#")]
    pins = locked()
    unfit = [
        str(need)
        for need in asked
        if need.name != "voxtree"
        and not any(version in need.specifier for version in pins.get(canonicalize_name(need.name), ()))
    ]
    assert unfit == []


# ---- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"actors", "supervisor", "transport", f"voxtree-{PROJECT['version']}.dist-info"}


def test_the_wheel_holds_all_source_and_data(wheel: zipfile.ZipFile) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("actors", "supervisor", "transport")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"transport/cli/demo.wav", "supervisor/py.typed", "actors/py.typed", "transport/py.typed"} <= files
    assert files - set(wheel.namelist()) == set()


def test_the_wheel_has_its_licence_its_command_and_its_extras(wheel: zipfile.ZipFile) -> None:
    info = f"voxtree-{PROJECT['version']}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "Apache License" in wheel.read(f"{info}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "voxtree = transport.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert set(re.findall(r"^Provides-Extra: (\S+)$", metadata, re.MULTILINE)) == set(PROJECT["optional-dependencies"])


# ---- what people read


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\]", changelog, re.MULTILINE)


def test_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets == set(phony.split())
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert {line.split()[1] for line in listed.stdout.splitlines() if line.startswith("make ")} == targets


def test_scripts_can_be_run() -> None:
    for script in (MAKE_VENV, ROOT / ".ci" / "run"):
        assert script.stat().st_mode & stat.S_IXUSR
        interpreter = script.read_text().partition("\n")[0].split("/")[-1].split()[-1]
        subprocess.run([interpreter, "-n", script], check=True)


def test_the_demo_recording_is_short_and_plain() -> None:
    assert RECORDING.stat().st_size < 400_000
    with wave.open(str(RECORDING)) as recording:
        assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        assert 10 < recording.getnframes() / SAMPLE_RATE < 13


@pytest.mark.slow
def test_the_embedded_recogniser_hears_every_word_of_the_demo_recording() -> None:
    with wave.open(str(RECORDING)) as recording:
        finals = Recogniser().transcribe(recording.readframes(recording.getnframes()), SAMPLE_RATE)
    assert [re.findall(r"\w+", final.text.lower()) for final in finals] == [
        re.findall(r"\w+", sentence.lower()) for sentence in SENTENCES
    ]


# ---- setting up, on machines where something is wrong

NEW_PYTHON = """\
#!/bin/sh
# Passes for a Python 3.12: makes an environment of itself, and fails to install with the words given.
case "$*" in
    *version_info*) exit 0 ;;
    *ensurepip*) exit 0 ;;
    -V) echo "Python 3.12.0" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*) echo "Collecting anyio"; cat "$WORDS"; exit 1 ;;
    *) exit 99 ;;
esac
"""
OLD_PYTHON = """\
#!/bin/sh
case "$*" in
    -V) echo "Python 3.9.2" ;;
    *) exit 1 ;;
esac
"""
NO_VENV = """\
#!/bin/sh
case "$*" in
    *version_info*) exit 0 ;;
    *) exit 1 ;;
esac
"""


class Machine:
    """A machine with the system's commands but only those Pythons that a test puts there, and no uv."""

    def __init__(self, folder: Path) -> None:
        self.commands = folder / "bin"
        self.commands.mkdir()
        for command in ("sh", "dirname", "grep", "sleep", "tail", "touch", "rm", "mkdir", "cp", "cat", "uname"):
            (self.commands / command).symlink_to(_which(command))
        self.venv = folder / "venv"
        self._words = folder / "words"

    def has(self, command: str, script: str) -> None:
        path = self.commands / command
        path.write_text(script)
        path.chmod(0o755)

    def set_up(self, words: str = "", **environ: str) -> tuple[int, list[str]]:
        """Run the script; its exit code, and the lines it showed."""
        self._words.write_text(words)
        environ = {"PATH": str(self.commands), "WORDS": str(self._words)} | environ
        run = subprocess.run([MAKE_VENV, self.venv], env=environ, capture_output=True, text=True)
        assert run.stdout == ""
        return run.returncode, run.stderr.splitlines()


def _which(command: str) -> str:
    return next(path for folder in os.get_exec_path() if os.access(path := f"{folder}/{command}", os.X_OK))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_python_the_set_up_says_what_to_install(machine: Machine) -> None:
    assert machine.set_up() == (
        1,
        [
            "voxtree: voxtree needs Python 3.11 or later, and here is no python3; install one (Debian 12: apt-get"
            " install python3 python3-venv), or name one: make PYTHON=/path/to/python3.12 …"
        ],
    )


def test_an_old_python_is_named(machine: Machine) -> None:
    machine.has("python3", OLD_PYTHON)
    code, lines = machine.set_up()
    assert (code, len(lines)) == (1, 1)
    assert lines[0].startswith("voxtree: voxtree needs Python 3.11 or later, and here is Python 3.9.2; ")


def test_a_python_command_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.has("python3.13", OLD_PYTHON)  # as pyenv leaves them
    machine.has("python3", NO_VENV)
    assert machine.set_up() == (
        1,
        [
            "voxtree: python3 has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv),"
            " or install uv."
        ],
    )


def test_a_wrong_choice_of_python_is_told(machine: Machine) -> None:
    machine.has("python3.12", NEW_PYTHON)
    machine.has("python3.9", OLD_PYTHON)
    assert machine.set_up(PYTHON="python3.9") == (
        1,
        ["voxtree: PYTHON=python3.9 is not a Python of 3.11 or later; name another one, or leave PYTHON out."],
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full: "),
        (
            "WARNING: Retrying: NewConnectionError: Failed to establish a new connection: [Errno -3] Temporary failure"
            " in name resolution\nERROR: No matching distribution found for anyio==4.16.0",
            "the package index could not be reached; ",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "a downloaded package is not "),
        ("ERROR: No matching distribution found for onnxruntime==1.32.0", "a package has no build for Python 3.12.0 "),
        ("ERROR: something new", "(ERROR: something new); the whole story is in "),
    ],
)
def test_a_failed_installation_is_one_sentence_and_a_log(machine: Machine, words: str, sentence: str) -> None:
    machine.has("python3.12", NEW_PYTHON)
    code, lines = machine.set_up(words + "\n")
    log = Path(f"{machine.venv}.log")
    assert code == 1
    assert len(lines) == 2  # what it is about to do, and why it could not
    assert lines[0].startswith("voxtree: installing what voxtree needs into ")
    assert sentence in lines[1]
    assert str(log) in lines[1]
    assert words in log.read_text()
    assert not (machine.venv / ".installed").exists()


def test_a_folder_that_cannot_be_written_is_told(machine: Machine) -> None:
    machine.has("python3.12", NEW_PYTHON)
    Path(f"{machine.venv}.log").mkdir()
    assert machine.set_up() == (
        1,
        [f"voxtree: {machine.venv}.log cannot be written; run make as the user who owns this folder."],
    )
