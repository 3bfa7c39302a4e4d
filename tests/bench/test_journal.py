"""The journal's measurement runs, and measures every store that needs nothing else."""

from __future__ import annotations

import subprocess
import sys


def test_every_store_has_its_line() -> None:
    command = [sys.executable, "-m", "bench", "journal", "--sessions", "3", "--seconds", "0.05"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = [line.split("  ") for line in run.stdout.splitlines()]
    assert [line[0] for line in lines] == ["store", "memory", "sqlite normal", "sqlite full"], run.stderr
    for line in run.stdout.splitlines()[1:]:
        *_, finals, _, _, together, claims = line.split()
        assert float(finals.replace(",", "")) > 0
        assert 1.0 <= float(together) <= 3.0
        assert float(claims.replace(",", "")) > 0
