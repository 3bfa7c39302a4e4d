"""Names of children and of events, as logs and metrics want them."""

from __future__ import annotations

import re

from supervisor.errors import Path


class DynamicName(str):
    """The id of a child that came by `start_child`, where it is part of a path. In all else a plain text."""

    __slots__ = ()


def static_path(path: Path) -> Path:
    """The path with `*` for every dynamic name: as many of these exist as the code has places for children.

    It is what metrics want for a label: `("root", "sessions", "*", "recogniser")`.
    """
    return tuple("*" if isinstance(name, DynamicName) else name for name in path)


def event_name(kind: type) -> str:
    """`child_started` of a class ChildStarted."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
