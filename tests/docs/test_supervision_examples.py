"""Every example of docs/supervision.md does what the page says it does."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from supervisor.testing import virtual_backend
from tests.docs.examples import PAGE, ROOT, Example, example, examples, load

Web = tuple["subprocess.Popen[str]", int]  # a server, and its port
ALL = examples(PAGE.read_text(encoding="utf-8"))
ON = {"asyncio.run(main())": ["asyncio"], "trio.run(main)": ["trio"], "anyio.run(main)": ["asyncio", "trio"]}
TEST_MODULES = {"testing", "testing_an_actor"}
RUNS = [
    pytest.param(one, backend, id=f"{one.name}-{backend}")
    for one in ALL
    for ending, backends in ON.items()
    if re.search(rf"^    {re.escape(ending)}$", one.code, re.MULTILINE)
    for backend in backends
]


def test_every_example_is_marked_and_run_by_a_test_of_this_module() -> None:
    programs = {run.values[0].name for run in RUNS}  # type: ignore[union-attr]
    assert {one.name for one in ALL} == programs | {"web", *TEST_MODULES}
    assert len({one.name for one in ALL}) == len(ALL)


@pytest.mark.parametrize(("one", "backend"), RUNS)
def test_a_program_prints_what_the_page_says(one: Example, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, options = virtual_backend(backend)
    anyio.run(load(one)["main"], backend=name, backend_options=options)
    assert capsys.readouterr().out == one.output


def test_the_test_modules_pass(tmp_path: Path) -> None:
    for name in TEST_MODULES:
        (tmp_path / f"test_{name}.py").write_text(example(name).code)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, re.findall(r"^\d+ passed", run.stdout, re.MULTILINE)) == (0, ["6 passed"]), run.stdout


def test_a_web_server_has_the_tree_for_its_lifespan(web: Web) -> None:
    server, port = web
    status, body = request(port, "GET", "/price")
    assert (status, json.loads(body)["price"] >= 1) == (200, True)
    server.terminate()
    assert "Application shutdown complete." in server.communicate(timeout=20)[1]


def test_a_web_server_whose_tree_gave_up_ends(web: Web) -> None:
    server, port = web
    request(port, "POST", "/break")
    assert request(port, "GET", "/price")[0] == 200  # restarted
    request(port, "POST", "/break")
    assert "Escalated: supervisor root gave up on child root/prices" in server.communicate(timeout=20)[1]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """The example on a free loopback port, under a real uvicorn started as on a command line."""
    (tmp_path / "example.py").write_text(example("web").code)
    command = [sys.executable, "-m", "uvicorn", "example:app", "--port", "0", "--app-dir", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stderr is not None
            running = (re.search(r"running on http://127\.0\.0\.1:(\d+)", line) for line in server.stderr)
            yield server, int(next(found[1] for found in running if found))
        finally:
            if server.poll() is None:
                server.kill()


def request(port: int, method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
