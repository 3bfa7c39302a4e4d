"""The command line: what it prints, how it fails, and that it stays quick to start."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.speech.catalogue import CATALOGUE
from transport.cli import config, errors
from transport.cli.main import COMMANDS, main
from transport.client import SessionFailed
from transport.expected import ExpectedError
from transport.layers import Setting, SettingsError
from transport.settings import Settings, load

ROOT = Path(__file__).parent.parent.parent
VOXTREE = [sys.executable, "-m", "transport.cli.main"]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXTREE_CONFIG", raising=False)


def test_help_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["--help"])
    assert exited.value.code == 0
    out = capsys.readouterr().out
    assert all(f"  {command.name} " in out and command.help in out for command in COMMANDS)
    assert [line.split()[0] for line in out.partition("exit codes:\n")[2].splitlines()] == ["0", "1", "2", "130"]


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, transport.cli.main as m\ntry: m.main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.splitlines()[-1].split())
    assert loaded.isdisjoint({"anyio", "asyncio", "grpc", "msgspec", "numpy", "riva", "trio", "websockets"})


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main([name, "--help"])
    assert exited.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: voxtree {name} ")


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["errors", "--no-such-option"], ["config"]])
def test_a_wrong_command_line_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["--version"])
    assert exited.value.code == 0
    assert capsys.readouterr().out.startswith("voxtree ")


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ExpectedError("it did not work"), 2, "voxtree: it did not work\n"),
        (SessionFailed("it ran and failed"), 1, "voxtree: it ran and failed\n"),
        (SettingsError("a: wrong", "b: wrong"), 2, "voxtree: a: wrong\nvoxtree: b: wrong\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_expected_errors_are_sentences_and_exit_codes(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "run", raising(error))
    assert main(["errors"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "run", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["errors"])


def test_a_missing_package_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transport.cli.errors", None)
    monkeypatch.setattr(
        "importlib.import_module", raising(ModuleNotFoundError("No module named 'grpc.aio'", name="grpc.aio"))
    )
    assert main(["errors"]) == 2
    assert (
        capsys.readouterr().err == "voxtree: `voxtree errors` needs the package grpc: pip install 'voxtree[server]'\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen([*VOXTREE, "errors", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before it has started to print
        assert process.stderr.read() == b""
        assert process.wait() == 128 + signal.SIGPIPE


def test_errors_lists_the_whole_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CATALOGUE)
    assert main(["errors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == msgspec.to_builtins(list(CATALOGUE.values()))


@pytest.mark.parametrize("asked", ["RIVA_003", "riva_003", "RIVA_QUOTA_EXCEEDED", "riva_quota_exceeded"])
def test_an_error_is_found_by_code_and_by_name(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    entry = CATALOGUE["RIVA_003"]
    assert main(["errors", asked]) == 0
    out = capsys.readouterr().out
    assert out.startswith("RIVA_003  RIVA_QUOTA_EXCEEDED\n")
    facts = (entry.meaning, entry.remedy, entry.message, entry.retry.value, entry.fault.value, "1013")
    assert all(fact in out for fact in facts)
    assert main(["errors", asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == msgspec.to_builtins(entry)


def test_the_document_of_all_errors_says_what_the_catalogue_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors", "--markdown"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "errors.md").read_text()  # `voxtree errors --markdown` makes it


def test_one_error_can_be_had_as_a_section_of_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors", "riva_003", "--markdown"]) == 0
    section = capsys.readouterr().out
    assert section.startswith("## RIVA_003\n\n`RIVA_QUOTA_EXCEEDED`, WARNING\n\n- **it means**: ")
    assert section in (ROOT / "docs" / "errors.md").read_text()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("AUDIO_01", "voxtree: there is no error 'AUDIO_01'; did you mean AUDIO_001?\n"),
        ("zzz", "voxtree: there is no error 'zzz'; `voxtree errors` lists all\n"),
    ],
)
def test_an_unknown_error_exits_with_2(asked: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["errors", asked]) == 2
    assert capsys.readouterr() == ("", said)


def test_config_check_says_that_all_is_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOXTREE__SERVER__WORKERS")
    assert main(["config", "check", "--set", "server.port=1"]) == 0
    assert capsys.readouterr().out == "the settings are fine: 1 given, the others at their defaults\n"


def test_config_check_tells_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--set", "server.port=x", "--set", "log.format=xml"]) == 2
    assert capsys.readouterr() == (
        "",
        'voxtree: --set: server.port: expected int, got "x"\n'
        'voxtree: --set: log.format: expected one of text, json, ecs, got "xml"\n',
    )


def test_config_check_refuses_an_option_that_assigns_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["config", "check", "--set", "server.port"])
    assert exited.value.code == 2
    assert "expected PATH=VALUE, as in server.port=9000, got 'server.port'" in capsys.readouterr().err


BACKEND = ["--set", "backends.0.name=a", "--set", "backends.0.address=a:1"]
SECRETS = [
    ["--set", "backends.0.metadata.authorization=Bearer hunter2"],
    ["--set", "journal.store=postgres", "--set", "journal.dsn=postgresql://voxtree:hunter2@db/voxtree"],
]


def test_config_show_prints_a_settings_file_that_gives_the_same_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "show", "--origin", *BACKEND, "--set", "server.origins=https://a,https://b"]) == 0
    shown = tmp_path / "shown.toml"
    shown.write_text(capsys.readouterr().out)
    assert main(["config", "show", "--json", "--config", str(shown)]) == 0
    from_file = json.loads(capsys.readouterr().out)
    assert main(["config", "show", "--json", *BACKEND, "--set", "server.origins=https://a,https://b"]) == 0
    assert from_file == json.loads(capsys.readouterr().out)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_config_show_quotes_any_text(text: str) -> None:
    loaded = load(options=[Setting(("embedded", "model_dir"), text, "--set")], environ={})
    assert tomllib.loads(config.shown(loaded))["embedded"]["model_dir"] == text


@pytest.mark.parametrize("form", [[], ["--origin"], ["--json"], ["--json", "--origin"]])
@pytest.mark.parametrize("secret", SECRETS, ids=["metadata", "dsn"])
def test_config_show_masks_secrets(form: list[str], secret: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", *form, *BACKEND, *secret]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "********" in out


def test_config_show_masks_no_secret_that_is_not_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "# dsn is not set" in out
    assert "********" not in out


def test_config_show_tells_where_each_value_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "voxtree.toml"
    file.write_text("[log]\nlevel = 'debug'\n")
    monkeypatch.setenv("VOXTREE__SERVER__PORT", "1")
    assert main(["config", "show", "--origin", "--config", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f'level = "debug"  # {file}' in lines
    assert "port = 1  # VOXTREE__SERVER__PORT" in lines
    assert 'host = "127.0.0.1"  # default' in lines
    assert main(["config", "show", "--origin", "--json", "--config", str(file)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["server.port"] == {"value": 1, "origin": "VOXTREE__SERVER__PORT"}
    assert shown["embedded.enabled"] == {"value": None, "origin": "default"}


def test_the_schema_describes_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$defs"]["Settings"]["properties"].keys() == set(Settings.__struct_fields__)
    assert schema["$defs"]["Server"]["properties"]["port"] == {
        "type": "integer", "minimum": 0, "maximum": 65535, "default": 8600,
    }  # fmt: skip
    assert schema["$defs"]["Server"]["additionalProperties"] is False
