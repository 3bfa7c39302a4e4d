"""Files that scenarios wrote, read again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.results import Result
from transport.expected import ExpectedError


def read(path: Path) -> dict[str, Result]:
    """What a file holds, or all files of a folder, by scenario.

    Raises:
        ExpectedError: there is nothing, or something else, or a scenario twice.
    """
    found: dict[str, Result] = {}
    for file in _files(path):
        result = _result(file)
        if result.scenario in found:
            raise ExpectedError(f"{path} holds {result.scenario} twice, in {file.name} too: take one of them away")
        found[result.scenario] = result
    return found


def _files(path: Path) -> Iterable[Path]:
    if not path.exists():
        raise ExpectedError(f"{path} is not there: `python -m bench all --json-folder {path}` makes it")
    if path.is_file():
        return [path]
    if not (files := sorted(path.glob("*.json"))):
        raise ExpectedError(f"{path} holds no .json file: `python -m bench all --json-folder {path}` fills it")
    return files


def _result(file: Path) -> Result:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Result)
    except (OSError, msgspec.MsgspecError) as error:
        raise ExpectedError(
            f"{file} is nothing that a scenario wrote with --json: {error}; measure it again if it is an old one"
        ) from error
