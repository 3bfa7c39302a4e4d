"""The protocol `voxtree.v1` as an AsyncAPI 3.0 document, made from its messages.

`python -m transport.wire.asyncapi > docs/asyncapi.json`
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from transport.wire.voxtree_v1_schema import ClientMessage, ServerMessage

_REF = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """The document; described is the server, so `receive` is what clients send."""
    sent, told = get_args(ClientMessage), get_args(ServerMessage)
    _, schemas = msgspec.json.schema_components([*sent, *told], ref_template=_REF)
    messages = {_key(kind): _message(kind) for kind in (*sent, *told)}
    messages["pcm"] = {
        "title": "audio",
        "summary": "Samples in the encoding that was agreed, in a binary message.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "voxtree.v1",
            "version": "1.0.0",
            "description": "Audio in over a WebSocket, every word out exactly once. In words: docs/protocol.md.",
            "license": {"name": "Apache-2.0"},
        },
        "servers": {"local": {"host": "127.0.0.1:8600", "protocol": "ws"}},
        "defaultContentType": "application/json",
        "channels": {
            "new": _channel("/transcribe", "A session that the server names.", messages),
            "named": {
                **_channel("/transcribe/{session_id}", "A session with an id, new or resumed.", messages),
                "parameters": {"session_id": {"description": "1 to 128 of A-Z a-z 0-9 . _ ~ -"}},
            },
        },
        "operations": {
            f"{action}{channel.capitalize()}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [{"$ref": f"#/channels/{channel}/messages/{key}"} for key in keys],
            }
            for channel in ("new", "named")
            for action, keys in (
                ("receive", [*map(_key, sent), "pcm"]),
                ("send", [*map(_key, told)]),
            )
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _channel(address: str, summary: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": address,
        "summary": summary,
        "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


def _key(kind: type[msgspec.Struct]) -> str:
    """`AckMessage` is `ack`; the event's name would not do, since both sides have an `ack`."""
    return kind.__name__.removesuffix("Message").lower()


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "name": kind.__struct_config__.tag,
        "title": str(kind.__struct_config__.tag),
        "payload": {"$ref": _REF.format(name=kind.__name__)},
    }


def text() -> str:
    """The document as it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n"


if __name__ == "__main__":
    print(text(), end="")
