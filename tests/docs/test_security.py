"""The threats that docs/security.md tells of are met by tests that exist."""

from __future__ import annotations

import re

from tests.docs.examples import ROOT

THREATS = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("## Threats")[2].partition("\n## ")[0]


def test_every_threat_names_a_test_and_every_test_that_is_named_exists() -> None:
    rows = [line for line in THREATS.splitlines() if line.startswith("| ")][1:]
    named = {row: re.findall(r"`(test_\w+)`", row) for row in rows}
    assert len(rows) >= 10
    assert [row for row, tests in named.items() if not tests] == []
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    conformance = (ROOT / "tests" / "speech" / "journal" / "conformance.py").read_text(encoding="utf-8")
    defined = set(re.findall(r"def (test_\w+)\(", sources + conformance))
    assert {test for tests in named.values() for test in tests} - defined == set()
