"""What is measured on: the machine, and the versions of programs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def machine() -> dict[str, object]:
    """What is measured on."""
    return {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def versions(*distributions: str) -> dict[str, str | None]:
    """Python's version and those of distributions; None: it is not installed."""
    return {"Python": platform.python_version()} | {name: version(name) for name in distributions}


def version(distribution: str) -> str | None:
    """Of a distribution; None: it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Its model, or at least its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
