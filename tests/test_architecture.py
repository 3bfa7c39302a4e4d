"""The rules of the house, read off the source: which way imports point, and what a package may show."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
INNER = ("supervisor", "actors")
HOUSE = (*INNER, "transport")

MAY_IMPORT = {  # of our own; inward only
    "supervisor": {"supervisor"},
    "actors": {"actors", "supervisor"},
    "transport": {"transport", "actors", "supervisor"},
}
THIRD_PARTY = {"supervisor": {"anyio", "msgspec"}, "actors": {"anyio", "msgspec"}}
NO_EVENT_LOOPS = {"asyncio", "concurrent", "multiprocessing", "selectors", "threading"}  # anyio has its own of each
EXCEPTIONS = {
    "supervisor/loops.py": {"asyncio", "trio"},  # tasks that belong to no group, so that no dead one keeps the others
    "supervisor/testing.py": {"asyncio", "trio", "selectors"},  # virtual time replaces the loops' clocks
    "supervisor/watchdog.py": {"threading"},  # while the loop stands still, only a thread can look
    "supervisor/prometheus.py": {"prometheus_client"},  # opt-in: nothing imports it
    "actors/speech/error_handler.py": {"prometheus_client"},  # opt-in: nothing in the inner packages imports it
}

# PyPI's `supervisor` and `actors` put files of these names over ours when they share an environment with us.
TAKEN = {
    "supervisor": {
        "childutils", "compat", "confecho", "datatypes", "dispatchers", "events", "http", "http_client",
        "loggers", "medusa", "options", "pidproxy", "poller", "process", "rpcinterface", "socket_manager",
        "states", "supervisorctl", "supervisord", "templating", "web", "xmlrpc",
    },
    "actors": {"actor", "context", "future", "internal", "ref", "system", "utils"},
}  # fmt: skip


class Import(NamedTuple):
    """One imported name: `from supervisor.spec import Child` is `supervisor.spec` and `Child`."""

    file: str
    line: int
    module: str
    name: str | None
    level: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}" + (f".{self.name}" if self.name else "")


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (Import(file, node.lineno, module, alias.name, node.level) for alias in node.names)


def all_imports(*packages: str) -> list[Import]:
    return [found for path in sources(*packages) for found in imports(path)]


def top(name: str) -> str:
    return name.partition(".")[0]


def packages() -> list[Path]:
    return [path for path in sources(*HOUSE) if path.name == "__init__.py"]


def dotted(init: Path) -> str:
    return ".".join(init.parent.relative_to(ROOT).parts)


def public(init: Path) -> list[str]:
    """The package's `__all__`, as written; empty when it has none."""
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def test_there_is_something_to_look_at() -> None:
    for package in HOUSE:
        assert len(all_imports(package)) > 10


@pytest.mark.parametrize("package", HOUSE)
def test_imports_point_inward_only(package: str) -> None:
    ours = {*HOUSE, "tests", "bench"}
    outward = [one for one in all_imports(package) if top(one.module) in ours - MAY_IMPORT[package]]
    assert [str(one) for one in outward] == []


@pytest.mark.parametrize("package", INNER)
def test_the_inner_packages_run_on_anyio_alone(package: str) -> None:
    allowed = {*HOUSE, *THIRD_PARTY[package], *(sys.stdlib_module_names - NO_EVENT_LOOPS)}
    foreign = [
        one
        for one in all_imports(package)
        if top(one.module) not in allowed | EXCEPTIONS.get(one.file, set()) and not one.level
    ]
    assert [str(one) for one in foreign] == []


def test_nothing_waits_by_what_loses_cancellations() -> None:
    """asyncio.wait_for drops one that comes in the same turn as the result; asyncio.timeout does not."""
    uses = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(*HOUSE, "bench")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if ast.unparse(node) == "asyncio.wait_for"
        or (isinstance(node, ast.ImportFrom) and node.module == "asyncio" and "wait_for" in ast.unparse(node))
    ]
    assert uses == []


def test_imports_are_absolute() -> None:
    assert [str(one) for one in all_imports(*HOUSE) if one.level] == []


def test_nothing_of_ours_needs_an_init_that_another_distribution_may_overwrite() -> None:
    through_init = [
        one
        for one in all_imports(*HOUSE)
        if one.module in TAKEN
        and not one.file.endswith("__init__.py")
        and not (one.name and (ROOT / one.module / one.name).is_dir())
    ]
    assert [str(one) for one in through_init] == []


def test_no_module_has_a_name_that_another_distribution_may_overwrite() -> None:
    for package, taken in TAKEN.items():
        children = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("__")}
        assert children & taken == set()


def test_the_server_still_starts_when_another_distribution_overwrote_an_init(tmp_path: Path) -> None:
    for package in HOUSE:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.wav"))
    for package in TAKEN:
        (tmp_path / package / "__init__.py").write_text('"""Of another distribution."""\n')
    code = "import transport.app, supervisor; print(supervisor.__doc__)"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("Of another distribution.\n", "")


@pytest.mark.parametrize("init", packages(), ids=dotted)
def test_an_init_only_gathers_names(init: Path) -> None:
    body = ast.parse(init.read_text(encoding="utf-8")).body
    other = [
        ast.unparse(node)
        for index, node in enumerate(body)
        if not isinstance(node, ast.ImportFrom)
        and not (index == 0 and isinstance(node, ast.Expr))  # the docstring
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    ]
    assert other == []


@pytest.mark.parametrize("init", packages(), ids=dotted)
def test_an_init_lists_what_it_gathers_in_order(init: Path) -> None:
    def order(name: str) -> tuple[int, str]:
        kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
        return kind, name

    names = public(init)
    gathered = {one.name for one in imports(init) if one.module != "__future__"}
    assert set(names) == gathered
    assert names == sorted(set(names), key=order)  # constants, classes, functions: what ruff sorts them into


def test_every_public_name_exists() -> None:
    for init in packages():
        module = importlib.import_module(dotted(init))
        assert [name for name in public(init) if not hasattr(module, name)] == []


def test_every_public_name_is_exported_once() -> None:
    homes: dict[str, list[str]] = {}
    for init in packages():
        for name in public(init):
            homes.setdefault(name, []).append(dotted(init))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_every_package_is_typed() -> None:
    assert [package for package in HOUSE if not (ROOT / package / "py.typed").is_file()] == []


def test_what_is_shipped_names_no_place_of_its_making() -> None:
    private = re.compile(r"(?<![\w/])(\.\./)*shared/|/(work|tmp/probe)/")
    texts = [*sources(*HOUSE, "bench"), *(ROOT / "docs").rglob("*"), *(ROOT / "deploy").rglob("*")]
    texts += [ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("*.md"), *(ROOT / "requirements").iterdir()]
    leaks = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in texts
        if path.is_file() and path.suffix not in {".wav", ".pyc", ".png"}
        for line in path.read_text(encoding="utf-8").splitlines()
        if private.search(line)
    ]
    assert leaks == []
