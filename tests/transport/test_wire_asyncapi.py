"""The AsyncAPI document is made from the messages, and is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from transport.wire.asyncapi import text
from transport.wire.voxtree_v1_schema import CLIENT_EVENTS, SERVER_EVENTS, ClientMessage, ServerMessage

FILE = Path(__file__).parents[2] / "docs" / "asyncapi.json"
MADE = json.loads(FILE.read_text(encoding="utf-8"))


def test_the_file_is_what_the_messages_make() -> None:
    assert text() == FILE.read_text(
        encoding="utf-8"
    )  # `python -m transport.wire.asyncapi > docs/asyncapi.json` makes it


def test_every_reference_leads_somewhere() -> None:
    found = list(references(MADE))
    assert len(found) > 50
    for reference in found:
        place = MADE
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert isinstance(place, dict)


def references(value: Any) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "$ref":
            yield inner
        elif isinstance(inner, dict | list):
            yield from references(inner)


def test_each_direction_has_all_its_messages() -> None:
    for channel in ("New", "Named"):
        for action, events in (("receive", (*CLIENT_EVENTS, "audio")), ("send", SERVER_EVENTS)):
            listed = MADE["operations"][f"{action}{channel}"]["messages"]
            keys = [reference["$ref"].rpartition("/")[2] for reference in listed]
            titles = [MADE["components"]["messages"][key]["title"] for key in keys]
            assert sorted(titles) == sorted(events)


def test_the_tables_of_events_are_those_of_the_messages() -> None:
    for message, events in ((ClientMessage, CLIENT_EVENTS), (ServerMessage, SERVER_EVENTS)):
        assert sorted(kind.__struct_config__.tag for kind in get_args(message)) == sorted(events)


def test_a_schema_has_the_fields_and_the_event_of_its_message() -> None:
    schemas = MADE["components"]["schemas"]
    for kind in (*get_args(ClientMessage), *get_args(ServerMessage)):
        schema = schemas[kind.__name__]
        assert schema["properties"]["event"] == {"enum": [kind.__struct_config__.tag]}
        assert schema["properties"].keys() == {"event", *kind.__struct_encode_fields__}
