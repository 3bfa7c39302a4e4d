"""A tree at one moment, as data and as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from supervisor.commands import ChildState
from supervisor.errors import Path
from supervisor.spec import INFINITY, Intensity, Strategy


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One child, or the root, and all below it.

    Attributes:
        number: its incarnations so far.
        last_exit: how the last one that ended did, in words: `crashed, ValueError('no device')`.
        strategy: of a supervisor that is up or on its way; None for others.
        restarts: how many lie in the window now: those of a supervisor's children, or a child's own.
        intensity: how many may; None for a child without a budget of its own.
    """

    path: Path
    state: ChildState
    number: int
    last_exit: str | None = None
    strategy: Strategy | None = None
    restarts: int = 0
    intensity: Intensity | None = None
    children: tuple[Snapshot, ...] = ()


def render(tree: Snapshot, max_children: int | None = 100) -> str:
    """The tree as text, one line a child.

    Args:
        max_children: lines for the children of one supervisor at most; a last line counts the others.
    """
    return "\n".join(_lines(tree, "", "", max_children))


def _lines(node: Snapshot, head: str, indent: str, limit: int | None) -> Iterator[str]:
    yield head + "  ".join([_printable(node.path[-1]), *_facts(node)])
    shown = node.children[:limit]
    rest = len(node.children) - len(shown)
    for index, child in enumerate(shown):
        last = index == len(shown) - 1 and not rest
        yield from _lines(child, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  "), limit)
    if rest:
        yield f"{indent}└─ … {rest} more"


def _facts(node: Snapshot) -> Iterable[str]:
    yield node.state.value
    if node.number > 1:
        yield f"#{node.number}"
    if node.strategy is not None:
        yield node.strategy.name.lower()
    if node.intensity is not None:
        within = "ever" if node.intensity.seconds == INFINITY else f"in {node.intensity.seconds:g} s"
        yield f"{node.restarts}/{node.intensity.restarts} restarts {within}"
    if node.last_exit is not None:
        yield f"last: {_printable(node.last_exit)}"


def _printable(text: str) -> str:
    """One line, whatever an id or an error holds."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
