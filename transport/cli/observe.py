"""`voxtree observe`: a running server in a terminal, as the console shows it in a browser."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterable, Sequence

import msgspec

from transport.admin.state import BackendRow, SessionRow, State
from transport.cli.admin_port import AdminPort, NoAnswer, Seen, add_admin_arguments, admin_port
from transport.cli.display import printable

EVERY = 1.0  # seconds
LATE = 2.0  # seconds of silence after which the event loop is said to stand still
ENTER, LEAVE, HOME, CLEAR_LINE, CLEAR_BELOW = (
    "\x1b[?1049h\x1b[?25l",
    "\x1b[?25h\x1b[?1049l",
    "\x1b[H",
    "\x1b[K",
    "\x1b[J",
)
_ORDER = {"delayed": 0, "recovering": 1, "connecting": 2}  # the others after them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Shows a running server: sessions, backends, errors, how well its event loop keeps up. "
        "In a terminal it is refreshed until Ctrl-C, otherwise it is printed once."
    )
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--json", action="store_true", help="print everything once, machine-readable")
    once.add_argument("--once", action="store_true", help="print once, also in a terminal")
    once.add_argument("--login", action="store_true", help="print a link that logs one browser into the console")
    add_admin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    port = admin_port(args)
    if args.login:
        print(port.login_link())
    elif args.json:
        print(msgspec.json.format(msgspec.json.encode(port.look()), indent=2).decode())
    elif args.once or not sys.stdout.isatty():
        print("\n".join(shown(port.look(), lines=10_000)))
    else:
        _follow(port)
    return 0


def shown(seen: Seen, lines: int, width: int = 10_000) -> list[str]:
    """A state as text.

    Args:
        lines, width: of the terminal; what has no room is counted.
    """
    state, now = seen.state, seen.state.at
    blocks = [_head(seen), _workers(state, now), _backends(state, now), _errors(state, now)]
    text = [line for block in blocks if block for line in (*block, "")]
    text += _sessions(state, now, room=max(3, lines - len(text) - 1))
    return [printable(line)[:width] for line in text]


def _follow(port: AdminPort) -> None:
    seen = port.look()  # if there is no server at all, nothing is begun
    trouble = ""
    print(ENTER, end="")
    try:
        while True:
            size = shutil.get_terminal_size()
            lines = shown(seen, size.lines - 1, size.columns)
            if trouble:
                lines[0] = printable(f"{trouble}; what follows is from before")[: size.columns]
            body = "".join(f"{line}{CLEAR_LINE}\n" for line in lines[: size.lines - 1])
            print(f"{HOME}{body}{CLEAR_BELOW}", end="", flush=True)
            time.sleep(EVERY)
            try:
                seen, trouble = port.look(), ""
            except NoAnswer as error:
                trouble = str(error).splitlines()[0]
    finally:
        print(LEAVE, end="", flush=True)


def _head(seen: Seen) -> list[str]:
    state, about = seen.state, seen.state.about
    live = [row for row in state.sessions.values() if row.until is None]
    alone = sum(not row.connected for row in live)
    facts = [f"{len(live)} of {state.capacity} sessions"]
    facts += [f"{alone} without client"] if alone else []
    facts += [f"{state.waiting} wait for a backend"] if state.waiting else []
    if state.lags:
        facts.append(f"loop lag {state.lags[-1]:.1f} ms, at most {max(state.lags):.0f} in the last minute")
    title = f"voxtree {about.version} on {about.host}, up {_span(state.at - about.started)}: {_verdict(seen)}"
    return [title, " · ".join(facts)]


def _verdict(seen: Seen) -> str:
    if seen.silence > LATE:
        return f"THE EVENT LOOP STANDS STILL since {seen.silence:.0f} s"
    failed = {name: check for name, check in seen.state.checks.items() if not check.well}
    if not failed:
        return "ready"
    word = "NOT READY" if any(check.vital for check in failed.values()) else "degraded"
    return f"{word} ({', '.join(f'{name}: {check.text}' for name, check in failed.items())})"


def _workers(state: State, now: float) -> list[str]:
    rows = [
        (number, row.state, str(row.pid), "" if row.since is None else _span(now - row.since), str(row.sessions),
         "" if row.beat is None else f"{row.beat:.1f} s ago", f"{row.lag:.0f} ms", str(row.lives))
        for number, row in state.workers.items()
    ]  # fmt: skip
    head = ("WORKER", "state", "pid", "up", "sessions", "sign of life", "lag", "processes")
    return _table(head, rows, right=(2, 3, 4, 5, 6, 7))


def _backends(state: State, now: float) -> list[str]:
    rows = [
        (name, row.tier, _condition(row), f"{row.streams}/{row.cap}", _pause(row, now), _last(row, now))
        for name, row in state.backends.items()
    ]
    return _table(("BACKEND", "tier", "state", "streams", "breaker", "last error"), rows)


def _condition(row: BackendRow) -> str:
    return "leaving" if row.leaving else "drained" if row.drained else {"suspect": "down"}.get(row.health, row.health)


def _pause(row: BackendRow, now: float) -> str:
    left = 0.0 if row.free_at is None else row.free_at - now
    return row.breaker.replace("_", " ") + (f", streams in {left:.0f} s" if left > 0 else "")


def _last(row: BackendRow, now: float) -> str:
    return f"{row.last_code} {_span(now - (row.last_code_at or now))} ago" if row.last_code else ""


def _errors(state: State, now: float) -> list[str]:
    rows = [
        (code, row.severity, str(row.count), f"{_span(now - row.last)} ago", row.remedy)
        for code, row in sorted(state.errors.items(), key=lambda one: -one[1].last)
    ]
    return _table(("ERROR", "severity", "count", "last", "what to do"), rows, right=(2,))


def _sessions(state: State, now: float, room: int) -> list[str]:
    ordered = sorted(state.sessions.items(), key=_urgency)
    rows = [
        (name, row.state.replace("_", " "), _client(row), _span((row.until or now) - row.since),
         f"{row.received:.1f} s", f"{row.lag:.1f} s", row.backend, str(row.finals), str(row.resumes))
        for name, row in ordered[:room]
    ]  # fmt: skip
    head = ("SESSION", "state", "client", "age", "received", "lag", "backend", "finals", "resumes")
    more = [f"… {len(ordered) - room} more"] if len(ordered) > room else []
    return [*_table(head, rows, right=(3, 4, 5, 7, 8)), *more] if rows else ["no sessions"]


def _urgency(one: tuple[str, SessionRow]) -> tuple[int, float]:
    row = one[1]
    return (9 if row.until is not None else _ORDER.get(row.state, 5)), -row.since


def _client(row: SessionRow) -> str:
    return "" if row.until is not None else "connected" if row.connected else "away"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    rows = [head, *rows]
    if len(rows) == 1:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
