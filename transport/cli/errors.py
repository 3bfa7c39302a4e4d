"""`voxtree errors`: what a code means and what to do about it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping

import msgspec

from actors.speech.catalogue import CATALOGUE, Action, Alert, Entry, Fault, Retry
from actors.speech.injection import OPPORTUNITIES
from actors.speech.policies import GROWING, QUOTA
from transport.expected import ExpectedError

_FAULTS: Mapping[Fault, str] = {
    Fault.CLIENT: "what the client sent, or how it behaves",
    Fault.NETWORK: "what lies between the client and voxtree",
    Fault.BACKEND: "the recogniser, or what runs it",
    Fault.CONFIG: "what is asked for and what is deployed do not fit",
    Fault.QUOTA: "what was paid for, or set as a limit, is used up",
    Fault.US: "voxtree",
    Fault.UNKNOWN: "nobody can tell from the error",
}
_RETRIES: Mapping[Retry, str] = {
    Retry.KEEP_FOR_RESUME: "the session waits for its client",
    Retry.CONTINUE: "the session goes on",
    Retry.NOW: "a new stream at once, which hears again what no final covers",
    Retry.BACKOFF: f"the same after growing pauses, {GROWING.maximum:g} s at most; elsewhere if there is a backend",
    Retry.RATE_LIMIT: f"the same after the pause the backend asks for, or growing ones, {QUOTA.maximum:g} s at most",
    Retry.NONE: "the session ends",
    Retry.RESTART: "what failed starts afresh; if that does not help, the session ends",
}
_ACTIONS: Mapping[Action, str] = {
    Action.NONE: "go on",
    Action.RECONNECT: "connect again at once",
    Action.RETRY: "try again after `retry_after_ms`",
    Action.STOP_RECORDING: "stop recording",
    Action.FIX_CONFIG: "change what it sends or asks for",
    Action.NEW_SESSION: "begin another session",
    Action.NEW_TOKEN: "connect again, with another key or token",
}

_ALERTS: Mapping[Alert, str] = {
    Alert.PAGE: "somebody is told at once",
    Alert.TICKET: "somebody is told if it comes unusually often",
    Alert.NONE: "it is counted; nobody is told unless it comes unusually often",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", nargs="?", metavar="CODE", help="a code (RIVA_003) or a name; without one: all")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="machine-readable")
    form.add_argument("--markdown", action="store_true", help="for reading; of all codes, it is docs/errors.md")


def run(args: argparse.Namespace) -> int:
    if args.code is None:
        entries = list(CATALOGUE.values())
        print(_json(entries) if args.json else markdown() if args.markdown else _table())
    else:
        entry = _find(args.code)
        print(_json(entry) if args.json else _section(entry) if args.markdown else _description(entry))
    return 0


def markdown() -> str:
    """The whole catalogue as a document."""
    head = ("code", "name", "severity", "fault", "voxtree does", "clients do", "close")
    rows = [
        (f"[{entry.code}](#{entry.code.lower()})", entry.name, entry.severity.value, entry.fault.value,
         entry.retry.value, entry.action.value, str(entry.close or "–"))
        for entry in CATALOGUE.values()
    ]  # fmt: skip
    table = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)]
    sections = [_section(entry) for entry in CATALOGUE.values()]
    return "\n\n".join([_INTRODUCTION, "\n".join(table), _LEGEND, *sections])


def _find(text: str) -> Entry:
    wanted = text.upper()
    by_name = {entry.name: entry for entry in CATALOGUE.values()}
    entry = CATALOGUE.get(wanted) or by_name.get(wanted)
    if entry is not None:
        return entry
    close = difflib.get_close_matches(wanted, [*CATALOGUE, *by_name], n=1)
    hint = f"; did you mean {close[0]}?" if close else "; `voxtree errors` lists all"
    raise ExpectedError(f"there is no error {text!r}{hint}")


def _table() -> str:
    rows = [
        (entry.code, entry.severity.value, entry.fault.value, entry.name, entry.message)
        for entry in CATALOGUE.values()
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _description(entry: Entry) -> str:
    metric = f'transcription_errors_total{{error_code="{entry.code}",severity="{entry.severity.value}"}}'
    facts = {**_facts(entry), "severity": entry.severity.value, "metric": metric}
    lines = [f"  {name:<14}{fact}" for name, fact in facts.items()]
    return "\n".join([f"{entry.code}  {entry.name}", *lines])


def _section(entry: Entry) -> str:
    lines = [f"- **{name}**: {fact}" for name, fact in _facts(entry).items()]
    return "\n".join([f"## {entry.code}", "", f"`{entry.name}`, {entry.severity.value}", "", *lines])


def _facts(entry: Entry) -> dict[str, str]:
    return {
        "it means": entry.meaning,
        "what to do": entry.remedy,
        "at fault": f"{entry.fault.value}: {_FAULTS[entry.fault]}",
        "voxtree does": f"{entry.retry.value}: {_RETRIES[entry.retry]}",
        "users read": entry.message,
        "clients do": f"{entry.action.value}: {_ACTIONS[entry.action]}",
        "close code": f"{entry.close}, if it ends the session" if entry.close else "none: the connection stays open",
        "over HTTP": f"status {entry.http}",
        "alert": f"{entry.alert.value}: {_ALERTS[entry.alert]}",
        **_injected(entry),
    }


def _injected(entry: Entry) -> dict[str, str]:
    opportunity = OPPORTUNITIES.get(entry.code)
    if opportunity is None:
        return {}
    return {"injected by": f"`voxtree serve --inject {entry.code}:P`, P: the probability for each {opportunity.value}"}


def _json(value: Entry | list[Entry]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _legend(title: str, meanings: Mapping[Fault, str] | Mapping[Retry, str] | Mapping[Action, str]) -> str:
    return "\n".join([f"**{title}**", "", *(f"- `{key.value}`: {meaning}" for key, meaning in meanings.items())])


_INTRODUCTION = """\
# Errors

Every error that voxtree can show, as `voxtree errors` tells it too. This file is made by
`voxtree errors --markdown > docs/errors.md`; what it says stands in `actors/speech/catalogue.py`.

Logs and the `error` and `status` messages of [the protocol](protocol.md) carry the code. Users read the sentence; what
a backend really said is in the log line alone. Most can be raised on purpose, to see what becomes of them: `injected
by` says how."""
_LEGEND = "\n\n".join([_legend("fault", _FAULTS), _legend("voxtree does", _RETRIES), _legend("clients do", _ACTIONS)])
