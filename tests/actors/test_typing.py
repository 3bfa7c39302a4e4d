from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api


@pytest.mark.slow
def test_the_checker_infers_and_refuses_what_typed_uses_says() -> None:
    uses = Path(__file__).with_name("typed_uses.py")
    report, errors, status = api.run(["--strict", str(uses)])
    assert (status, errors) == (0, ""), report
