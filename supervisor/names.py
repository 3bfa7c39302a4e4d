"""Names that were made up at run time, told from those that stand in the code."""

from __future__ import annotations

from supervisor.errors import Path


class DynamicName(str):
    """The id of a child that came by `start_child`, where it is part of a path. In all else a plain text."""

    __slots__ = ()


def static_path(path: Path) -> Path:
    """The path with `*` for every dynamic name: as many of these exist as the code has places for children.

    It is what metrics want for a label: `("root", "sessions", "*", "recogniser")`.
    """
    return tuple("*" if isinstance(name, DynamicName) else name for name in path)
