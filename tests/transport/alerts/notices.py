"""Notices for tests."""

from __future__ import annotations

from typing import Any

from transport.alerts.notices import Key, Kind, Notice, Phase

WHEN = 1_790_000_000.25  # 2026-09-21T13:33:20.250Z


def firing(code: str = "RIVA_001", component: str = "backend:riva-a", **more: Any) -> Notice:
    facts = {"kind": Kind.CONDITION, "phase": Phase.FIRING, "times": 1, "age": 0.0, "when": WHEN, **more}
    return Notice(key=Key("gw-1", code, component), **facts)


def resolved(code: str = "RIVA_001", component: str = "backend:riva-a", **more: Any) -> Notice:
    return firing(code, component, **{"phase": Phase.RESOLVED, "age": 42.0, "when": WHEN + 42, **more})
