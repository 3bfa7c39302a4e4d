"""What `voxtree doctor` finds."""

from __future__ import annotations

from enum import Enum

import msgspec


class Level(Enum):
    """How a check came out; the exit code is the worst one's place in this list."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class Finding(msgspec.Struct, frozen=True):
    """What one check found. `fix` says what to do, and is empty when all is well."""

    level: Level
    check: str
    what: str
    fix: str = ""
