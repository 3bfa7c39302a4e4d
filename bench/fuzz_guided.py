"""`python -m bench.fuzz_guided NAME RUNS`: atheris on one target, in a process of its own, which it ends itself."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["transport.wire", "transport.audio", "transport.plain_http"]):
    from bench.fuzz import REQUESTS_NAME, play
    from bench.fuzz.targets import REQUESTS, Message, targets

BINARY, BETWEEN = 0x01, b"\xff\x00\xff"  # a message that is bytes begins with this; what separates messages


def packed(messages: list[Message]) -> bytes:
    """A conversation as one input."""
    return BETWEEN.join(m.encode() if isinstance(m, str) else bytes([BINARY]) + m for m in messages)


def unpacked(data: bytes) -> list[Message]:
    """The conversation in an input."""
    return [_message(part) for part in data.split(BETWEEN)][:20]


def _message(part: bytes) -> Message:
    return part[1:] if part[:1] == bytes([BINARY]) else part.decode("utf-8", "replace")


def main(name: str, runs: str) -> None:
    known = list(REQUESTS) if name == REQUESTS_NAME else [packed(list(c)) for c in targets()[name].conversations]

    def once(data: bytes) -> None:
        play(name, [data] if name == REQUESTS_NAME else unpacked(data))

    with tempfile.TemporaryDirectory(prefix="voxtree-") as folder:
        for number, seed in enumerate(known):
            Path(folder, str(number)).write_bytes(seed)
        arguments = [sys.argv[0], folder, f"-runs={runs}", "-seed=1", "-max_len=8192", f"-artifact_prefix={folder}/"]
        atheris.Setup([*arguments, "-verbosity=1"], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
