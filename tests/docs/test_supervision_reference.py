"""The reference in docs/supervision.md names all that is public, and nothing that is not."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.docs.examples import PAGE

SECTION = re.compile(r"^### `([\w.]+)`\n(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)(?:\.(\w+))?", re.MULTILINE)
REFERENCE = {found[1]: ROW.findall(found[2]) for found in SECTION.finditer(PAGE.read_text(encoding="utf-8"))}
MODULES = ["supervisor", "supervisor.testing", "supervisor.logs", "supervisor.prometheus", "actors", "actors.testing"]


def members(module: str) -> list[tuple[str, str]]:
    return [(name, member) for name, member in REFERENCE[module] if member]


def test_there_is_a_section_for_each_module() -> None:
    assert list(REFERENCE) == MODULES


@pytest.mark.parametrize("module", [one for one in MODULES if one not in ("supervisor.logs", "supervisor.prometheus")])
def test_every_public_name_has_its_line_and_nothing_else_has(module: str) -> None:
    described = [name for name, member in REFERENCE[module] if not member]
    assert sorted(described) == sorted(importlib.import_module(module).__all__)


@pytest.mark.parametrize("module", MODULES)
def test_whatever_is_described_is_there(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name, _ in REFERENCE[module] if not hasattr(found, name)] == []
    attributes = {
        name: set(dir(getattr(found, name))) | set(hints(getattr(found, name))) for name, _ in members(module)
    }
    assert [pair for pair in members(module) if pair[1] not in attributes[pair[0]]] == []


def hints(cls: type) -> list[str]:
    """What a class says its objects have."""
    return [name for base in cls.__mro__ for name in getattr(base, "__annotations__", {})]
