"""A PostgreSQL of our own, for the time of the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bench.postgres import PROGRAMS, Postgres, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Skipped where PostgreSQL's server is not installed; `.ci/run` installs it."""
    if not PROGRAMS:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL's server is not installed")
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    with running() as server:
        yield server
