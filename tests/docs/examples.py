"""The examples of docs/supervision.md: found by their markers, run as what they claim to be, whole programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "supervision.md"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_MARKER = re.compile(r"<!-- example: (\w+) -->\n\Z")


class Example(NamedTuple):
    """A fenced block of Python. `output` is the text block right behind it, what the program is said to print."""

    name: str | None
    line: int
    code: str
    output: str | None


def examples(page: str) -> list[Example]:
    """All Python blocks of a page, marked (`<!-- example: name -->` on the line before) or not."""
    blocks = list(_FENCE.finditer(page))
    found = []
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block[1] != "python":
            continue
        adjacent = following is not None and not page[block.end() : following.start()].strip()
        output = following[2] if following is not None and adjacent and following[1] == "text" else None
        marker = _MARKER.search(page, 0, block.start())
        line = page.count("\n", 0, block.start()) + 2
        found.append(Example(marker[1] if marker else None, line, block[2], output))
    return found


def example(name: str) -> Example:
    """The example of this name."""
    return next(one for one in examples(PAGE.read_text(encoding="utf-8")) if one.name == name)


def load(one: Example, module: str = "example") -> dict[str, Any]:
    """Execute an example as an import would; tracebacks show the line of the page."""
    names: dict[str, Any] = {"__name__": module}
    exec(compile("\n" * (one.line - 1) + one.code, str(PAGE), "exec"), names)
    return names
