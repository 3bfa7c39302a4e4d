"""`python -m bench riva`: a scripted Riva as a process."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from bench.riva.plan import Plan, load
from bench.riva.report import Report
from bench.riva.server import ScriptedRiva
from transport.expected import ExpectedError

LISTENING = "listening on"
REPORTED = "reported"


class ReportUnwritable(ExpectedError):
    """The file for the report cannot be written."""


class BadTls(ExpectedError):
    """The files for TLS are not there, or one is missing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", type=Path, metavar="FILE", help="what goes wrong, .toml or .json (default: nothing)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=50051, help="0: any free one (default: %(default)s)")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write what happened to this file, at the end and on SIGUSR1"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM, for TLS; with --certificate")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM, for TLS; with --key")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when stdin does")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    try:
        plan = load(args.plan) if args.plan else Plan()
        asyncio.run(_serve(ScriptedRiva(plan, host=args.host, port=args.port, **_tls(args)), args))
    except ExpectedError as error:
        print(f"bench riva: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _tls(args: argparse.Namespace) -> dict[str, Path]:
    files = {"key_file": args.key, "certificate_file": args.certificate}
    given = {name: path for name, path in files.items() if path is not None}
    if len(given) == 1:
        raise BadTls("--key and --certificate belong together")
    for path in given.values():
        if not path.is_file():
            raise BadTls(f"{path}: there is no such file")
    return given


async def _serve(riva: ScriptedRiva, args: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if args.exit_with_parent:
        loop.add_reader(sys.stdin, _watch_parent, stop)
    async with riva:
        _check(riva.report(), args.report)
        loop.add_signal_handler(signal.SIGUSR1, _report, riva, args.report)
        print(f"{LISTENING} {riva.address}", flush=True)
        await stop.wait()
    _write(riva.report(), args.report)


def _watch_parent(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stop.set()


def _report(riva: ScriptedRiva, path: Path | None) -> None:
    _write(riva.report(), path)
    print(REPORTED, flush=True)


def _check(report: Report, path: Path | None) -> None:
    """Write the first report, so that a file that cannot be written is known at the start."""
    if path is not None:
        try:
            _write(report, path)
        except OSError as error:
            raise ReportUnwritable(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from error


def _write(report: Report, path: Path | None) -> None:
    """To the file, whole or not at all; without one, to stdout."""
    text = msgspec.json.encode(report) + b"\n"
    if path is None:
        print(text.decode(), end="", flush=True)
        return
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(text)
    beside.replace(path)
