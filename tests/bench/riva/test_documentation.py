"""docs/benchmarks.md says what there is: its plan is one, its tables are complete, its program does what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from bench.riva.faults import At, Fault, FinalsFault
from bench.riva.plan import ACTIONS, Plan, load
from bench.riva.statuses import PRESETS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def table(header: str) -> dict[str, str]:
    """The rows of the table with this header: first column, and second."""
    rows = PAGE.partition(header)[2].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| `")]
    return {row[0].strip("`"): row[1] for row in cells}


def fields(kind: type[msgspec.Struct]) -> set[str]:
    return set(kind.__struct_fields__)


def test_the_plan_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"<!-- plan: example -->\n```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "plan.toml"
    path.write_text(text)
    assert len(load(path).faults) == len(tomllib.loads(text)["faults"]) == 5


def test_the_pages_tables_have_every_field_and_no_other() -> None:
    settings, faults = re.findall(r"(\| field \| default \| \|\n.*?)\n\n", PAGE, re.DOTALL)
    assert re.findall(r"^\| `(\w+)`", settings, re.MULTILINE) == list(Plan.__struct_fields__)
    assert re.findall(r"^\| `(\w+)`", faults, re.MULTILINE) == ["action", *Fault.__struct_fields__]
    moments = PAGE.partition("The moments: ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", moments)) - {"since", "until", "cycle"} == fields(At)


def test_the_pages_actions_are_those_there_are_with_their_own_fields() -> None:
    documented = {action: re.findall(r"`(\w+)`", own) for action, own in table("| action |").items()}
    own = {
        name: [field for field in kind.__struct_fields__ if field not in fields(Fault)]
        for name, kind in ACTIONS.items()
    }
    assert {name: sorted(names) for name, names in documented.items()} == {
        name: sorted(names) for name, names in own.items()
    }
    assert fields(FinalsFault) - fields(Fault) == {"finals"}


def test_the_page_names_every_preset() -> None:
    named = PAGE.partition("The presets are ")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", named) == list(PRESETS)


@pytest.mark.slow
def test_the_program_of_the_page_prints_what_it_shows() -> None:
    ((program, output),) = re.findall(
        r"<!-- example: account -->\n```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, output), ran.stderr
