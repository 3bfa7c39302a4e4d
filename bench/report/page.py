"""The part of a page that is made of a run's files. The prose around it is written by hand. Pure but for `put`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.__main__ import SCENARIOS
from bench.report.tables import markdown, tables
from bench.results import Result
from transport.expected import ExpectedError

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def figures_part(run: Mapping[str, Result], images: Mapping[str, str]) -> str:
    """The figures of a run as Markdown. `images`: where a scenario's plot is, as the page links to it."""
    return "\n\n".join(_section(result, images.get(name)) for name, result in run.items())


def put(page: Path, text: str) -> None:
    """Write it between the page's markers. A page that is not there is made.

    Raises:
        ExpectedError: the page has no markers, or cannot be written.
    """
    try:
        before = page.read_text(encoding="utf-8") if page.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
        page.write_text(replaced(before, text, str(page)), encoding="utf-8")
    except OSError as error:
        raise ExpectedError(f"{page} cannot be written: {error}; --page names another one") from error


def replaced(page: str, text: str, name: str) -> str:
    """The page with another text between its markers, each a line of its own.

    Raises:
        ExpectedError: it has not both of them, once and in order.
    """
    lines = page.split("\n")
    begins, ends = ([number for number, line in enumerate(lines) if line == mark] for mark in (BEGIN, END))
    if len(begins) != 1 or len(ends) != 1 or begins > ends:
        raise ExpectedError(f"{name} needs a line `{BEGIN}` and after it a line `{END}`, where the figures belong")
    return "\n".join([*lines[: begins[0] + 1], "", text, "", *lines[ends[0] :]])


def _section(result: Result, image: str | None) -> str:
    machine = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items() if version)
    summary = SCENARIOS.get(result.scenario, "")
    parts = [
        f"### `{result.scenario}`",
        f"{summary[:1].upper()}{summary[1:]}.",
        f"On {result.date[:10]}: {machine.get('processor')}, {machine.get('cores')} cores, kernel"
        f" {machine.get('kernel')}; {versions}.",
    ]
    if result.arguments.get("quick"):
        parts.append("A quick run: it shows that everything works, not how fast.")
    parts += [markdown(table) for table in tables(result.figures)]
    if image is not None:
        parts.append(f"![figures of {result.scenario}]({image})")
    return "\n\n".join(part for part in parts if part.strip("."))
