"""The fuzzing itself: that it plays what it says, finds what is broken, and says how to see it again."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence

import msgspec
import pytest

from bench import fuzz
from bench.fuzz.mutation import Mutator
from bench.fuzz.targets import Target, targets
from bench.rounds import ROOT
from transport.wire.port import Accepted, ClientEvent, Request
from transport.wire.voxtree_v1 import VoxtreeV1


@pytest.mark.parametrize("target", targets().values(), ids=targets())
def test_what_real_clients_say_is_played_to_its_end(target: Target) -> None:
    for conversation in target.conversations:
        assert target.play(conversation) == len(conversation)


@pytest.mark.parametrize("name", [*targets(), fuzz.REQUESTS_NAME])
def test_nothing_escapes_a_thousand_mutations(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.mutated(name, 1000, seed=1) >= 1000


def test_the_same_seed_makes_the_same_inputs() -> None:
    known = targets()["voxtree.v1"].conversations
    one, other = ([Mutator("7").conversation(known) for _ in range(20)] for _ in range(2))

    assert one == other
    assert one != [Mutator("8").conversation(known) for _ in range(20)]


class Careless(VoxtreeV1):
    """A codec that trusts its clients."""

    def decode(self, message: str | bytes) -> Sequence[ClientEvent]:
        if isinstance(message, str):
            message.encode("ascii")  # which raises for what is not
        return super().decode(message)


def careless(request: Request, session_id: str) -> Accepted:
    return Accepted(Careless())


def test_a_codec_that_raises_is_found_and_the_input_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = msgspec.structs.replace(targets()["voxtree.v1"], connect=careless)
    monkeypatch.setitem(targets(), "voxtree.v1", broken)

    with pytest.raises(SystemExit, match="1"):
        fuzz.run(Namespace(inputs=50_000, seed=0, only="voxtree", quick=False, json=None))

    assert "UnicodeEncodeError" in capsys.readouterr().err


def test_a_protocol_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.run(Namespace(inputs=1, seed=0, only="telex", quick=False, json=None)) == 2
    assert "telex" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed: it is made for Linux on x86-64 only"
)
def test_atheris_goes_on_from_the_same_conversations() -> None:
    command = [sys.executable, "-m", "bench.fuzz_guided", "voxtree.v1", "3000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert fuzz.COVERED in done.stderr
