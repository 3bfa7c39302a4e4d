"""Settings from several places, put on top of one another and checked; each value's origin is remembered.

Knows no setting: it works on any tree of msgspec structs. A value's path is what it is called everywhere, in
messages as on the command line: `server.port`, and `backends.0.address` for the first table of a list.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from transport.expected import ExpectedError

T = TypeVar("T", bound=msgspec.Struct)

DEFAULT = "default"
SECRET = "********"


class SettingsError(ExpectedError):
    """The settings cannot be used: `problems` has a line for each thing to mend, the message all of them."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Setting(msgspec.Struct, frozen=True):
    """One value as it was given.

    Attributes:
        path: `("server", "port")`.
        source: where it was given, for messages: the name of a file, a variable or an option.
        text: it was written as text (environment, command line), so it is read as its field's type.
    """

    path: tuple[str, ...]
    value: Any
    source: str
    text: bool = False


def from_toml(path: Path) -> list[Setting]:
    """The settings of a TOML file.

    Raises:
        SettingsError: when it cannot be read, or is not TOML (with the line).
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: is not valid TOML: {_lower_first(str(error))}") from error
    return [Setting(place, value, str(path)) for place, value in _leaves(document)]


def from_environment(environ: Mapping[str, str], prefix: str) -> list[Setting]:
    """The settings in variables like `VOXTREE__SERVER__PORT`: two underscores between names, any case."""
    return [
        Setting(tuple(name[len(prefix) :].lower().split("__")), value, name, text=True)
        for name, value in sorted(environ.items())
        if name.upper().startswith(prefix) and len(name) > len(prefix)
    ]


def from_option(assignment: str, source: str = "--set") -> Setting:
    """The setting in `server.port=9000`.

    Raises:
        SettingsError: when there is no `=` in it.
    """
    path, equals, value = assignment.partition("=")
    if not equals or not path.strip():
        raise SettingsError(f"{source}: expected PATH=VALUE, as in server.port=9000, got {assignment!r}")
    return Setting(tuple(path.strip().split(".")), value, source, text=True)


def check(kind: type[T], settings: Iterable[Setting]) -> tuple[T, dict[str, str]]:
    """Put the settings on top of one another (later ones win) and make a `kind` of them.

    Returns:
        The struct, and the source of each of its values by path.

    Raises:
        SettingsError: with every value that is wrong, missing or unknown.
    """
    root = _Node()
    for setting in settings:
        root.put(setting.path, setting)
    checker = _Checker()
    value = checker.struct(kind, root, ())
    if checker.problems or not isinstance(value, kind):
        raise SettingsError(*checker.problems)
    return value, checker.sources


def is_secret(path: str) -> bool:
    """Whether the value must not be shown: a backend's metadata holds keys, a DSN or a URL a password or a token."""
    return not {"metadata", "dsn", "url"}.isdisjoint(path.split("."))


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """A document's values with their paths. Empty tables count: `[[backends]]` alone is an entry too."""
    if isinstance(value, dict) and (value or not path):
        children: Iterable[tuple[str, object]] = value.items()
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        children = ((str(index), item) for index, item in enumerate(value))
    else:
        yield path, value
        return
    for name, child in children:
        yield from _leaves(child, (*path, name))


class _Node:
    """A place in the tree of settings: a value given there, or places below it."""

    def __init__(self) -> None:
        self.setting: Setting | None = None
        self.children: dict[str, _Node] = {}

    def put(self, path: tuple[str, ...], setting: Setting) -> None:
        if not path:
            self.setting, self.children = setting, {}
        else:
            self.setting = None
            self.children.setdefault(path[0], _Node()).put(path[1:], setting)

    @property
    def source(self) -> str:
        """Where this place was first spoken of."""
        return self.setting.source if self.setting else next(child.source for child in self.children.values())


class _Checker:
    """Makes typed values of nodes; collects what is wrong instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.sources: dict[str, str] = {}

    def struct(self, kind: type[msgspec.Struct], node: _Node, path: tuple[str, ...]) -> object:
        if node.setting is not None and node.setting.value != {}:
            return self._problem(node, path, f"expected a table, got {_shown(node.setting, path)}")
        before = len(self.problems)
        values = self._fields(kind, node, path)
        if len(self.problems) > before:
            return None
        try:
            return kind(**values)
        except ValueError as error:  # what __post_init__ finds concerns several values, so the root names no source
            return self._problem(node if path else _Node(), path, str(error))

    def _fields(self, kind: type[msgspec.Struct], node: _Node, path: tuple[str, ...]) -> dict[str, object]:
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for name, child in node.children.items():
            if name not in fields:
                self._problem(child, (*path, name), "unknown setting" + _did_you_mean(name, fields))
        values = {}
        for name, field in fields.items():
            if name in node.children or _is_struct(field.type):
                values[field.name] = self._value(field.type, node.children.get(name, _Node()), (*path, name))
            elif field.required:
                self._problem(node, (*path, name), "is missing")
            else:
                self.sources[".".join((*path, name))] = DEFAULT
        return values

    def _value(self, kind: Any, node: _Node, path: tuple[str, ...]) -> object:
        if _is_struct(kind):
            return self.struct(kind, node, path)
        if get_origin(kind) is tuple and _is_struct(get_args(kind)[0]):
            return self._structs(get_args(kind)[0], node, path)
        if get_origin(kind) is dict and node.setting is not None and node.setting.text:
            table = _split(node.setting)
            if table is None:
                what = f"expected NAME:VALUE, or several with commas between them, got {_shown(node.setting, path)}"
                return self._problem(node, path, what)
            node = table
        if get_origin(kind) is dict and node.setting is None:
            each = get_args(kind)[1]
            return {name: self._value(each, child, (*path, name)) for name, child in node.children.items()}
        return self._leaf(kind, node, path)

    def _structs(self, kind: type[msgspec.Struct], node: _Node, path: tuple[str, ...]) -> object:
        if node.setting is not None and node.setting.value != []:
            return self._problem(node, path, f"expected a list of tables, got {_shown(node.setting, path)}")
        items = sorted(node.children.items(), key=lambda item: (len(item[0]), item[0]))
        for index, (name, child) in enumerate(items):
            if name != str(index):
                return self._problem(child, (*path, name), f"tables are counted from 0, the next one is {index}")
        return tuple(self.struct(kind, child, (*path, name)) for name, child in items)

    def _leaf(self, kind: Any, node: _Node, path: tuple[str, ...]) -> object:
        setting = node.setting or Setting(path, {}, node.source)
        raw = setting.value
        if setting.text and get_origin(kind) is tuple:
            raw = [item.strip() for item in raw.split(",") if item.strip()]
        self.sources[".".join(path)] = setting.source
        try:
            return msgspec.convert(raw, kind, strict=not setting.text)
        except msgspec.ValidationError as error:
            return self._problem(node, path, f"{_explained(kind, error)}, got {_shown(setting, path)}")

    def _problem(self, node: _Node, path: tuple[str, ...], what: str) -> object:
        """Note it. What is returned stands in for the value and is never used."""
        where = [node.source] if node.setting or node.children else []
        self.problems.append(": ".join([*where, *([".".join(path)] if path else []), what]))
        return None


def _split(setting: Setting) -> _Node | None:
    """The table in `a:1,b:2`; None: that is not how it is written."""
    table = _Node()
    for item in filter(str.strip, setting.value.split(",")):
        name, colon, value = item.partition(":")
        if not colon:
            return None
        path = (*setting.path, name.strip())
        table.put(path[-1:], Setting(path, value.strip(), setting.source, text=True))
    return table


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _explained(kind: Any, error: msgspec.ValidationError) -> str:
    """The choices where there are any, else msgspec's own words without path, quotes and capital."""
    choices = _choices(kind)
    if choices:
        return "expected one of " + ", ".join(choices)
    words = str(error).partition(" - at ")[0].partition(", got")[0].replace("`", "").replace(" | null", "")
    return _lower_first(words.replace("bool", "true or false"))


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return []


def _shown(setting: Setting, path: tuple[str, ...]) -> str:
    if is_secret(".".join(path)):
        return SECRET
    if isinstance(setting.value, dict):
        return "a table"
    return json.dumps(setting.value, ensure_ascii=False, default=str)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
