"""`voxtree journal` on a real file, while another process, as far as SQLite can tell, uses it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.speech.journal.body import Bodies, TextPolicy, pack_config
from actors.speech.journal.port import Append, Finish, Open, Opened, Renew
from actors.speech.messages import Gap, Transcript
from actors.speech.ports import RecognitionConfig
from transport.cli.main import main
from transport.journal.keys import read_key
from transport.journal.sealing import AesGcm
from transport.journal.sqlite import SqliteDatabase

RATE = 8000


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


class Kept:
    """A journal, and the server that has it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = SqliteDatabase(path)
        self.database.open()

    def begin(self, session_id: str, bodies: Bodies | None = None) -> int:
        """A session with a final, a gap, and a final without words."""
        config = pack_config(RecognitionConfig(sample_rate=RATE))
        (opened,) = self.database.commit([Open(session_id, config, session_id.encode())])
        assert isinstance(opened, Opened)
        events: list[Transcript | Gap] = [
            Transcript(is_final=True, seq=1, start=0, end=12000, text="good morning"),
            Gap(seq=2, start=12000, end=16000, code="AUDIO_004"),
            Transcript(is_final=True, seq=3, start=16000, end=96000, text=""),
        ]
        entries = tuple((bodies or Bodies()).entry(session_id, event) for event in events)
        self.database.commit([Append(session_id, opened.epoch, entries)])
        return opened.epoch

    def names(self) -> list[str]:
        return sorted(session_id for session_id, _ in self.database.sessions())


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXTREE_CONFIG", raising=False)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    kept = Kept(tmp_path / "journal.db")
    monkeypatch.setenv("VOXTREE__JOURNAL__PATH", str(kept.path))
    yield kept
    kept.database.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["journal", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_sessions_are_listed_with_their_states(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.begin("talks")
    kept.database.commit([Renew("away", kept.begin("away"), connected=False)])
    kept.database.commit([Finish("done", kept.begin("done"), 96000)])
    code, out, _ = run(capsys, "list")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["SESSION", "STATE", "SINCE", "ENTRIES", "SPEECH"]
    assert {(line[0], line[1], *line[3:]) for line in lines[1:]} == {
        ("talks", "connected", "3", "12.0", "s"),
        ("away", "waiting", "3", "12.0", "s"),
        ("done", "finished", "3", "12.0", "s"),
    }
    _, out, _ = run(capsys, "list", "--json")
    assert {(each["session_id"], each["state"], each["seq"]) for each in json.loads(out)} == {
        ("talks", "connected", 3),
        ("away", "waiting", 3),
        ("done", "finished", 3),
    }


def test_a_session_is_shown_with_its_words(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    epoch = kept.begin("s1")
    code, out, _ = run(capsys, "show", "s1")
    assert code == 0
    assert out.splitlines()[2:] == [
        "SEQ  FROM    TO       WHAT",
        "1    0.00 s  1.50 s   good morning",
        "2    1.50 s  2.00 s   gap, AUDIO_004",
        "3    2.00 s  12.00 s  (silence)",
    ]
    kept.database.commit([Renew("s1", epoch, connected=True, seq=2)])
    _, out, _ = run(capsys, "show", "s1")
    assert out.splitlines()[-1] == "2 of 3 entries are not kept any more: the client has them"
    _, out, _ = run(capsys, "show", "s1", "--json")
    assert json.loads(out)["kept"] == [{"seq": 3, "start": 2.0, "end": 12.0, "text": ""}]


def test_words_that_are_encrypted_are_shown_to_who_has_the_key(
    kept: Kept, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    assert run(capsys, "keygen", str(key))[0] == 0
    kept.begin("s1", Bodies(TextPolicy.ENCRYPTED, AesGcm(read_key(key))))
    _, out, _ = run(capsys, "show", "s1")
    assert "good morning" not in out
    assert out.splitlines()[3].endswith("(it is encrypted, and there is no key)")
    _, out, _ = run(capsys, "show", "s1", "--set", f"journal.key_file={key}")
    assert out.splitlines()[3].endswith("good morning")


def test_words_that_are_not_kept_are_not_shown(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.begin("s1", Bodies(TextPolicy.NONE))
    _, out, _ = run(capsys, "show", "s1")
    assert [line.split("  ")[-1].strip() for line in out.splitlines()[3:]] == ["(words are not kept)"] * 3


def test_a_purge_removes_what_was_asked_for(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("s1", "s2", "s3"):
        kept.begin(name)
    assert run(capsys, "purge")[:2] == (0, "0 sessions removed\n")
    assert run(capsys, "purge", "s1")[:2] == (0, "1 session removed\n")
    assert kept.names() == ["s2", "s3"]
    assert run(capsys, "purge", "--all")[:2] == (0, "2 sessions removed\n")
    assert kept.names() == []


@pytest.mark.parametrize(("answer", "left"), [("y\n", []), ("n\n", ["s1"]), ("\n", ["s1"])])
def test_on_a_terminal_a_purge_asks_first(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    kept.begin("s1")
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    code, out, _ = run(capsys, "purge", "--all")
    assert out.startswith("Remove every session, even those that live? [y/N] ")
    assert (code, kept.names()) == (1 if left else 0, left)
    monkeypatch.setattr("sys.stdin", Terminal(""))
    assert run(capsys, "purge", "--all", "--yes")[0] == 0
    assert kept.names() == []


@pytest.mark.parametrize("arguments", [("show", "nobody"), ("purge", "nobody")])
def test_a_session_that_is_not_kept_is_told(
    kept: Kept, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(capsys, *arguments) == (1, "", "voxtree: no session 'nobody' is kept\n")


def test_an_empty_journal_says_so(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "list") == (0, "no session is kept\n", "")


def test_what_cannot_be_opened_is_told_with_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notes"
    path.write_text("not a journal " * 100)
    monkeypatch.setenv("VOXTREE__JOURNAL__PATH", str(path))
    code, _, err = run(capsys, "list")
    assert code == 1
    assert err.splitlines() == [
        f"voxtree: JOURNAL_003 JOURNAL_DAMAGED: {path} is no SQLite database",
        "voxtree: Move the file away, or name another one, and a new journal is begun; or restore it from a backup.",
    ]


def test_a_journal_in_memory_cannot_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "list", "--set", "journal.store=memory")
    assert (code, err) == (1, "voxtree: journal.store is memory: only the server itself knows what is in it\n")


def test_a_key_is_never_overwritten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "keygen", str(tmp_path / "key"))[0] == 0
    code, _, err = run(capsys, "keygen", str(tmp_path / "key"))
    assert (code, err) == (1, f"voxtree: {tmp_path / 'key'}: file exists\n")
