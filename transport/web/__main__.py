"""`python -m transport.web`: write the catalogue's table into client.js."""

from __future__ import annotations

import json
from pathlib import Path

from actors.speech.catalogue import CATALOGUE

CLIENT = Path(__file__).with_name("client.js")
_BEGIN, _END = "// <catalogue>\n", "// </catalogue>\n"


def renewed(client: str) -> str:
    """The module with the table as it must be: code → sentence, action, close code (0: the connection goes on)."""
    before, _, rest = client.partition(_BEGIN)
    _, _, behind = rest.partition(_END)
    return f"{before}{_BEGIN}{_table()}{_END}{behind}"


def _table() -> str:
    rows = [
        f"  {entry.code}: {json.dumps([entry.message, entry.action.value, entry.close or 0], ensure_ascii=False)},\n"
        for entry in CATALOGUE.values()
    ]
    return f"/** @type {{Record<string, [string, Action, number]>}} */\nconst CATALOGUE = {{\n{''.join(rows)}}};\n"


if __name__ == "__main__":
    CLIENT.write_text(renewed(CLIENT.read_text()))
