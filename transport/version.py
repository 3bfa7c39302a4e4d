"""Which voxtree this is."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """The installed distribution's; `from source` in a checkout that is not installed."""
    try:
        return importlib.metadata.version("voxtree")
    except importlib.metadata.PackageNotFoundError:
        return "from source"
