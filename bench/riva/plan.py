"""What a scripted Riva is told to do, and to do wrong."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from bench.riva.faults import Action, At, Cycle
from transport.expected import ExpectedError


class PlanError(ExpectedError):
    """A plan that cannot be used. The message names the field and says what it may be."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a scripted Riva behaves.

    Attributes:
        seed: of everything that is drawn by chance.
        model: the name of the one model it says it has.
        languages: that the model takes.
        pause: seconds of silence that end an utterance.
        step: seconds of audio in which it works, and for each of which it answers once.
        in_silence: what it answers while there are no words: how much audio it has processed, a response without any
            result, or nothing.
        faults: what goes wrong.
    """

    seed: int = 0
    model: Annotated[str, msgspec.Meta(min_length=1)] = "scripted-en"
    languages: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("en-US",)
    pause: Annotated[float, msgspec.Meta(ge=0.15, le=60)] = 0.3
    step: Annotated[float, msgspec.Meta(ge=0.02, le=10)] = 0.1
    in_silence: Literal["progress", "empty", "nothing"] = "progress"
    faults: tuple[Action, ...] = ()


def load(path: Path) -> Plan:
    """Read a plan from a `.toml` or `.json` file.

    Raises:
        PlanError: it cannot be read, or cannot be used.
    """
    readers = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix not in readers:
        raise PlanError(f"{path}: is neither .toml nor .json")
    try:
        return read(readers[path.suffix](path.read_text(encoding="utf-8")))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: is not valid {path.suffix[1:].upper()}: {error}") from error
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error


def read(document: object) -> Plan:
    """Make a plan of what a TOML or JSON file holds.

    Raises:
        PlanError: it cannot be used.
    """
    try:
        return msgspec.convert(document, Plan)
    except msgspec.ValidationError as error:
        raise PlanError(_explained(str(error), document)) from error


ACTIONS = {str(kind.__struct_config__.tag): kind for kind in get_args(Action)}


def _explained(problem: str, document: object) -> str:
    """msgspec's words with the place first, and with what there is to choose from."""
    what, _, place = problem.partition(" - at `$.")
    where = place.rstrip("`")
    value = _value(where, document)
    if (named := re.fullmatch(r"Object (contains unknown|missing required) field `(\w+)`", what)) is not None:
        path = f"{where}.{named[2]}" if where else named[2]
        if named[2] == "action" or named[1] == "missing required":
            return f"{path}: is missing" + (f"; expected one of {', '.join(ACTIONS)}" if named[2] == "action" else "")
        return f"{path}: unknown field; there are {', '.join(_fields(where, value))}"
    if what.startswith("Invalid"):
        return f"{where}: expected one of {', '.join(_choices(where, document))}, got {value!r}"
    if what.startswith("Expected"):
        what = re.sub(r"`(.+?)`", lambda kind: _PLAIN.sub(lambda word: _WORDS[word[0]], kind[1]), what)
        what = f"{what.partition(', got')[0]}, got {value!r}".replace("Expected", "expected").replace(" | ", " or ")
    return f"{where or 'the plan'}: {what}"


_WORDS = {
    "object": "a table",
    "array": "a list",
    "str": "text",
    "int": "an integer",
    "float": "a number",
    " | null": "",
}
_PLAIN = re.compile("|".join(map(re.escape, _WORDS)))


def _struct(where: str, value: Any) -> type[msgspec.Struct]:
    """The kind of table that stands at a place."""
    for ending, kind in ((".at", At), (".cycle", Cycle)):
        if where.endswith(ending):
            return kind
    return ACTIONS[value["action"]] if where else Plan


def _fields(where: str, value: object) -> Iterator[str]:
    kind = _struct(where, value)
    if kind in ACTIONS.values():
        yield "action"
    yield from kind.__struct_fields__


def _choices(where: str, document: object) -> Iterator[str]:
    table, _, field = where.rpartition(".")
    if field == "action":
        return iter(ACTIONS)
    kinds = {one.name: one.type for one in msgspec.structs.fields(_struct(table, _value(table, document)))}
    return _literals(kinds[field])


def _literals(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif kind is At:
        yield "a table"
    else:
        for part in get_args(kind):
            yield from _literals(part)


def _value(where: str, document: Any) -> Any:
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", where):
        document = document[name] if name else document[int(index)]
    return document
