"""Static keys: shown once, kept as hashes, and refused in words that tell nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from actors.speech.errors import NotAuthenticated
from transport.auth.keys import ApiKeys, new_key
from transport.cli.main import main
from transport.layers import SettingsError


def test_a_key_is_its_names_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    (old, first), (new, second), (other, third) = new_key("ann"), new_key("ann"), new_key("bob@example.com")
    file.write_text(f"# of the first floor\n\n{first}\n  {second}\n{third}\n")
    keys = ApiKeys.read(str(file))
    assert [keys.user(each) for each in (old, new, other)] == ["ann", "ann", "bob@example.com"]
    assert first == f"ann:{hashlib.sha256(old.encode()).hexdigest()}"
    assert len({old, new, other}) == 3
    assert all(key.startswith("vox_") and len(key) == 47 for key in (old, new, other))


@pytest.mark.parametrize("credential", ["", "vox_", "ann", "\udcff", "é" * 9000])
def test_what_is_no_key_is_not_known(tmp_path: Path, credential: str) -> None:
    file = tmp_path / "keys"
    _, line = new_key("ann")
    file.write_text(line)
    for each in (credential, line, line.partition(":")[2]):
        with pytest.raises(NotAuthenticated) as refused:
            ApiKeys.read(str(file)).user(each)
        assert refused.value.detail == "this key is not known"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "no such file or directory"),
        ("", "there is no key in it; `voxtree keys new NAME --file FILE` adds one"),
        ("# ann", "there is no key in it"),
        ("ann:vox_secret", "line 1 is not NAME:HASH, as `voxtree keys new NAME` makes it"),
        (f"a b:{'0' * 64}", "line 1 is not NAME:HASH"),
        (f"\n:{'0' * 64}", "line 2 is not NAME:HASH"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_not_shown(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        ApiKeys.read(str(file))
    assert problem.replace("FILE", str(file)) in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_command_adds_a_key_to_the_file_and_shows_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    assert main(["keys", "new", "ann", "--file", str(file)]) == 0
    ann = capsys.readouterr().out.strip()
    file.write_text(file.read_text().rstrip("\n"))  # as some editors leave it
    assert main(["keys", "new", "bob", "--file", str(file)]) == 0
    bob = capsys.readouterr().out.strip()
    keys = ApiKeys.read(str(file))
    assert (keys.user(ann), keys.user(bob)) == ("ann", "bob")
    assert ann not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_name_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "a:b"]) == 2
    assert "a name has 1 to 64 of" in capsys.readouterr().err
